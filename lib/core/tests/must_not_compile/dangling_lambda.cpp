// SPDX-License-Identifier: Apache-2.0
// The closure of a lambda with captures must outlive the task that it makes.

#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wdangling"

belay::task<> uses(int value) {
#ifdef BELAY_CONTROL
  auto call = [value]() -> belay::task<> {
    static_cast<void>(value);
    co_return;
  };
  belay::task<> kept = call();
#else
  belay::task<> kept = [value]() -> belay::task<> {
    static_cast<void>(value);
    co_return;
  }();
#endif
  co_await std::move(kept);
}
