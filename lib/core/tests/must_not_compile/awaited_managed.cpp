// SPDX-License-Identifier: Apache-2.0
// A resource is not awaited but used, so that somebody closes it: with(resource, body), or co_await use(resource).

#include <belay/core/managed.hpp>

belay::managed<int> open();

belay::task<> uses() {
#ifdef BELAY_CONTROL
  int& opened = co_await belay::use(open());
#else
  int& opened = co_await open();
#endif
  static_cast<void>(opened);
}
