// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs an operation a second time beside the first when that takes long, and takes what comes first.

#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/detail/hedged_runs.hpp>
#include <belay/resilience/policy.hpp>
#include <array>
#include <memory>
#include <string>

namespace belay {

struct hedge_options {
  /// In events and descriptions.
  std::string name = "hedge";
  /// The next run begins when the one before it has not ended after so long; more than 0. With `percentile`: until there are enough calls.
  duration delay = std::chrono::milliseconds(100);
  /// If more than 0 and less than 1: the delay is the time within which this share of the latest calls that succeeded had their value (0.95: 5 %
  /// are hedged).
  double percentile = 0;
  /// How many of the latest calls it is taken from, 1 to 100,000; after at least `minimum_calls` of them.
  std::size_t window = 200;
  std::size_t minimum_calls = 20;
  /// Runs of one call together, 2 to 8.
  unsigned most_runs = 2;
  /// Further runs for each call in the long run, more than 0 up to 7: when everything is slow, only these are added to the load.
  double budget = 0.1;
  /// … of which so many may be saved up, at least 1; they are there at the start.
  double budget_saved = 10;
  /// A run that fails with one of these makes the next one begin at once. With another error the call ends.
  error_filter on = transient_errors();
  /// Is told of each further run.
  policy_listener listener = {};
};

struct hedge_statistics {
  std::uint64_t calls = 0;      ///< of repeatable operations
  std::uint64_t hedges = 0;     ///< further runs
  std::uint64_t won = 0;        ///< calls that a further run decided
  std::uint64_t no_budget = 0;  ///< further runs that there was no budget for
  duration delay = {};          ///< just now
};

namespace detail {

struct hedge_state {
  explicit hedge_state(hedge_options&& given);
  void tell_hedged(unsigned run, duration after) const noexcept;

  const hedge_options options;
  hedge_delay delay;
  hedge_budget budget;
  hedge_statistics counted;
};

template <class Next>
task<guarded_result<Next>> one_run(Next& next) {
  co_return co_await or_fail(next());
}

}  // namespace detail

/// Against the slow few: some calls take very long because of bad luck, and a second one started then ends before them. (Dean, Barroso: The
/// tail at scale, CACM 56/2, 2013.)
///
///     const hedge twice({.percentile = 0.95});
///     auto found = co_await twice(repeatable(lookup, key));
///
/// Result:        of the first run that gives one. The others are cancelled, and waited for; a value that one of them has nevertheless is
///                destroyed.
/// Errors:        if all runs fail: that of the first run, bare, the others attached. An error that is not `on` ends the call at once, in the
///                same way. Errors of runs that did not decide count as handled; one in the cleanup of a cancelled run is reported to the sink.
///                A further run that finds no memory is as if it had not begun.
/// Cancellation:  cancels all runs and waits for them. A value that is there nevertheless is delivered.
/// Only for:      operations that the caller has declared `repeatable`. All others are run once, as if there were no hedge.
/// Time:          ends only when all runs have ended: one that is slow to stop makes this late.
/// Thread:        one loop. Copies share delay and budget.
class hedge : public policy<hedge> {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit hedge(hedge_options options = {})
      : state_(std::make_shared<detail::hedge_state>(std::move(options))) {}

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    using T = guarded_result<Next>;
    if constexpr (!declared_repeatable<Next>) {
      auto how = co_await detail::attempt(next);
      if (how.succeeded()) [[likely]] {
        if constexpr (std::is_void_v<T>) {
          co_return;
        } else {
          co_return how.get_forward();
        }
      }
      co_await detail::end_with(how);
      __builtin_unreachable();
    } else {
      detail::hedge_state& state = *state_;
      ++state.counted.calls;
      state.budget.call();
      const time_point began = now();
      detail::hedged_runs group(state.options.on);
      group.begin(co_await detail::caller_site_awaiter());
      std::array<child<T>, most_runs> runs;
      runs[0] = child<T>(detail::adopt_task(group, detail::one_run(next), std::source_location()));
      group.first_is(runs[0].ended_with());
      unsigned begun = 1;
      while (begun < state.options.most_runs) {
        const duration delay = state.delay.current();
        const time_point from = now();
        co_await group.next_run_after(delay);
        if (group.over() || !take_budget()) break;
        try {
          runs[begun] = child<T>(detail::adopt_task(group, detail::one_run(next), std::source_location()));
        } catch (const std::bad_alloc&) {
          break;  // without memory there is no further run
        }
        ++state.counted.hedges;
        state.tell_hedged(++begun, now() - from);
      }
      co_await group.join();
      group.close();
      std::array<detail::outcome_base*, most_runs> ends{};
      for (unsigned i = 0; i < begun; ++i) ends[i] = &runs[i].ended_with();
      if (group.decided_by() != nullptr) {
        if (group.decided_by() != ends[0]) ++state.counted.won;
        // How quickly an answer came. What fails quickly says nothing about that, and losers may be slow to stop.
        if (group.decided_by()->how() == detail::ending::value)
          state.delay.add(group.decided_at() -
                          began);  // if the first run lost, it would have taken even longer
      }
      for (unsigned i = 0; i < begun; ++i) {
        if (ends[i] != group.decided_by() || !runs[i].ended_with().succeeded()) continue;
        if constexpr (std::is_void_v<T>) {
          co_return;
        } else {
          co_return runs[i].ended_with().get_forward();
        }
      }
      outcome<unit> trouble;
      group.without_value({ends.data(), begun}, trouble);
      co_await detail::end_with(trouble);
      __builtin_unreachable();
    }
  }

  [[nodiscard]] hedge_statistics statistics() const noexcept;
  [[nodiscard]] std::string_view name() const noexcept { return state_->options.name; }
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::hedge, .name = state_->options.name, .attempts = state_->options.most_runs};
  }

 private:
  static constexpr unsigned most_runs = 8;
  [[nodiscard]] bool take_budget() const noexcept {
    const bool some = state_->budget.take();
    if (!some) ++state_->counted.no_budget;
    return some;
  }
  std::shared_ptr<detail::hedge_state> state_;
};

}  // namespace belay
