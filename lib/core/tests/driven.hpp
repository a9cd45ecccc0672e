// SPDX-License-Identifier: Apache-2.0
#pragma once
// Puts a part of core under all drivers, in one line: cancelled and failed at every await, in many schedules, in a group that is cancelled,
// beside a task that fails, by a deadline at every moment.

#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

namespace core_tests {

namespace t = belay::testing;

// What somebody fails with where a value is there besides goes to the sink (race, any, supervised groups).
enum class lost : bool { none, to_the_sink };

// In a group that is cancelled at the chosen await; what comes after the group goes on.
template <class F>
[[nodiscard]] auto in_a_cancelled_group(F run) {
  return [run](t::stage& s) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      s.disturbance([&g] { g.cancel(); });
      co_await run(s);
      s.disturbance({});
    });
    co_await b::yield();
  };
}

// Beside a task that fails at the chosen await: its error comes out, bare.
template <class F>
[[nodiscard]] auto beside_a_failing_task(F run) {
  return [run](t::stage& s) -> b::task<> {
    auto& fault = s.make<b::event>("fault");
    s.disturbance([&fault] { fault.set(); });
    s.expect("the error of the task is the error", [&fault](const t::run_end& how) {
      return !fault.is_set() || how.failure.message() == "the task beside it";
    });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto fails_when = [](b::event& told) -> b::task<> {
        co_await told.wait();
        throw boom("the task beside it");
      };
      b::child<void> beside = g.spawn(fails_when, std::ref(fault));
      co_await run(s);
      s.disturbance({});
      beside.cancel();
    });
  };
}

// `run(stage&) -> task<>` makes its world on the stage, with its rules.
template <class F>
void drive(const char* name, F run, lost errors = lost::none) {
  const bool allow = errors == lost::to_the_sink;
  const t::everywhere_options options{.name = name, .allow_lost_errors = allow};
  const t::report everywhere = t::everywhere(run, options);
  CHECK(everywhere.awaits > 0);
  CHECK_MESSAGE(everywhere.ok(), everywhere.text());
  const t::report explored = t::explore(run, 200, {.name = name, .allow_lost_errors = allow});
  CHECK_MESSAGE(explored.ok(), explored.text());
  const t::report group = t::disturb_everywhere(in_a_cancelled_group(run), options);
  CHECK_MESSAGE(group.ok(), group.text());
  const t::report sibling = t::disturb_everywhere(beside_a_failing_task(run), options);
  CHECK_MESSAGE(sibling.ok(), sibling.text());

  bool finished = false;
  for (b::duration limit = 0s; !finished; limit += 500ms) {
    REQUIRE(limit < 1h);
    const auto limited = [run, limit, &finished](t::stage& s) -> b::task<> {
      finished = (co_await b::move_on_after(limit, run(s))).has_value();
    };
    const t::report in_time =
        t::explore(limited, 2, {.name = name, .inject = false, .allow_lost_errors = allow});
    CHECK_MESSAGE(in_time.ok(), in_time.text());
  }
}

}  // namespace core_tests
