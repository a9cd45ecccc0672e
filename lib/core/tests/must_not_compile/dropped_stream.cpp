// SPDX-License-Identifier: Apache-2.0
// A stream that nobody opens gives nothing: the compiler says so.

#include <belay/core/stream.hpp>

#pragma clang diagnostic error "-Wunused-result"

belay::stream<int> counts() { co_yield 1; }

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await belay::for_each(counts(), [](int) {});
#else
  counts();
  co_return;
#endif
}
