// SPDX-License-Identifier: Apache-2.0
// What policies do, in numbers.

#include <doctest/doctest.h>

#include <belay/core/sleep.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/telemetry/policy_metrics.hpp>
#include <belay/testing/test_loop.hpp>

using namespace belay::telemetry;
using namespace std::chrono_literals;

namespace {

struct no_quotes : belay::error_type<belay::error_kind::unavailable, "no_quotes"> {
  using error_type::error_type;
};

}  // namespace

TEST_CASE("policy metrics: events by policy, kind and action, and the state of a breaker") {
  metrics all;
  belay::testing::test_loop loop;
  const belay::policy_listener told = policy_metrics(all);
  const belay::pipeline guarded{
      belay::retry{{.max_attempts = 3,
                    .delay = belay::backoff::constant(250ms, belay::jitter::none),
                    .name = "again",
                    .listener = told}},
      belay::circuit_breaker{{.name = "quotes", .consecutive_failures = 2, .open_for = 1h, .listener = told}},
  };
  bool works = false;
  const auto op = [&works]() -> belay::task<int> {
    if (works) co_return 1;
    throw no_quotes("the exchange is closed");
  };
  CHECK_THROWS(loop.run(guarded(std::cref(op))));
  auto& events = all.counters("belay_policy_events_total", "What policies did, by policy, kind and action.",
                              {"policy", "kind", "action"});
  auto& states =
      all.gauges("belay_policy_state", "The state of policies that have one: 1 for the present one.",
                 {"policy", "state"});
  CHECK(events.at({"again", "retry", "retrying"}).value() >= 1);
  CHECK(events.at({"again", "retry", "gave_up"}).value() == 1);
  CHECK(events.at({"quotes", "circuit_breaker", "state_changed"}).value() == 1);
  CHECK(states.at({"quotes", "open"}).value() == 1);

  loop.clock().advance(2h);
  works = true;
  CHECK(loop.run(guarded(std::cref(op))) == 1);
  CHECK(states.at({"quotes", "open"}).value() == 0);
  CHECK(states.at({"quotes", "closed"}).value() == 1);
}
