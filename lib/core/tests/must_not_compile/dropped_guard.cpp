// SPDX-License-Identifier: Apache-2.0
// A lock whose guard is not kept is unlocked again at once: the compiler says so.

#include <belay/core/mutex.hpp>
#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wunused-result"
#pragma clang diagnostic error "-Wunused-value"

belay::task<> uses(belay::mutex& m) {
#ifdef BELAY_CONTROL
  const belay::mutex_guard here = co_await m.lock();
#else
  co_await m.lock();
#endif
  co_return;
}
