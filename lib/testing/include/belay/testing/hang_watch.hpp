// SPDX-License-Identifier: Apache-2.0
#pragma once
// A test that hangs says where, before it is killed.

#include <belay/core/loop.hpp>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace belay::testing {

/// While a loop runs longer than a limit of real time, its tasks are printed: what each waits for, and where. `test_loop` has one, with
/// `default_hang_limit`; for a loop of your own:
///
///     belay::loop loop;
///     belay::testing::hang_watch watch(loop);
///     const auto running = watch.during_run();
///     loop.run(main());
///
/// Errors:        none: the test goes on, and ends or is killed as before. It is printed once for each run, to stderr.
/// Time:          that of the machine, whatever clock the loop has. The limit is met to a quarter.
/// Lifetime:      the loop outlives it.
/// Thread:        it has one of its own, from the first run on. When the loop's thread does not come round either, that is said.
class hang_watch {
 public:
  static constexpr duration default_hang_limit = std::chrono::seconds(30);

  /// `tell` gets the text instead of stderr; it is called on the loop's thread, or on the watch's when the loop does not come round.
  /// What it throws is answered by a line on stderr.
  /// Errors: `misuse_error` for a limit that is not more than zero. `duration::max()`: never.
  explicit hang_watch(belay::loop& of, duration limit = default_hang_limit,
                      std::function<void(const std::string&)> tell = {});
  hang_watch(const hang_watch&) = delete;
  hang_watch& operator=(const hang_watch&) = delete;
  ~hang_watch();

  class [[nodiscard]] run {
   public:
    explicit run(hang_watch& of) noexcept : of_(&of) {}
    run(const run&) = delete;
    run& operator=(const run&) = delete;
    ~run() { of_->end(); }

   private:
    hang_watch* of_;
  };
  /// From now until it is destroyed, the loop runs.
  run during_run();

 private:
  void end() noexcept;
  void watch();
  [[nodiscard]] bool ask(std::uint64_t number) noexcept;
  void tell_tasks(std::uint64_t number);
  void say(const std::string& text) noexcept;

  belay::loop& loop_;
  const duration limit_;
  const std::function<void(const std::string&)> tell_;
  std::atomic<std::uint64_t> runs_{0};  // odd: one is under way
  std::atomic<std::uint64_t> answered_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace belay::testing
