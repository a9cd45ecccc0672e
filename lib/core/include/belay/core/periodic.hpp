// SPDX-License-Identifier: Apache-2.0
#pragma once
// The same again and again, at a known pace.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <cstdint>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay {

/// From where the next tick is counted.
enum class pace : unsigned char {
  fixed_rate,  ///< from the first one: 12:00, 12:01, 12:02, however long a run takes. Ticks that pass during a run are skipped
  fixed_delay,  ///< from the end of the run before
};

enum class first_tick : unsigned char { after_interval, at_once };

/// One run of something periodic; also what a handler of errors is told.
struct tick {
  std::uint64_t number = 0;  ///< of the run, from 1
  time_point due{};          ///< without the jitter
  std::uint64_t skipped =
      0;  ///< ticks that passed since the run before, during it or because the loop was busy
  std::uint64_t skipped_in_all = 0;
  std::uint64_t failed_in_all = 0;  ///< runs whose error went to `on_error`
};

struct periodic_options {
  belay::pace pace = belay::pace::fixed_rate;
  first_tick first = first_tick::after_interval;
  /// Each run is late by a random time up to this, so that many programs do not do the same in the same moment. Not negative, less
  /// than the interval; the ticks themselves do not move.
  duration jitter{};
  /// Gets the error of a run, which then counts as handled, and the next run comes as usual. Empty: the first error ends it. What it
  /// throws ends it as well, with the error of the run attached.
  std::function<void(const failure& why, const tick& of)> on_error = {};
};

/// When something is to be done; made by `every`.
class schedule {
 public:
  [[nodiscard]] duration interval() const noexcept { return interval_; }
  [[nodiscard]] const periodic_options& options() const noexcept { return options_; }

 private:
  friend schedule every(duration interval, periodic_options options, std::source_location where);
  schedule(duration interval, periodic_options options) noexcept
      : interval_(interval), options_(std::move(options)) {}
  duration interval_;
  periodic_options options_;
};

/// Errors: `misuse_error` for an interval that is not more than zero, and for a jitter that is negative or not less than it.
[[nodiscard]] schedule every(duration interval, periodic_options options = {},
                             std::source_location where = std::source_location::current());

namespace detail {

// Which tick is next.
class ticker {
 public:
  explicit ticker(const schedule& when) noexcept;
  // Moves on to the next tick: when to begin, with the jitter.
  [[nodiscard]] time_point next();
  // The run begins: has the loop been so late that others have passed, too?
  void begin_run() noexcept;
  // The error goes to the handler; false: there is none.
  [[nodiscard]] bool handled(const failure& why);
  [[nodiscard]] const tick& now() const noexcept { return now_; }

 private:
  const schedule* when_;
  tick now_;
  time_point next_due_;
};

template <class F, class... A>
inline constexpr bool takes_tick = std::is_invocable_v<F&, const tick&, A&...>;

}  // namespace detail

/// Calls `fn(args...)`, or `fn(tick, args...)`, at each tick of `when`, one run after the other:
///
///     co_await repeat(every(1min), purge_expired, std::ref(db));
///
/// Runs never overlap, and what was missed is not made up for: of the ticks that pass during a run, none is run later. They are counted
/// in `tick::skipped`.
///
/// Result:        none: it ends by an error, or cancelled.
/// Errors:        what `fn` throws, unless there is `periodic_options::on_error`. To go on after an error with a new start, a
///                restart delay and a limit: let a `supervisor` run this.
/// Cancellation:  while it waits: ends at once. During a run: cancels it and waits for its cleanup.
/// Time:          on the loop's clock. The first tick is one interval from now, or now (`first_tick`).
/// Lifetime:      `fn` and `args` are kept until the end, and given as lvalues; `std::ref(x)` for what is shared.
template <class F, class... A>
[[nodiscard]] task<> repeat(schedule when, F fn, A... args) {
  static_assert(
      detail::takes_tick<F, std::unwrap_ref_decay_t<A>...> ||
          std::is_invocable_v<F&, std::unwrap_ref_decay_t<A>&...>,
      "repeat(every(...), fn, args...): fn must be callable again and again with args (as lvalues)");
  detail::ticker ticks(when);
  for (;;) {
    co_await sleep_until(ticks.next());
    ticks.begin_run();
    outcome<void> how;
    if constexpr (detail::takes_tick<F, std::unwrap_ref_decay_t<A>...>) {
      how = co_await as_outcome(
          detail::call_as_task(fn, ticks.now(), static_cast<std::unwrap_ref_decay_t<A>&>(args)...));
    } else {
      how = co_await as_outcome(detail::call_as_task(fn, static_cast<std::unwrap_ref_decay_t<A>&>(args)...));
    }
    if (how.failed() && !ticks.handled(how.failed_with())) co_await fail(how.failed_with());
  }
}

}  // namespace belay
