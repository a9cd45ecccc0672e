// SPDX-License-Identifier: Apache-2.0
// C++ does not allow co_await in a handler: cleanup that awaits belongs into finally, with or use. So a task never waits while an
// exception is being handled, and none leaks from one task into another [rows 22, 510].

#include <belay/core/task.hpp>

belay::task<> work();

belay::task<> uses() {
  try {
    co_await work();
  } catch (...) {
#ifndef BELAY_CONTROL
    co_await work();
#endif
  }
}
