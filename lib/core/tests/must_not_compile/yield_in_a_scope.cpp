// SPDX-License-Identifier: Apache-2.0
// [row 68] A generator cannot rest at a co_yield while a limit or a group is open in it: what runs under these is a task.

#include <belay/core/group.hpp>
#include <belay/core/stream.hpp>
#include <belay/core/timeout.hpp>

belay::stream<int> counts() {
#ifdef BELAY_CONTROL
  int got = 0;
  co_await belay::with_group([&got](belay::group&) -> belay::task<> {
    got = 1;
    co_return;
  });
  co_yield got;
#else
  co_await belay::with_group([](belay::group&) -> belay::task<> { co_yield 1; });
#endif
}
