// SPDX-License-Identifier: Apache-2.0
// std::function has no frame of its own to keep, and hides that a task is made: belay::task_function holds what returns tasks.

#include <belay/core/task_function.hpp>
#include <functional>

belay::task<> work();

belay::task<> uses() {
#ifdef BELAY_CONTROL
  belay::task_function<belay::task<>()> call(work);
#else
  std::function<belay::task<>()> call(work);
#endif
  co_await call();
}
