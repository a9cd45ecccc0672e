// SPDX-License-Identifier: Apache-2.0
// A task that is kept must not refer to a temporary [row 507].

#include <belay/core/task.hpp>
#include <string>

#pragma clang diagnostic error "-Wdangling"

belay::task<> work(const std::string& text);

belay::task<> uses() {
#ifdef BELAY_CONTROL
  co_await work(std::string("lives as long as the await"));
#else
  belay::task<> kept = work(std::string("gone at the end of the line"));
  co_await std::move(kept);
#endif
}
