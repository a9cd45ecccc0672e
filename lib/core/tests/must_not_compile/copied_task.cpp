// SPDX-License-Identifier: Apache-2.0
// A task has one owner.

#include <belay/core/task.hpp>

belay::task<> work();

void uses() {
  belay::task<> made = work();
#ifdef BELAY_CONTROL
  belay::task<> other = std::move(made);
#else
  belay::task<> other = made;
#endif
  static_cast<void>(other);
}
