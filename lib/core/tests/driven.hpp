// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a scenario under all drivers: cancelled and failed at every await, in many schedules, in a group that is cancelled, by deadlines.

#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

namespace core_tests {

namespace t = belay::testing;

// `run(stage&) -> task<>` makes its world on the stage, with its rules. `last` is the virtual time by which it ends undisturbed.
template <class F>
void drive(const char* name, F run, b::duration last = 6s) {
  const t::report everywhere = t::everywhere(run, {.name = name});
  CHECK(everywhere.awaits > 0);
  CHECK_MESSAGE(everywhere.ok(), everywhere.text());

  const t::report explored = t::explore(run, 200, {.name = name});
  CHECK_MESSAGE(explored.ok(), explored.text());

  const auto in_a_group = [run](t::stage& s) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      s.disturbance([&g] { g.cancel(); });
      co_await run(s);
      s.disturbance({});
    });
    co_await b::yield();
  };
  const t::report group = t::disturb_everywhere(in_a_group, {.name = name});
  CHECK_MESSAGE(group.ok(), group.text());

  for (b::duration limit = 0s; limit <= last; limit += 500ms) {
    const auto limited = [run, limit](t::stage& s) -> b::task<> {
      static_cast<void>(co_await b::move_on_after(limit, run(s)));
    };
    const t::report in_time = t::explore(limited, 2, {.name = name, .inject = false});
    CHECK_MESSAGE(in_time.ok(), in_time.text());
  }
}

}  // namespace core_tests
