// SPDX-License-Identifier: Apache-2.0
// spawn wants a function that returns a task.

#include <belay/core/group.hpp>

belay::task<> uses() {
  co_await belay::with_group([](belay::group& g) -> belay::task<> {
#ifdef BELAY_CONTROL
    g.spawn([]() -> belay::task<int> { co_return 1; });
#else
    g.spawn([] { return 1; });
#endif
    co_return;
  });
}
