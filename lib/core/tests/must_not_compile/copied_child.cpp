// SPDX-License-Identifier: Apache-2.0
// The handle of a task can be moved, but there is one.

#include <belay/core/child.hpp>

void uses(belay::child<int>& made) {
#ifdef BELAY_CONTROL
  belay::child<int> other = std::move(made);
#else
  belay::child<int> other = made;
#endif
  static_cast<void>(other);
}
