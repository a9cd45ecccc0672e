// SPDX-License-Identifier: Apache-2.0
// A limit has a unit.

#include <belay/core/timeout.hpp>

belay::task<> work();

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await belay::with_timeout(std::chrono::seconds(5), work());
#else
  co_await belay::with_timeout(5, work());
#endif
}
