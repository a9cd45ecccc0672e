// SPDX-License-Identifier: Apache-2.0
// An operation that nobody awaits does not happen: the compiler says so.

#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wunused-result"

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await belay::sleep_for(std::chrono::seconds(1));
#else
  belay::sleep_for(std::chrono::seconds(1));
#endif
  co_return;
}
