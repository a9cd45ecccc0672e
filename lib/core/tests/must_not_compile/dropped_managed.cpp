// SPDX-License-Identifier: Apache-2.0
// A resource that nobody opens does nothing: the compiler says so.

#include <belay/core/managed.hpp>

#pragma clang diagnostic error "-Wunused-result"

belay::managed<int> open();

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await belay::with(open(), [](int&) -> belay::task<> { co_return; });
#else
  open();
#endif
  co_return;
}
