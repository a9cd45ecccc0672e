// SPDX-License-Identifier: Apache-2.0
// A blocking call that nobody awaits does not happen: the compiler says so.

#include <belay/core/thread.hpp>

#pragma clang diagnostic error "-Wunused-result"

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await belay::to_thread([] {});
#else
  belay::to_thread([] {});
#endif
  co_return;
}
