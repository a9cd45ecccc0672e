// SPDX-License-Identifier: Apache-2.0
// A coroutine that is none of the library's has no scope, and so cannot await a task: run it on a loop, or make it a task.

#include <belay/core/task.hpp>

struct fire_and_forget {
  struct promise_type {
    fire_and_forget get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
};

belay::task<> work();

#ifdef BELAY_CONTROL
belay::task<> uses() {
#else
fire_and_forget uses() {
#endif
  co_await work();
}
