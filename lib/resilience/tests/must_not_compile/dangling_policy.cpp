// SPDX-License-Identifier: Apache-2.0
// A task does not keep the policy that made it.
#include <belay/resilience/timeout.hpp>
#include <chrono>

#pragma clang diagnostic error "-Wdangling"

belay::task<int> fetch() { co_return 1; }

belay::task<int> program() {
  using namespace std::chrono_literals;
#ifdef BELAY_CONTROL
  const belay::timeout limit{1s};
  belay::task<int> later = limit(fetch);
#else
  belay::task<int> later = belay::timeout{1s}(fetch);
#endif
  co_return co_await std::move(later);
}
