// SPDX-License-Identifier: Apache-2.0
// Finds: a std::source_location default argument of await_transform must name the line of the co_await. The async trace
// of every failure is made of these.

#include "probe.hpp"

#include <source_location>

namespace trust {
namespace {

class located {
 public:
  struct promise_type {
    unsigned line = 0;

    located get_return_object() { return located{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::abort(); }
    std::suspend_never await_transform(int, std::source_location where = std::source_location::current()) {
      line = where.line();
      return {};
    }
  };

  explicit located(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}
  located(located&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  ~located() {
    if (frame_) frame_.destroy();
  }
  unsigned line() const { return frame_.promise().line; }

 private:
  std::coroutine_handle<promise_type> frame_;
};

constexpr unsigned line_of_await = __LINE__ + 2;
located await_something() {
  co_await 1;
}

}  // namespace

const char* caller_location() {
  return await_something().line() == line_of_await ? nullptr : "co_await x; reports another line than its own";
}

}  // namespace trust
