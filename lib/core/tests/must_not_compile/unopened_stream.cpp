// SPDX-License-Identifier: Apache-2.0
// A stream cannot be iterated before somebody answers for its end.

#include <belay/core/stream.hpp>

belay::stream<int> counts() { co_yield 1; }

belay::task<> uses() {
#ifdef BELAY_CONTROL
  belay::open_stream<int>& items = co_await belay::use(counts());
#else
  belay::stream<int> items = counts();
#endif
  static_cast<void>(co_await items.next());
}
