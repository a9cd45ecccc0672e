// SPDX-License-Identifier: Apache-2.0
// A group cannot leave the block that it belongs to: so no scope ends before one further in, nor in another task [rows 66, 67].

#include <belay/core/group.hpp>

belay::task<> uses() {
  co_await belay::with_group([](belay::group& g) -> belay::task<> {
#ifdef BELAY_CONTROL
    belay::group& kept = g;
#else
    belay::group kept = std::move(g);
#endif
    static_cast<void>(kept);
    co_return;
  });
}
