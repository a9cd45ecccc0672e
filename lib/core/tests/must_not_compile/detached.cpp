// SPDX-License-Identifier: Apache-2.0
// There is no way to start a task without an owner: its handle cannot be started, resumed or let go [row 244].

#include <belay/core/group.hpp>

belay::task<> work();

belay::task<> uses() {
  belay::task<> made = work();
#ifdef BELAY_CONTROL
  co_await belay::with_group([&](belay::group& g) -> belay::task<> {
    g.adopt(std::move(made));
    co_return;
  });
#else
  made.detach();
#endif
  co_return;
}
