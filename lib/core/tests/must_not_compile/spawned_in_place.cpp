// SPDX-License-Identifier: Apache-2.0
// A lambda coroutine that is called in place leaves its captures behind: spawn wants the lambda itself [row 506].

#include <belay/core/group.hpp>

belay::task<> uses(int value) {
  co_await belay::with_group([value](belay::group& g) -> belay::task<> {
#ifdef BELAY_CONTROL
    g.spawn([value]() -> belay::task<> {
      static_cast<void>(value);
      co_return;
    });
#else
    g.spawn([value]() -> belay::task<> {
      static_cast<void>(value);
      co_return;
    }());
#endif
    co_return;
  });
}
