// SPDX-License-Identifier: Apache-2.0
// One run: what happens while it runs. (What is checked afterwards: run_checks.cpp.)

#include "run_driver.hpp"

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/sleep.hpp>

#include <algorithm>
#include <cstdio>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define BELAY_LEAK_ON_PURPOSE(object) __lsan_ignore_object(object)
#endif
#endif
#ifndef BELAY_LEAK_ON_PURPOSE
#define BELAY_LEAK_ON_PURPOSE(object) static_cast<void>(object)
#endif

namespace belay::testing {

run_driver::~run_driver() = default;

void run_driver::begin(const plan& what, const std::vector<await_point>* expected, bool log) {
  static_cast<run_state&>(*this) = run_state();
  plan_ = &what;
  expected_ = expected;
  log_ = log;
  if (loop_ == nullptr || !loop_is_clean_) loop_ = std::make_unique<test_loop>(rules_->loop);
  loop_is_clean_ = false;
  // Each run begins at the same time of the day.
  constexpr duration day = std::chrono::hours(24);
  loop_->clock().advance((day - loop_->elapsed() % day) % day);
  loop_->forget_lost_errors();
  loop_->forget_diagnostics();
  began_at_ = loop_->clock().now();
  loop_->loop().install(this, what.schedule);
}

void run_driver::run(const plan& what, const std::vector<await_point>* expected, bool log) {
  begin(what, expected, log);
  {
    stage world(*loop_, what.schedule.value_or(0));
    world_ = &world;
    try {
      loop_->run(play(world), rules_->where);
    } catch (const deadlock_error&) {
      deadlocked_ = true;  // told to at_deadlock as well
    }
    if (expected_ != nullptr && done_ == 0 && different_.empty() && !what.steps.empty() &&
        !what.steps.front().or_later && points_.size() < what.steps.front().point &&
        what.steps.front().point <= expected_->size()) {
      different_ = "await " + std::to_string(what.steps.front().point) +
                   " was not reached, although it was in the run before";
    }
    check(world);
    loop_->loop().install(nullptr, {});
    if (abandoned_) world.leave_behind();
  }
  if (abandoned_) {
    // Frames that will never run refer to the loop.
    BELAY_LEAK_ON_PURPOSE(loop_.get());
    static_cast<void>(loop_.release());
    return;
  }
  loop_is_clean_ = loop_->nothing_left();
  if (what.steps.empty()) normal_turns_ = turns_;
}

task<> run_driver::play(stage& world) {
  detail::group_core outside;
  outside.open(rules_->where, "the driver");
  outside.attach_scope();
  outside_ = &outside.inner_scope();
  child<void> subject(detail::adopt_task(outside, detail::call_as_task(*scenario_, world), rules_->where));
  subject_ = outside_->first_child->owner;
  subject_->base.at_gate |= detail::gate_watched;
  co_await outside.join();
  outside.close();
  outside_ = nullptr;
  ended_ = std::move(subject.ended_with());
  outcome<void> of_group;
  of_group.emplace();
  if (!outside.conclude(of_group) && of_group.failed()) static_cast<void>(of_group.failure());
  ended_at_ = now();
  has_ended_ = true;
}

task<> run_driver::play_afterwards(stage& world) {
  afterwards_ = &detail::this_runtime->current->base;
  co_await world.afterwards_();
}

template <class Visit>
void run_driver::for_chain(const detail::frame& from, Visit visit) const {
  for (const detail::frame* walk = &from; walk != nullptr; walk = walk->parent) {
    if (walk->closes_parent) continue;  // the library's, on behalf of the frame that is ending
    const auto known = awaited_.find(walk);
    // The frame of another coroutine may lie where one was before.
    if (known == awaited_.end() || known->second.parent != walk->parent) continue;
    if (!visit(known->second.point)) return;
  }
}

std::vector<std::size_t> run_driver::chain_from(const detail::frame& from) const {
  std::vector<std::size_t> all;
  for_chain(from, [&all](std::size_t outer) {
    all.push_back(outer);
    return true;
  });
  return all;
}

void run_driver::goes_deeper(const detail::frame& inner) {
  for_chain(inner, [this](std::size_t outer) {
    points_[outer - 1].goes_deeper = true;
    return false;  // those around it are known to
  });
}

await_point& run_driver::number(detail::node& task, detail::frame& at, const awaited& what) {
  await_point& point = points_.emplace_back();
  point.number = points_.size();
  point.at = at.site;
  point.what = what.what;
  if (*what.name != '\0') point.name = what.name;
  point.in_cleanup = in_cleanup(*task.current);
  while (limit_around(*task.current, point.limits) != nullptr) ++point.limits;
  // A new await of the task for which something was due: the operation before it did not wait after all.
  if (target_ == &task) target_ = nullptr;
  waiting_ = nullptr;
  goes_deeper(at);
  return point;
}

std::vector<std::size_t> run_driver::chain() const {
  return injected_.empty() ? std::vector<std::size_t>() : injected_.back().chain;
}

plan run_driver::as_acted() const {
  plan exact = *plan_;
  exact.steps.resize(done_);
  for (std::size_t i = 0; i < done_; ++i) {
    exact.steps[i].point = injected_[i].point.number;
    exact.steps[i].or_later = false;
  }
  return exact;
}

const injection* run_driver::due(const await_point& point, detail::node& task, detail::frame& at) {
  if (done_ == plan_->steps.size()) return nullptr;
  const injection& step = plan_->steps[done_];
  if (step.or_later) {
    if (point.number < step.point || point.is_task || (step.what == act::fail && !point.can_fail))
      return nullptr;
  } else if (step.point != point.number) {
    return nullptr;
  }
  if (expected_ != nullptr && done_ == 0) {
    const await_point* same = point.number <= expected_->size() ? &(*expected_)[point.number - 1] : nullptr;
    if (same == nullptr || !same_place(same->at, point.at) || same->is_task != point.is_task) {
      different_ = "await " + std::to_string(point.number) + " is at " + place_text(point.at) +
                   ", but in the run before it was " +
                   (same == nullptr ? std::string("not reached")
                                    : "at " + place_text(same->at) +
                                          (place_text(same->at) == place_text(point.at)
                                               ? ", column " + std::to_string(same->at.column())
                                               : std::string()));
      return nullptr;
    }
  }
  std::source_location shield;
  for (const detail::scope* walk = task.current; walk != nullptr && walk != &subject_->base;
       walk = walk->parent) {
    if (walk->shielded && walk->has_deadline)
      shield = static_cast<const detail::deadline_scope*>(walk)->where();
  }
  injected_.resize(done_);  // one that was due before and could not act
  injected_.push_back({point, stack_of(at, task, subject_->base), {}, chain_from(at), &task, shield});
  return &step;
}

void run_driver::has_acted() noexcept {
  ++done_;
  target_ = nullptr;
  late_.clear();
  injected_at_ = loop_->clock().now();
}

void run_driver::act_now() noexcept {
  const injection& step = plan_->steps[done_];
  if (step.what == act::cancel) return cancel_now();
  if (step.what == act::expire) return expire_now(*target_, step.which);
  has_acted();
  try {
    if (world_->disturbance_) world_->disturbance_();
  } catch (...) {
    disturbance_failed_ = describe(current_failure());
  }
}

void run_driver::cancel_now() noexcept {
  const bool again = done_ != 0;
  detail::scope& target = again ? *outside_ : subject_->base;
  if (note_others_) others_ = waiting_tasks(*outside_);
  has_acted();
  detail::cancel_scope(
      target, cancel_record::make(cancel_reason::caller,
                                  again ? "the driver, from further outside" : "the driver", rules_->where));
}

void run_driver::expire_now(detail::node& task, std::size_t inside) noexcept {
  target_ = nullptr;
  detail::deadline_scope* limit = limit_around(*task.current, inside);
  if (limit == nullptr) return;
  has_acted();
  limit->expire();
}

failure run_driver::next_error(const injection& step) {
  const bool again = done_ != 0;
  has_acted();
  return failure::of(again ? rules_->second_error : rules_->errors.at(step.which));
}

void run_driver::log_line(const await_point& point, const std::string& more) const {
  const auto since =
      std::chrono::duration_cast<std::chrono::microseconds>(loop_->clock().now() - began_at_).count();
  std::fprintf(stderr, "  await %-4zu %10.3f ms  %-28s %s%s%s\n", point.number,
               static_cast<double>(since) / 1000, place_text(point.at).c_str(), to_text(point).c_str(),
               point.in_cleanup ? "  (cleanup)" : "", more.c_str());
}

void run_driver::at_wait(detail::node& task, detail::frame& leaf, operation& op) {
  if (world_->is_undisturbed(task)) return;
  await_point& point = number(task, leaf, op.waits_for());
  if (const auto* permit = dynamic_cast<semaphore::awaiter*>(&op)) {
    see(permit->source(), stack_of(leaf, task, subject_ != nullptr ? subject_->base : task.base));
  }
  at_leaf(point, task, leaf);
}

void run_driver::at_yield(detail::node& task, detail::frame& leaf) noexcept {
  if (world_->is_undisturbed(task)) return;
  await_point& point = number(task, leaf, {"its next turn", ""});
  point.can_fail = false;
  at_leaf(point, task, leaf);
}

void run_driver::at_leaf(await_point& point, detail::node& task, detail::frame& leaf) {
  if (!injected_.empty() && injected_.back().task == &task && injected_.back().stopped_at.empty() &&
      task.cancel_pending()) {
    injected& last = injected_.back();
    last.stopped_at = stack_of(leaf, task, subject_->base);
    last.chain = chain_from(leaf);
  }
  waiting_ = &task;
  waiting_at_ = point.number;
  const injection* step = due(point, task, leaf);
  if (log_) log_line(point, step != nullptr ? "  <- here: " + plan_->steps[done_].text() : "");
  if (step == nullptr || (step->what == act::fail && !point.can_fail)) return;
  if (step->what == act::fail) detail::rethrow_record(next_error(*step).take_record());
  if (step->when == moment::before) {
    return step->what == act::expire ? expire_now(task, step->which) : cancel_now();
  }
  target_ = &task;
  target_when_ = step->when;
}

detail::watch::verdict run_driver::at_task(detail::node& task, detail::frame& parent,
                                           detail::frame& child) noexcept {
  verdict told;
  if (world_->is_undisturbed(task)) return told;
  if (child.how == detail::delivery::intercept) {
    awaited_.erase(&child);  // another one may have been there before
    goes_deeper(parent);
    return told;
  }
  await_point& point = number(task, parent, {"a coroutine", ""});
  point.is_task = true;
  awaited_.insert_or_assign(&child, awaited_frame{&parent, point.number});
  const injection* step = due(point, task, parent);
  if (log_) log_line(point, step != nullptr ? "  <- here: " + plan_->steps[done_].text() : "");
  if (step == nullptr) return told;
  if (step->what == act::fail) {
    told.failed = next_error(*step).take_record();
  } else if (step->what == act::cancel) {
    cancel_now();
    told.cancelled = task.cancel_pending();
  }
  return told;
}

void run_driver::before_turn(detail::node& task) noexcept {
  ++turns_;
  waiting_ = nullptr;
  if (target_ == &task && target_when_ == moment::after) {
    if (task.state != detail::node_state::to_unwind) {
      act_now();
    } else {
      target_ = nullptr;  // it was taken back by a cancellation of the scenario's own
    }
  }
  if (done_ != 0 && !has_ended_ && late_.empty() && outside_ != nullptr &&
      loop_->clock().now() - injected_at_ > rules_->within) {
    late_ = waiting_tasks(*outside_);
  }
  const std::size_t most = normal_turns_ == 0 ? 200'000 : 10'000 + 20 * normal_turns_;
  if (turns_ == most && outside_ != nullptr) {
    runs_for_ever_ = true;
    stuck_ = waiting_tasks(*outside_);
    detail::cancel_scope(*outside_, cancel_record::make(cancel_reason::shutdown,
                                                        "the driver: it does not end", rules_->where));
  }
  abandoned_ = abandoned_ || turns_ > 2 * most;
}

void run_driver::after_turn() noexcept {
  if (waiting_ == nullptr) return;
  if (waiting_->state == detail::node_state::waiting) points_[waiting_at_ - 1].waited = true;
  if (target_ == waiting_ && target_when_ == moment::during) act_now();
}

void run_driver::at_end(detail::node& task) noexcept {
  if (waiting_ == &task) waiting_ = nullptr;
  if (target_ == &task) target_ = nullptr;
  if (!injected_.empty() && injected_.back().task == &task) injected_.back().task = nullptr;
}

void run_driver::at_deadlock(bool second) noexcept {
  deadlocked_ = true;
  const detail::scope* all = outside_ != nullptr ? outside_ : afterwards_;
  if (all != nullptr && (stuck_.empty() || second)) stuck_ = waiting_tasks(*all);
  abandoned_ = second;
}

bool run_driver::gives_up() noexcept { return abandoned_; }

void run_driver::see(semaphore& what, const std::vector<std::source_location>& stack) {
  auto known = std::find_if(semaphores_.begin(), semaphores_.end(),
                            [&what](const seen_semaphore& one) { return one.at == &what; });
  if (known == semaphores_.end()) {
    what.be_watched();
    known = semaphores_.insert(known, {&what, what.name(), {}});
  }
  const std::source_location place = users_place(stack);
  const auto same = [&place](const std::source_location& one) { return same_place(one, place); };
  if (std::none_of(known->acquired_at.begin(), known->acquired_at.end(), same)) {
    known->acquired_at.push_back(place);
  }
}

void run_driver::at_opened(detail::resource_frame& resource) noexcept {
  std::vector<std::source_location> stack;
  const detail::node& task = *detail::this_runtime->current;
  if (resource.parent != nullptr) stack = stack_of(*resource.parent, task, subject_->base);
  open_.insert_or_assign(&resource, open_resource{resource.tell, std::move(stack)});
  resource.tell = &run_driver::tell_closing;
}

void run_driver::tell_closing(detail::resource_frame& resource, exit_status how) noexcept {
  auto& self = static_cast<run_driver&>(*detail::this_runtime->watcher);
  const auto known = self.open_.find(&resource);
  resource.tell = known->second.tell;
  self.open_.erase(known);
  resource.tell(resource, std::move(how));
}

void run_driver::at_gone(semaphore& what) noexcept {
  std::erase_if(semaphores_, [&what](const seen_semaphore& one) { return one.at == &what; });
}

}  // namespace belay::testing
