// SPDX-License-Identifier: Apache-2.0
#pragma once
// The event loop: runs tasks on one thread, with an injected clock.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/diagnostic.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/reactor.hpp>
#include <belay/core/task.hpp>
#include <belay/core/time.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace belay {

struct loop_options {
  /// Where time comes from; null: the machine's monotonic clock. Must outlive the loop.
  belay::clock* clock = nullptr;
  /// Gets failures that nobody observed; empty: they are written to stderr. `loop_thread` and `run_on_each` give it to their loops, too,
  /// which call it on their threads.
  failure_sink on_lost_failure = {};
  /// Gets what was noticed that is no error (`diagnostic.hpp`); empty: a line on stderr for each. It is called by the watchdog's thread,
  /// too, and by those of other loops, like the above.
  diagnostic_sink on_diagnostic = {};
  /// How long a cleanup (closing a resource, `finally`) may take before it is cancelled itself.
  duration cleanup_limit = std::chrono::seconds(10);
  /// How long one task (or timer, or posted function) may keep the loop from going round before that is told, while it blocks, by a
  /// watchdog thread; `duration::max()`: it is not looked at. None: 100 ms in `run` and in the service's `app`, not looked at in a
  /// bare loop. With a clock that is not the machine's, it is never looked at.
  std::optional<duration> blocked_limit = {};
  /// How long after it was asked to stop a task may still be there before that is told; `duration::max()`: it is not looked at.
  duration ignored_cancel_limit = std::chrono::seconds(5);
  /// The most threads that `to_thread` uses at the same time, at least 1. They are started when needed.
  unsigned blocking_threads = 16;
  /// How long the loop's destructor waits for calls of `to_thread` that were abandoned and still run.
  duration abandon_limit = std::chrono::seconds(10);
  /// Ready tasks run in a random order made from this seed, the same for the same seed; none: first come, first served. With a virtual
  /// clock and no I/O, a program then does exactly the same again. Threads of `to_thread` are waited for after each turn.
  std::optional<std::uint64_t> schedule_seed = {};
  /// Where `random_bits` begins, which spreads delays; none: somewhere else in each process.
  std::optional<std::uint64_t> random_seed = {};
};

/// What `run` and the service's `app` take for `blocked_limit`: asyncio's debug mode has the same.
inline constexpr duration default_blocked_limit = std::chrono::milliseconds(100);

struct loop_statistics {
  std::size_t live_tasks = 0;
  std::size_t timers = 0;
  std::size_t blocking_jobs = 0;     ///< `to_thread` calls under way or queued
  std::size_t abandoned_jobs = 0;    ///< ... that were abandoned, and still run
  std::uint64_t abandoned_ever = 0;  ///< ... that were abandoned since the loop was made
  std::uint64_t lost_failures = 0;   ///< reported to the sink since the loop was made
};

/// All tasks were waiting and nothing could ever wake them. Only a loop with a virtual clock can know that.
class deadlock_error : public error {
 public:
  explicit deadlock_error(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::internal, "deadlock", std::move(message), where) {}
};

/// A loop was asked from another thread to do something, and does not run, or does not run any more. Nothing was done.
class loop_closed_error : public error {
 public:
  explicit loop_closed_error(std::string message,
                             std::source_location where = std::source_location::current())
      : error(error_kind::unavailable, "loop_closed", std::move(message), where) {}
};

/// One thread's loop. Most programs use `belay::run`, which makes one, and prints what went wrong.
class loop {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit loop(loop_options options = {});
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;
  /// Joins the threads of `to_thread`. They have no work left, except abandoned calls: for these it waits up to `abandon_limit`, then
  /// names them on stderr and leaves their threads behind.
  ~loop();

  /// Runs `main` and everything that it starts, to the end.
  ///
  /// Result:        the value of `main`.
  /// Errors:        what `main` throws, the same object, after all cleanup. `deadlock_error`; `misuse_error` when called
  ///                from inside a running loop of this thread, and while this loop runs on another.
  template <class T>
  T run(task<T> main, std::source_location where = std::source_location::current()) {
    main_task<T> root;
    root.result = &root.value;
    run_root(root, detail::task_access::release(main), where);
    if constexpr (std::is_void_v<T>) {
      static_cast<void>(root.value.value(where));
    } else {
      return std::move(root.value).value(where);
    }
  }

  /// Has `fn` called on the loop's thread, soon. From any thread, in order for each caller. The line has no bound: a thread that may
  /// outrun the loop waits for answers now and then (`spawn_on` and `get`), or its calls fill the memory.
  /// Errors: `loop_closed_error` when the loop is not running (any more), also for what such a function posts when the run is at its end.
  /// What `fn` throws goes to the failure sink.
  void post(std::function<void()> fn);

  /// The calls of `to_thread` that were abandoned and still run: "'look up the host' at fetch.cpp:17". Thread: as `statistics`.
  [[nodiscard]] std::vector<std::string> abandoned_calls() const;

  [[nodiscard]] time_point now() noexcept;
  /// Thread: the loop's while it runs; another one asks by `on_loop` or `spawn_on`.
  [[nodiscard]] loop_statistics statistics() const noexcept;
  [[nodiscard]] duration cleanup_limit() const noexcept;

  /// The loop that runs on this thread; null when none does.
  [[nodiscard]] static loop* current() noexcept;

  // For the layers: what waits for the outside world instead of the loop.
  [[nodiscard]] int wake_fd() const noexcept;  // readable when the loop shall wake up
  [[nodiscard]] reactor* installed_reactor() const noexcept;
  void install(std::unique_ptr<reactor> waits) noexcept;
  // For the drivers of the testing layer: null ends it. Not while it runs.
  void install(detail::watch* driver, std::optional<std::uint64_t> schedule_seed) noexcept;

  struct inbox_item {
    inbox_item* next = nullptr;
    void (*run)(inbox_item&) noexcept = nullptr;
  };
  // From any thread, without allocation. The loop must be running, and stay so until the item has run.
  void post_item(inbox_item& item) noexcept;

  struct state;
  [[nodiscard]] state& internals() noexcept { return *state_; }

 private:
  template <class T>
  struct main_task : detail::node {
    outcome<T> value;
  };
  void run_root(detail::node& root, detail::frame& body, std::source_location where);

  std::unique_ptr<state> state_;
};

}  // namespace belay
