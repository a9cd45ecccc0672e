// SPDX-License-Identifier: Apache-2.0
#pragma once
// The smallest coroutine type that has the shape of Belay's task, and what the probes share.
//
// A probe is a function that returns null when the compiler did right, else the words for what went wrong. It must not
// depend on the library: it runs before anything of it is compiled.

#include <coroutine>
#include <cstdlib>
#include <utility>

namespace trust {

/// Counts how often its copies are made and destroyed: a copy destroyed twice shows as a negative balance.
class tracked {
 public:
  tracked() noexcept { ++alive; }
  tracked(const tracked&) noexcept { ++alive; }
  tracked(tracked&&) noexcept { ++alive; }
  tracked& operator=(const tracked&) noexcept = default;
  tracked& operator=(tracked&&) noexcept = default;
  ~tracked() { --alive; }

  static inline int alive = 0;
};

/// Lazy task that is resumed inside its awaiter's await_suspend, as Belay's is. Never destroyed while it runs.
template <class T>
class task {
 public:
  struct promise_type {
    T value{};
    std::coroutine_handle<> awaiter;

    struct final_awaiter {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
        if (auto waiting = std::exchange(self.promise().awaiter, nullptr)) waiting.resume();
      }
      void await_resume() const noexcept {}
    };

    task get_return_object() { return task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    final_awaiter final_suspend() noexcept { return {}; }
    void return_value(T result) { value = std::move(result); }
    void unhandled_exception() { std::abort(); }
  };

  explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}
  task(task&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  task& operator=(task&&) = delete;
  ~task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiter) noexcept {
    frame_.resume();
    if (frame_.done()) return false;
    frame_.promise().awaiter = awaiter;
    return true;
  }
  T await_resume() { return std::move(frame_.promise().value); }

  /// Runs it from outside of any coroutine; `unfinished` when it is still suspended somewhere.
  T run(T unfinished) {
    frame_.resume();
    return frame_.done() ? std::move(frame_.promise().value) : unfinished;
  }

  void start() { frame_.resume(); }

 private:
  std::coroutine_handle<promise_type> frame_;
};

inline task<int> give(int value) { co_return value; }

const char* await_in_condition();
const char* temporaries_beside_await();
const char* conditional_beside_await();
const char* structured_binding();
const char* awaiter_identity();
const char* destroyed_while_suspended();
const char* stack_of_await_loop();
const char* caller_location();

}  // namespace trust
