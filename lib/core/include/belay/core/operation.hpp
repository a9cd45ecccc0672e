// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way to make anything that completes later awaitable, with cancellation. (For libraries; users await tasks.)

#include <belay/core/detail/runtime.hpp>
#include <string>

namespace belay {

/// What a task waits for, in words: {"semaphore", "pool"}, {"a timer", ""}. Literals, or text that outlives the operation.
struct awaited {
  const char* what = "an operation";
  const char* name = "";
};
[[nodiscard]] std::string to_text(const awaited& what);

/// Base of the awaiters of operations that complete outside of coroutines: timers, I/O, threads, queues.
///
///     class my_read : public belay::operation {
///       void start() override { device.read(buffer, [this](int n) { n_ = n; complete(); }); }
///       bool abort() noexcept override { device.cancel(this); return true; }   // taken back: will not complete
///      public:
///       int await_resume() { return n_; }
///     };
///
/// Cancellation:  Requested before the operation starts: `start` is not called. While it is under way: `abort` is called, once,
///                from the loop's thread; true says that the operation has been taken back and will not complete; false
///                that it will answer with `complete()` (it finished anyway: its result is delivered) or with
///                `complete_cancelled()` (nothing happened). The task waits for that answer.
/// Lifetime:      The object is part of the awaiting frame; after `abort` said true, or after completing, it may be gone.
/// Thread:        all of it on the loop's thread; other threads come in through `loop::post`.
class operation {
 public:
  operation() noexcept = default;
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) {
    return !begin_at(waiting.promise()) || begin();
  }

  // Asked by the runtime when the task is cancelled.
  [[nodiscard]] bool abort_now() noexcept { return abort(); }
  [[nodiscard]] detail::node* task() const noexcept { return task_; }
  // For what completes it from elsewhere.
  void complete_now() noexcept { complete(); }
  void complete_cancelled_now() noexcept { complete_cancelled(); }
  /// For reports.
  [[nodiscard]] virtual awaited waits_for() const noexcept { return {}; }

 protected:
  ~operation() = default;

  /// Starts the operation. May call `complete()` at once. What it throws comes out of the `co_await`.
  virtual void start() = 0;
  /// See the class comment.
  virtual bool abort() noexcept = 0;

  /// It has finished: the task goes on with `await_resume`. At most once.
  void complete() noexcept {
#ifndef NDEBUG
    detail::require_home(*task_);
#endif
    task_->state = detail::node_state::ready;
    detail::this_runtime->push_ready(*task_);
  }
  /// It did not happen, because of `abort`.
  void complete_cancelled() noexcept;

  /// `abort` was called and has not been answered yet.
  [[nodiscard]] bool being_aborted() const noexcept { return task_->state == detail::node_state::aborting; }

  // Puts the task to sleep in this operation; false: it is cancelled, do not start.
  [[nodiscard]] bool begin_at(detail::frame& leaf) {
    if (!detail::begin_wait(leaf, *this)) return false;
    task_ = detail::this_runtime->current;
    return true;
  }

  /// For operations that must end whatever happens: waits without regard to cancellation from now on.
  template <class Promise>
  void suspend_uncancellable(std::coroutine_handle<Promise> waiting) noexcept {
    detail::runtime& rt = *detail::this_runtime;
    task_ = rt.current;
    task_->leaf = &waiting.promise();
    task_->waits_for = this;
    task_->state = detail::node_state::joining;
    task_->waits_since = rt.coarse_now;
  }

 private:
  bool begin();

  detail::node* task_ = nullptr;
};

}  // namespace belay
