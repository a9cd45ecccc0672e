// SPDX-License-Identifier: Apache-2.0
// C++ does not allow co_await in a handler: cleanup that awaits belongs into finally, with or use.

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
