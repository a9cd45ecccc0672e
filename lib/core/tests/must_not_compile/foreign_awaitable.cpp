// SPDX-License-Identifier: Apache-2.0
// What knows nothing of cancellation cannot be awaited in a task.

#include <belay/core/task.hpp>

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_return;
#else
  co_await std::suspend_always();
#endif
}
