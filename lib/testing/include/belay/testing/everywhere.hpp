// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a scenario again and again, ending the world at its await 1, 2, 3 ... n, and names the first await that breaks a promise.

#include <belay/testing/report.hpp>
#include <belay/testing/scenario.hpp>
#include <belay/testing/stage.hpp>
#include <cstdint>
#include <exception>
#include <source_location>
#include <string>
#include <vector>

namespace belay::testing {

/// The error that `fail_everywhere` throws when it is given no others.
class injected_error : public error {
 public:
  explicit injected_error(std::source_location where = std::source_location::current())
      : error(error_kind::unavailable, "injected", "injected by the driver", where) {}
};

/// For the list of errors to inject: `errors_of(db::busy_error("locked"), std::bad_alloc())`.
template <class... E>
[[nodiscard]] std::vector<std::exception_ptr> errors_of(E... errors) {
  return {std::make_exception_ptr(std::move(errors))...};
}

/// One await of a scenario, for `everywhere_options::only`.
struct await_info {
  std::size_t number = 0;   ///< from 1, in the order in which they are reached
  std::source_location at;  ///< innermost: may be inside of the library
  std::string what;         ///< "semaphore 'pool'", "a timer", "a coroutine"
  bool in_cleanup = false;
};

/// Mostly none is needed. Next: `name`, `within`, `failures_must_surface`.
struct everywhere_options {
  /// In the report and in the replay; empty: the place of the call.
  std::string name = {};
  /// The longest that the scenario may take to end after the injection, in virtual time.
  duration within = std::chrono::minutes(1);
  /// Also the awaits of coroutines that do not wait for anything themselves in this scenario (a fake, say, where the program has a server).
  bool task_awaits = true;
  /// Once more: a second cancel, from further outside, at each await that runs after the first.
  bool second_cancel = true;
  /// Once more: each `with_timeout`, `move_on_after` or `shielded` around an await has its limit pass exactly there.
  bool limits = true;
  /// Once more: a failure at each await of a cleanup that runs after the first cancel or failure.
  bool fail_in_cleanup = true;
  /// A scenario that succeeds although an await failed is a finding: nothing may be swallowed.
  bool failures_must_surface = false;
  /// Errors that may come out of a scenario that was cancelled; empty: none may.
  std::function<bool(const failure&)> may_fail = {};
  /// Errors reported to the failure sink are findings unless this is set.
  bool allow_lost_errors = false;
  /// Where to inject, by what is known of the await; empty: everywhere.
  std::function<bool(const await_info&)> only = {};
  /// For the loop of the runs; clock and sink are the driver's.
  loop_options loop = {};
  /// In how many schedules it is all done: the first is the usual order, the others are made from `first_seed` on.
  unsigned schedules = 1;
  std::uint64_t first_seed = 1;
  /// More runs than this: the report says that it is not complete, and is not ok.
  std::size_t most_runs = 100'000;
  /// The number of findings after which to stop. One finding for each place and rule.
  std::size_t most_findings = 5;
};

/// Runs `scenario` once to number its awaits. Then, once for each of them, cancels it exactly there: before the operation starts,
/// while it is under way, and when it has finished but the task has not gone on. With `second_cancel`, and `fail_in_cleanup`, again for
/// each await of the cleanup that follows.
///
/// After each run: it has ended within `within`, as cancelled or (finished work wins) with its value; no task, timer, permit, thread
/// job, waiting task or managed resource is left; no error is lost; each rule of the `stage` holds.
///
/// Result:  a report: `CHECK(report.ok())`, `report.require()` throws, `report.text()` is one screen for people.
/// Replay:  each finding says how: `BELAY_REPLAY='transfer: cancel 12 during' ./my_tests`. Then only this case is run by the
///          driver of this name, with a line on stderr for each await.
/// Thread:  outside of a running loop. Threads of `to_thread` are real, and waited for after each turn, so that runs are the same.
/// Needs:   a scenario that does the same in each run. One that does not is a finding of its own.
[[nodiscard]] report cancel_everywhere(scenario what, everywhere_options options = {},
                                       std::source_location where = std::source_location::current());

/// The same with failures: each await, once for each of `errors`, throws it instead of starting its operation.
/// After each run: as above; and the error was handled, or came out, or was reported: never turned into a cancellation.
[[nodiscard]] report fail_everywhere(scenario what, std::vector<std::exception_ptr> errors = {},
                                     everywhere_options options = {},
                                     std::source_location where = std::source_location::current());

/// The same with whatever the scenario gave to `stage::disturbance`: the network goes away, the program is told to stop, a limit is
/// lowered. Called at each await in turn: while its operation is under way, and when it has finished.
/// After each run: as above; the scenario may succeed or fail.
[[nodiscard]] report disturb_everywhere(scenario what, everywhere_options options = {},
                                        std::source_location where = std::source_location::current());

/// `cancel_everywhere` and `fail_everywhere`, which is what a new part should pass: `everywhere([](stage& s) -> task<> { ... }).require();`
[[nodiscard]] report everywhere(scenario what, everywhere_options options = {},
                                std::source_location where = std::source_location::current());

struct explore_options {
  std::string name = {};
  duration within = std::chrono::minutes(1);
  std::uint64_t first_seed = 1;
  /// Cancels or fails at one await in two of three runs, chosen by the seed alone.
  bool inject = true;
  /// ... at one of the first so many awaits; 0: of as many as the undisturbed run has. For a scenario that is longer for other seeds.
  std::size_t inject_within = 0;
  loop_options loop = {};
  std::vector<std::exception_ptr> errors = {};
  std::function<bool(const failure&)> may_fail = {};
  bool allow_lost_errors = false;
  std::size_t most_findings = 5;
};

/// Runs `scenario` in `seeds` schedules: each seed gives the order in which ready tasks run. The same checks after each run.
[[nodiscard]] report explore(scenario what, std::uint64_t seeds, explore_options options = {},
                             std::source_location where = std::source_location::current());

}  // namespace belay::testing
