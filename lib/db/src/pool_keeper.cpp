// SPDX-License-Identifier: Apache-2.0
// The tasks of a pool: opening, checking, resetting and closing connections, beside those who use them.

#include <fmt/format.h>

#include <belay/core/detail/place.hpp>
#include <belay/core/diagnostic.hpp>
#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/detail/pool_core.hpp>
#include <belay/db/error.hpp>
#include <algorithm>
#include <new>

namespace belay::db::detail {

namespace {

constexpr duration pause_after_failure = std::chrono::milliseconds(10);

// What a function of the user failed with is answered by replacing the connection.
void observe_all(const failure& what) noexcept {
  what.observe();
  for (const failure& besides : what.attached()) observe_all(besides);
}

// Below the main task, and shielded: it serves whoever cleans up after a cancellation.
void open_below_main(belay::detail::group_core& tasks, std::source_location where,
                     const char* name) noexcept {
  tasks.open(where, "db::open_pool", name);
  belay::detail::scope* const caller = belay::detail::this_runtime->current->current;
  belay::detail::scope* outermost = caller;
  while (outermost->parent != nullptr) outermost = outermost->parent;
  belay::detail::scope& inside = tasks.inner_scope();
  inside.shielded = true;
  inside.attach_to(outermost);
  inside.at_gate |= caller->at_gate & belay::detail::gate_watched;
}

}  // namespace

// Has a slot while a task works at it; what nobody took further is destroyed, so that no room is lost whatever becomes of the task, also
// when it is cancelled before it begins.
class pool_core::at_work {
 public:
  at_work(pool_core& of, slot_list& in, slot_list::iterator which) noexcept
      : of_(&of), in_(&in), which_(which) {}
  at_work(at_work&& other) noexcept
      : of_(other.of_), in_(std::exchange(other.in_, nullptr)), which_(other.which_) {}
  at_work& operator=(at_work&&) = delete;
  ~at_work() {
    if (in_ == nullptr) return;
    if (which_->needs == tending::check || which_->needs == tending::reset) --of_->becoming_free_;
    if (which_->member) of_->count_closed(*which_);
    of_->destroy(*in_, which_);
    of_->fill_changed_.set();
    of_->wake_.set();
  }
  [[nodiscard]] pool_slot& slot() const noexcept { return *which_; }
  // It is taken further.
  slot_list::iterator done() noexcept {
    in_ = nullptr;
    return which_;
  }

 private:
  pool_core* of_;
  slot_list* in_;
  slot_list::iterator which_;
};

// ---- from the start to the end

void pool_core::start(std::source_location where) {
  open_below_main(openers_, where, "connections");
  open_below_main(tasks_, where, "connections");
  try {
    belay::detail::adopt_task(tasks_, keep(), where);
  } catch (...) {
    openers_.close();
    tasks_.close();
    over_ = true;
    throw;
  }
}

task<> pool_core::filled() {
  filling_ = true;
  const time_point until = saturating_add(now(), options_.acquire_timeout);
  wake_.set();
  while (!fill_failed_ && idle_.size() + used_.size() < options_.min) {
    fill_changed_.reset();
    if (!is_trying()) {
      co_await fill_changed_.wait();
    } else if (const time_point at = now(); at < until) {
      static_cast<void>(co_await move_on_after(until - at, until_fill_changed()));
    } else {
      fill_failed_ = not_passed();
    }
  }
  filling_ = false;
  if (fill_failed_) co_await fail(std::exchange(fill_failed_, failure()));
}

void pool_core::begin_closing() noexcept {
  closing_ = true;
  fill_failed_ = failure();
  const std::exception_ptr why = closed("pool::acquire", std::source_location::current());
  while (!line_.empty()) static_cast<pool_wait*>(line_.front())->refuse(why);
  openers_.request_cancel(cancel_reason::shutdown, std::source_location::current());
  while (!idle_.empty()) set_needs(idle_, idle_.begin(), tending::close);
  look_drained();
}

duration pool_core::drain_limit() const noexcept {
  if (options_.drain_limit != duration::zero()) return options_.drain_limit;
  const time_point end = current_deadline();
  return end == time_point::max() ? duration::max() : (end - now()) / 10 * 9;
}

task<> pool_core::until_drained() { co_await drained_.wait(); }

std::exception_ptr pool_core::left_over(duration waited) const noexcept {
  try {
    std::string text = fmt::format("pool '{}': close: ", options_.name);
    if (used_.empty()) {
      text += fmt::format("{} connections were not closed within {}", total(),
                          belay::detail::length_text(waited));
    } else {
      text += fmt::format("{} connections were not given back within {}:", used_.size(),
                          belay::detail::length_text(waited));
      constexpr std::size_t shown = 10;
      std::size_t count = 0;
      for (const pool_holder& who : holders()) {
        if (count++ == shown) {
          text += fmt::format("\n  and {} more", used_.size() - shown);
          break;
        }
        text += "\n  held by " + describe(who);
      }
      text +=
          "\nend what uses the pool before the pool; these connections are closed when they are given back";
    }
    return std::make_exception_ptr(
        error(error_kind::internal, used_.empty() ? "close_overran" : "connections_held", std::move(text)));
  } catch (const std::bad_alloc&) {
    return std::current_exception();
  }
}

void pool_core::cancel_all(std::source_location where) noexcept {
  openers_.request_cancel(cancel_reason::shutdown, where);
  tasks_.request_cancel(cancel_reason::shutdown, where);
}

void pool_core::end() noexcept {
  openers_.close();
  tasks_.close();
  over_ = true;
  returned_.clear();
  idle_.clear();
}

managed<unit> run_pool(std::shared_ptr<pool_core> core, std::source_location where) {
  core->start(where);
  co_yield unit{};
  core->begin_closing();
  failure problem;
  const duration limit = core->drain_limit();
  bool late = false;
  try {
    // Whatever cuts this short, the tasks are waited for below.
    if (!core->drained_.is_set()) co_await shielded({limit, "waiting for leases"}, core->until_drained());
  } catch (const timeout_error&) {
    late = true;
    observe_all(current_failure());
  } catch (...) {
    problem = current_failure();
  }
  if (late) problem = failure::of(core->left_over(limit));
  core->cancel_all(where);
  co_await core->openers_.join();
  co_await core->tasks_.join();
  core->end();
  if (problem) problem.rethrow();
}

// ---- the keeper

task<> pool_core::until_woken() { co_await wake_.wait(); }
task<> pool_core::until_fill_changed() { co_await fill_changed_.wait(); }

task<> pool_core::look_and_wait() {
  if (std::exchange(look_failed_, false)) co_await sleep_for(pause_after_failure);
  attend();
  const time_point at = now();
  look_at_ = next_look(at);
  wake_.reset();  // what set it was done by `attend`
  if (look_at_ == time_point::max()) {
    co_await wake_.wait();
  } else {
    static_cast<void>(co_await move_on_after(std::max(look_at_ - at, duration(1)), until_woken()));
  }
}

task<> pool_core::keep() {
  for (;;) {
    // It fails when there is no memory.
    const outcome<void> how = co_await as_outcome(look_and_wait());
    look_failed_ = how.failed();
    if (look_failed_) observe_all(how.failure());
  }
}

bool pool_core::idle_too_long(const pool_slot& one, time_point at) const noexcept {
  return options_.idle_timeout != duration::max() && at - one.idle_since >= options_.idle_timeout;
}

void pool_core::retire_idle(time_point at) noexcept {
  std::size_t left = staying();
  for (auto next = idle_.end(); next != idle_.begin();) {
    const auto one = std::prev(next);
    const bool surplus = idle_too_long(*one, at) && left > options_.min;
    if (!surplus && !has_expired(*one, at)) {
      next = one;
      continue;
    }
    --left;
    set_needs(idle_, one, surplus ? tending::close : tending::retire);
  }
}

// What was idle for as long as one that gave no answer went the same way; to ask each of them costs more than to open others.
void pool_core::replace_idle_since(time_point since, time_point at) noexcept {
  for (auto next = idle_.begin(); next != idle_.end();) {
    const auto one = next++;
    if (one->idle_since <= since && needs_check(*one, at)) set_needs(idle_, one, tending::replace);
  }
}

std::size_t pool_core::openings_wanted() const noexcept {
  if (closing_) return 0;
  const std::size_t coming = becoming_free_ + opening_.size();
  const std::size_t for_line = line_.size() > coming ? line_.size() - coming : 0;
  const std::size_t there = staying();
  const std::size_t for_min = options_.min > there ? options_.min - there : 0;
  const std::size_t all = total();
  const std::size_t room = options_.max > all ? options_.max - all : 0;
  std::size_t wanted = std::min(std::max(for_line, for_min), room);
  // While openings fail, one at a time.
  if (failed_in_row_ > 0) wanted = opening_.empty() ? std::min<std::size_t>(wanted, 1) : 0;
  return wanted;
}

// Errors: std::bad_alloc; what was not begun then is begun the next time.
void pool_core::attend() {
  const time_point at = now();
  retire_idle(at);
  serve_line(at);  // of all that is idle, checks for all who wait, also after one that failed
  while (!returned_.empty()) {
    const auto one = returned_.begin();
    tended_.splice(tended_.end(), returned_, one);
    belay::detail::adopt_task(tasks_, tend(at_work(*this, tended_, one)), std::source_location::current());
  }
  if (at >= pause_until_) {
    for (std::size_t wanted = openings_wanted(); wanted > 0; --wanted) {
      opening_.emplace_back();
      at_work one(*this, opening_, std::prev(opening_.end()));
      belay::detail::adopt_task(openers_, open_one(std::move(one), next_ticket_),
                                std::source_location::current());
    }
  }
  tell_leaks(at);
}

// When an idle one is too old, or was idle for too long.
time_point pool_core::leaves_at(const pool_slot& one, bool surplus) const noexcept {
  if (!surplus) return one.expires_at;
  return std::min(one.expires_at, saturating_add(one.idle_since, options_.idle_timeout));
}

time_point pool_core::next_look(time_point at) const noexcept {
  time_point next = time_point::max();
  if (pause_until_ > at && openings_wanted() > 0) next = std::min(next, pause_until_);
  const bool surplus = staying() > options_.min;
  for (const pool_slot& one : idle_) next = std::min(next, leaves_at(one, surplus));
  for (const pool_slot& one : used_) {
    if (one.told) continue;
    next = std::min(next, saturating_add(one.leased.at, options_.leak_after));
    break;
  }
  return next;
}

void pool_core::tell_leaks(time_point at) noexcept {
  for (pool_slot& one : used_) {
    if (options_.leak_after == duration::max() || at - one.leased.at < options_.leak_after) return;
    if (one.told) continue;
    tell_leak(one, at, false);
    one.told = true;
    ++counted_.leaks;
  }
}

void pool_core::tell_leak(const pool_slot& one, time_point at, bool over) const noexcept {
  try {
    const pool_holder who = one.leased.holder(at);
    diagnostic told;
    told.kind = diagnostic_kind::lease_held;
    told.over = over;
    told.task = who.task;
    told.spawned_at = who.spawned_at;
    told.places = {who.taken_at};
    told.lasted = who.held;
    told.message = fmt::format("pool '{}': a connection {} by {}", options_.name,
                               over ? "was given back that had been held" : "is held", describe(who));
    belay::detail::tell(told);
  } catch (const std::bad_alloc&) {
    return;  // it is counted all the same
  }
}

// ---- opening

// Tasks of their own, so that what a function throws before there is a task is a failure like any other.
task<std::unique_ptr<pool_member>> pool_core::ask_open() { co_return co_await or_fail(functions_->open()); }
task<bool> pool_core::ask_check(pool_member& one) { co_return co_await or_fail(functions_->check(one)); }
task<> pool_core::ask_reset(pool_member& one) { co_await or_fail(functions_->reset(one)); }
task<> pool_core::ask_close(pool_member& one) { co_await or_fail(functions_->close(one)); }

task<> pool_core::open_one(at_work mine, std::uint64_t line_begun_at) {
  outcome<std::unique_ptr<pool_member>> how =
      co_await as_outcome(with_timeout({options_.open_limit, "opening a connection"}, ask_open()));
  if (!how.succeeded()) {
    opening_failed(how.failure(), line_begun_at);
    co_return;
  }
  std::unique_ptr<pool_member> member = std::move(how).value();
  opened(mine.done(), std::move(member));
}

void pool_core::opened(slot_list::iterator which, std::unique_ptr<pool_member> member) noexcept {
  const time_point at = now();
  which->member = std::move(member);
  which->idle_since = at;
  which->proven_at = at;
  if (options_.max_lifetime != duration::max()) {
    const double most = static_cast<double>(options_.max_lifetime.count()) * options_.lifetime_jitter;
    const duration shorter = random_up_to(duration(static_cast<duration::rep>(most)));
    which->expires_at = saturating_add(at, options_.max_lifetime - shorter);
  }
  ++counted_.opened;
  failed_in_row_ = 0;
  pause_until_ = time_point::min();
  last_failure_ = failure();
  if (closing_) {
    set_needs(opening_, which, tending::close);
  } else {
    set_idle(opening_, which);
  }
  if (openings_wanted() > 0) wake_.set();
}

void pool_core::opening_failed(const failure& why, std::uint64_t line_begun_at) noexcept {
  ++counted_.failed_openings;
  const unsigned doublings = std::min(failed_in_row_++, 40U);
  duration pause = options_.longest_pause;
  if (options_.first_pause.count() <= (options_.longest_pause.count() >> doublings))
    pause = options_.first_pause * (duration::rep{1} << doublings);
  pause_until_ = saturating_add(now(), pause / 2 + random_up_to(pause - pause / 2));
  observe_all(why);
  last_failure_ = why;
  const bool passes = functions_->passes(why);
  if (filling_) {
    if (!fill_failed_ && !passes) fill_failed_ = why;
    fill_changed_.set();
  }
  if (passes) return;
  // Connections that somebody has, or that are about to be free, serve the rest of the line.
  const bool others = used_.size() + becoming_free_ > 0 || opening_.size() > 1;
  bool shared = filling_;
  while (!line_.empty()) {
    auto* const first = static_cast<pool_wait*>(line_.front());
    if (first->ticket_ >= line_begun_at) break;
    first->refuse(why, std::exchange(shared, true));
    if (others) break;
  }
}

// ---- checking, resetting, closing

task<> pool_core::tend(at_work mine) {
  pool_slot& slot = mine.slot();
  pool_member& member = *slot.member;
  bool good = false;
  if (slot.needs == tending::check) {
    outcome<bool> how =
        co_await as_outcome(with_timeout({options_.check_limit, "checking a connection"}, ask_check(member)));
    if (how.failed()) {
      if (belay::detail::exception_as<timeout_error>(how.failure().exception()) != nullptr)
        replace_idle_since(slot.idle_since, now());
      observe_all(how.failure());
    }
    good = how.succeeded() && how.value();
  } else if (slot.needs == tending::reset) {
    const outcome<void> how = co_await as_outcome(
        with_timeout({options_.reset_limit, "resetting a connection"}, ask_reset(member)));
    if (how.failed()) observe_all(how.failure());
    good = how.succeeded();
  }
  const time_point at = now();
  if (good && !closing_ && !has_expired(slot, at)) {
    --becoming_free_;
    slot.idle_since = at;
    if (slot.needs == tending::check) slot.proven_at = at;
    set_idle(tended_, mine.done());
    co_return;
  }
  if (slot.needs == tending::check || slot.needs == tending::reset) {
    --becoming_free_;
    slot.needs = !good ? tending::replace : closing_ ? tending::close : tending::retire;
    wake_.set();  // somebody may have counted on it
  }
  if (!functions_->closes()) co_return;
  const outcome<void> how =
      co_await as_outcome(with_timeout({options_.close_limit, "closing a connection"}, ask_close(member)));
  if (how.failed()) observe_all(how.failure());
}

}  // namespace belay::db::detail
