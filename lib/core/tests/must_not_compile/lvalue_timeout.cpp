// SPDX-License-Identifier: Apache-2.0
// A task is given away to what bounds it: with_timeout(1s, std::move(t)).

#include <belay/core/timeout.hpp>

belay::task<> work();

belay::task<> uses() {
  belay::task<> made = work();
#ifdef BELAY_CONTROL
  co_await belay::with_timeout(std::chrono::seconds(1), std::move(made));
#else
  co_await belay::with_timeout(std::chrono::seconds(1), made);
#endif
}
