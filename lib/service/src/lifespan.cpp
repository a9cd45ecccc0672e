// SPDX-License-Identifier: Apache-2.0
// Opening in order, closing in reverse, each in its own time, and keeping the record of it.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/error.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/service/lifespan.hpp>

#include <algorithm>

namespace belay::service {

namespace {

managed<unit> only_at_start(task_function<task<>()> what) {
  co_await what();
  co_yield unit{};
}

}  // namespace

namespace detail {

void throw_not_open(const std::string& name) {
  throw misuse_error("the resource of lifespan step '" + name +
                     "' was used before it was opened or after it was closed");
}

}  // namespace detail

// ---- before it runs

std::size_t lifespan::add_place() {
  if (begun_) return places_.size();  // `add` refuses; the places are being gone through
  places_.emplace_back();
  return places_.size() - 1;
}

void lifespan::add(std::size_t at, std::string name, managed<unit> what, step_options limits,
                   std::source_location where) {
  if (begun_) throw misuse_error("lifespan: step '" + name + "' was added after the start", where);
  if (name.empty()) throw misuse_error("lifespan: a step needs a name", where);
  if (limits.start_limit <= duration::zero() ||
      (limits.close_limit && *limits.close_limit <= duration::zero())) {
    throw misuse_error("lifespan: the limits of step '" + name + "' must be more than zero", where);
  }
  std::string scope_name = "start of " + name;
  places_[at].push_back({std::move(name), std::move(scope_name), std::move(what), limits, where});
}

void lifespan::step(std::string name, task_function<task<>()> what, step_options limits,
                    std::source_location where) {
  add(add_place(), std::move(name), only_at_start(std::move(what)), limits, where);
}

void concurrent_steps::step(std::string name, task_function<task<>()> what, step_options limits,
                            std::source_location where) {
  of_->add(place_, std::move(name), only_at_start(std::move(what)), limits, where);
}

concurrent_steps lifespan::together() {
  if (begun_) throw misuse_error("lifespan::together was called after the start");
  return {*this, add_place()};
}

std::size_t lifespan::size() const noexcept {
  std::size_t all = 0;
  for (const place& one : places_) all += one.size();
  return all;
}

lifespan::progress lifespan::how_far() const {
  progress found;
  for (const place& some : places_) {
    for (const entry& one : some) {
      ++found.steps;
      if (one.now == stage::open) ++found.open;
      if (one.now == stage::opening || one.now == stage::closing) found.under_way.push_back(one.name);
    }
  }
  return found;
}

duration lifespan::longest_close(duration each) const noexcept {
  time_point end;
  for (const place& some : places_) {
    duration longest{};
    for (const entry& one : some) longest = std::max(longest, one.limits.close_limit.value_or(each));
    end = saturating_add(end, longest);
  }
  return end.time_since_epoch();
}

// ---- opening

task<> lifespan::open_one(entry& one, shutdown_report& report, std::string& failed_step) {
  struct opening {
    entry& of;
    explicit opening(entry& now) noexcept : of(now) { of.now = stage::opening; }
    opening(const opening&) = delete;
    opening& operator=(const opening&) = delete;
    ~opening() {
      if (of.now == stage::opening) of.now = stage::waiting;
    }
  } const under_way(one);
  const auto open = [](entry& it) -> task<> {
    co_await it.what.open();
    it.now = stage::open;  // from here on it is closed, whatever becomes of this task
  };
  try {
    co_await with_timeout({.limit = one.limits.start_limit, .name = one.scope_name.c_str()}, open(one),
                          one.where);
  } catch (...) {
    if (failed_step.empty()) failed_step = one.name;
    throw;
  }
  report.open.push_back(one.name);
}

task<> lifespan::open_all_and(task_function<task<>()> body, shutdown_report& report,
                              std::string& failed_step) {
  for (place& some : places_) {
    if (some.size() == 1) {
      co_await or_fail(open_one(some.front(), report, failed_step));
      continue;
    }
    co_await or_fail(with_group({.name = "steps together"}, [&](group& all) -> task<> {
      for (entry& one : some)
        all.spawn(&lifespan::open_one, std::ref(one), std::ref(report), std::ref(failed_step));
      co_return;
    }));
  }
  co_await or_fail(body());
}

// ---- closing

task<> lifespan::close_one(entry& one, exit_status told, outcome<void>& how, shutdown_report& report) {
  one.now = stage::closing;
  const time_point begin = now();
  const duration limit = one.limits.close_limit.value_or(belay::detail::cleanup_limit());
  belay::detail::cleanup_scope shield(one.where);
  shield.arm();
  if (one.limits.close_limit) shield.move_to(saturating_add(begin, limit), limit);
  outcome<void> closed = co_await belay::detail::close_awaiter(one.what.release(), std::move(told), shield);
  shield.disarm();
  one.now = stage::closed;
  std::erase(report.open, one.name);
  std::string trouble;
  if (closed.failed()) {
    report.failed = true;
    trouble = closed.failed_with().message();
  } else if (closed.cancelled()) {  // only its limit can do that
    report.overran.push_back(one.name);
    trouble = "did not close within " + belay::detail::length_text(limit) + ", and was cancelled";
  }
  const time_point end = now();
  report.add({.name = one.name, .took = end - begin, .trouble = std::move(trouble), .limit = limit}, end);
  belay::detail::merge_cleanup(how, closed, shield, [&how]() noexcept { how.drop_value(); });
}

// Never fails by what it closes: that goes into `how`.
task<> lifespan::close_all(outcome<void>& how, shutdown_report& report) {
  for (auto some = places_.rbegin(); some != places_.rend(); ++some) {
    std::vector<entry*> open;
    for (entry& one : *some) {
      if (one.now == stage::open) open.push_back(&one);
    }
    const exit_status told = exit_status::of(how);
    if (open.size() == 1) {
      co_await close_one(*open.front(), told, how, report);
    } else if (!open.empty()) {
      co_await with_group({.name = "steps together"}, [&](group& all) -> task<> {
        for (auto one = open.rbegin(); one != open.rend(); ++one) {
          all.spawn(&lifespan::close_one, std::ref(**one), told, std::ref(how), std::ref(report));
        }
        co_return;
      });
    }
  }
}

task<> lifespan::run(task_function<task<>()> body, shutdown_report& report, std::string& failed_step) {
  if (std::exchange(begun_, true)) throw misuse_error("lifespan::run was called twice");
  outcome<void> how = co_await belay::detail::intercept(open_all_and(std::move(body), report, failed_step));
  outcome<void> closing =
      co_await belay::detail::intercept(shielded(duration::max(), close_all(how, report)));
  if (closing.failed()) {  // it could not even begin: no memory
    if (how.failed()) {
      how.failed_with().attach(closing.failed_with());
    } else {
      how = std::move(closing);
    }
  }
  if (how.succeeded()) co_return;
  belay::detail::refresh_cancellation(how);
  co_await belay::detail::end_with(how);
}

}  // namespace belay::service
