// SPDX-License-Identifier: Apache-2.0
// A resource that was not opened yet has one owner.

#include <belay/core/managed.hpp>

belay::managed<int> open();

void uses() {
  belay::managed<int> made = open();
#ifdef BELAY_CONTROL
  belay::managed<int> other = std::move(made);
#else
  belay::managed<int> other = made;
#endif
  static_cast<void>(other);
}
