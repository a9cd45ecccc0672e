// SPDX-License-Identifier: Apache-2.0
#pragma once
// A loop for tests: virtual time, and a record of the errors that nobody looked at.

#include <belay/core/loop.hpp>
#include <belay/testing/hang_watch.hpp>
#include <belay/testing/report.hpp>
#include <belay/testing/virtual_clock.hpp>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

namespace belay::testing {

/// Ten seconds of waiting cost nothing here:
///
///     belay::testing::test_loop loop;
///     CHECK_THROWS_AS(loop.run(belay::with_timeout(2s, slow())), belay::timeout_error);
///     CHECK(loop.elapsed() == 2s);
///     CHECK(loop.nothing_left());
class test_loop {
 public:
  /// `options.clock`, `options.on_lost_failure` and `options.on_diagnostic` are replaced; without a `random_seed`, it is the `schedule_seed`,
  /// or 0. A run that takes longer than `hang_limit` of real time prints its tasks.
  explicit test_loop(loop_options options = {}, duration hang_limit = hang_watch::default_hang_limit);

  /// As `loop::run`. Deadlocks are found: `deadlock_error`.
  template <class T>
  T run(task<T> main, std::source_location where = std::source_location::current()) {
    const auto running = watch_.during_run();
    return loop_.run(std::move(main), where);
  }

  [[nodiscard]] duration elapsed() const noexcept { return clock_.elapsed(); }
  [[nodiscard]] std::size_t live_tasks() const noexcept { return loop_.statistics().live_tasks; }
  /// No task, no timer, no thread job.
  [[nodiscard]] bool nothing_left() const noexcept;
  /// The failures that nobody observed, described, in order; those of the loops that it made with `loop_thread`, too, once these are gone.
  [[nodiscard]] const std::vector<std::string>& lost_errors() const noexcept { return lost_; }

  /// What was noticed besides, in order: dropped tasks, slow cleanups, ignored cancellations. (A blocked loop is found only with the
  /// machine's clock.)
  [[nodiscard]] const std::vector<diagnostic>& diagnostics() const noexcept { return diagnostics_; }

  void forget_lost_errors() noexcept { lost_.clear(); }
  void forget_diagnostics() noexcept { diagnostics_.clear(); }

  [[nodiscard]] virtual_clock& clock() noexcept { return clock_; }
  [[nodiscard]] belay::loop& loop() noexcept { return loop_; }
  [[nodiscard]] const belay::loop& loop() const noexcept { return loop_; }

 private:
  virtual_clock clock_;
  std::mutex mutex_;  // for the two below, while loops of `loop_thread` run
  std::vector<std::string> lost_;
  std::vector<diagnostic> diagnostics_;
  belay::loop loop_;
  hang_watch watch_;
};

/// No task, timer or thread job is left in the loop. A report, for any test framework: `no_leaks(loop).require();`
[[nodiscard]] report no_leaks(const test_loop& loop);
/// Every error so far was handled or came out.
[[nodiscard]] report no_lost_errors(const test_loop& loop);
/// Nothing was noticed either: no task was dropped, no cleanup slow, no cancellation ignored.
[[nodiscard]] report no_diagnostics(const test_loop& loop);

}  // namespace belay::testing
