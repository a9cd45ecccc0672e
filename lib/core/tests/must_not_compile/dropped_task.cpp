// SPDX-License-Identifier: Apache-2.0
// A task that nobody awaits or spawns does nothing: the compiler says so [row 1].

#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wunused-result"

belay::task<> work();

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await work();
#else
  work();
#endif
  co_return;
}
