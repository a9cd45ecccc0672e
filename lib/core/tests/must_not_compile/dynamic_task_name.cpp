// SPDX-License-Identifier: Apache-2.0
// A task keeps the pointer of its name: text that may be gone before it is refused.

#include <belay/core/group.hpp>

belay::task<> work() { co_return; }

void names_it(belay::group& g, [[maybe_unused]] const char (&made_at_run_time)[8]) {
#ifdef BELAY_CONTROL
  g.spawn(work).named("literal");
#else
  g.spawn(work).named(made_at_run_time);
#endif
}
