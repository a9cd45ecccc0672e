// SPDX-License-Identifier: Apache-2.0
#pragma once
// Blocking work, done by a thread while the loop goes on.

#include <belay/core/detail/locals.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/operation.hpp>
#include <condition_variable>
#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace belay {

/// Thrown by a function under `to_thread` to say: the stop token asked me to stop, I did, nothing was done. The awaiting
/// task is then cancelled, without an error.
struct stopped {};

namespace detail {

// A function call on its way to a pool thread and back. Lives in the awaiting frame, which waits for it whatever happens.
class thread_job : public operation {
 public:
  // On the pool's thread.
  void execute() noexcept;
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a thread", ""}; }

  thread_job* next_job = nullptr;
  thread_job* prev_job = nullptr;
  bool queued = false;  // guarded by the pool's mutex

 protected:
  ~thread_job() = default;
  virtual void call() = 0;
  [[noreturn]] void rethrow(const std::source_location& where);
  [[nodiscard]] bool has_error() const noexcept { return error_ != nullptr; }
  std::stop_source stop_;

 private:
  struct completion : loop::inbox_item {
    thread_job* job = nullptr;
  };
  void start() override;
  bool abort() noexcept override;
  static void finished(loop::inbox_item& item) noexcept;

  completion done_;
  ref<binding> locals_;  // those of the calling task
  belay::loop* home_ = nullptr;
  std::exception_ptr error_;
  bool was_stopped_ = false;
};

template <class R, class F, class... A>
class thread_call final : public thread_job {
 public:
  template <class G, class... B>
  explicit thread_call(G&& fn, B&&... args) : fn_(std::forward<G>(fn)), args_(std::forward<B>(args)...) {}

  R await_resume() {
    if (has_error()) rethrow(std::source_location());
    if constexpr (!std::is_void_v<R>) return result_.take();
  }

 private:
  void call() override {
    std::apply(
        [&](auto&... args) {
          if constexpr (std::is_invocable_v<F&, std::stop_token, A&...>) {
            invoke(stop_.get_token(), args...);
          } else if constexpr (std::is_invocable_v<F&, A&...>) {
            invoke(args...);
          } else if constexpr (std::is_invocable_v<F&, std::stop_token, A...>) {
            invoke(stop_.get_token(), std::forward<A>(args)...);
          } else {
            invoke(std::forward<A>(args)...);
          }
        },
        args_);
  }
  template <class... B>
  void invoke(B&&... args) {
    if constexpr (std::is_void_v<R>) {
      std::invoke(fn_, std::forward<B>(args)...);
    } else if constexpr (std::is_reference_v<R>) {
      result_.emplace(&std::invoke(fn_, std::forward<B>(args)...));
    } else {
      result_.emplace(std::invoke(fn_, std::forward<B>(args)...));
    }
  }

  F fn_;
  std::tuple<A...> args_;
  outcome<R> result_;
};

// As with spawn: lvalues of what is kept; moved only where a parameter takes a move-only argument by value.
template <class F, class... A>
struct thread_result : kept_call<F, A...> {};
template <class F, class... A>
  requires std::is_invocable_v<F&, std::stop_token, A&...> ||
           (!std::is_invocable_v<F&, A&...> && std::is_invocable_v<F&, std::stop_token, A...>)
struct thread_result<F, A...> : std::conditional_t<std::is_invocable_v<F&, std::stop_token, A&...>,
                                                   std::invoke_result<F&, std::stop_token, A&...>,
                                                   std::invoke_result<F&, std::stop_token, A...>> {};

}  // namespace detail

/// Calls `fn(args...)`, or `fn(std::stop_token, args...)` if it takes one, on a thread of the loop's pool.
///
/// Result:        that of `fn`. Arguments are copied (moved) into the call; pass `std::ref` for what outlives it.
/// Errors:        what `fn` throws, the same object.
/// Cancellation:  not begun yet: it will not run. Running: the stop token is asked, and the task waits for `fn` to return,
///                because a thread cannot be stopped from outside; a result that comes is delivered, and if `fn` throws
///                `belay::stopped` the task is cancelled. So a timeout around it is late by as long as `fn` takes.
/// Time:          at most `loop_options::blocking_threads` at once; others wait in order.
/// Thread:        `fn` must not touch what tasks use at the same time.
template <class F, class... A>
[[nodiscard]] auto to_thread(F&& fn, A&&... args) {
  using result = typename detail::thread_result<std::decay_t<F>, std::unwrap_ref_decay_t<A>...>::type;
  return detail::thread_call<result, std::decay_t<F>, std::unwrap_ref_decay_t<A>...>(
      std::forward<F>(fn), std::forward<A>(args)...);
}

}  // namespace belay
