// SPDX-License-Identifier: Apache-2.0
// A call that may be left behind must not have captures, which could be references to the frame that is gone.

#include <belay/core/thread.hpp>

belay::task<int> uses() {
  int here = 1;
#ifdef BELAY_CONTROL
  co_return co_await belay::to_thread(belay::abandon(), [](int x) { return x + 1; }, here);
#else
  co_return co_await belay::to_thread(belay::abandon(), [&here] { return here + 1; });
#endif
}
