// SPDX-License-Identifier: Apache-2.0
// A task is awaited once, and given away by that: co_await std::move(t).

#include <belay/core/task.hpp>

belay::task<> work();

belay::task<> uses() {
  belay::task<> made = work();
#ifdef BELAY_CONTROL
  co_await std::move(made);
#else
  co_await made;
#endif
}
