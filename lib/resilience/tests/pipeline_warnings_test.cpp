// SPDX-License-Identifier: Apache-2.0
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/adaptive_limiter.hpp>
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

namespace {

namespace b = belay;
namespace t = belay::testing;
using namespace core_tests;
using b::policy_kind;

trail codes(const std::vector<b::pipeline_warning>& warnings) {
  trail all;
  for (const b::pipeline_warning& one : warnings) all.emplace_back(one.code);
  return all;
}

// Judged by kind alone, outermost first.
trail judged(std::initializer_list<policy_kind> outermost_first) {
  std::vector<b::policy_facts> facts;
  for (const policy_kind kind : outermost_first) {
    facts.push_back({.kind = kind,
                     .name = std::string(b::to_string(kind)),
                     .limit = kind == policy_kind::timeout ? 1s : b::duration::max()});
  }
  return codes(b::detail::judge_order(facts));
}

TEST_CASE("pipeline::warnings: none for the usual orders [row 400]") {
  using enum policy_kind;
  CHECK(judged({retry, circuit_breaker, rate_limiter, timeout, bulkhead}).empty());
  CHECK(judged({fallback, retry, circuit_breaker, timeout, chaos}).empty());
  CHECK(judged({timeout}).empty());
  CHECK(b::pipeline{b::timeout{10s}, b::retry{}, b::timeout{1s}}.warnings().empty());
  CHECK(b::pipeline{b::fallback{1}, b::retry{}, b::timeout{1s}}.warnings().empty());
}

TEST_CASE("pipeline::warnings: limits in time") {
  CHECK(codes(b::pipeline{b::timeout{10s}, b::retry{}}.warnings()) == trail{"no_attempt_timeout"});
  CHECK(codes(b::pipeline{b::retry{}, b::fallback{1}}.warnings()) == trail{"no_timeout", "failures_hidden"});
  // It stops no attempt, and a limit that never comes is none.
  CHECK(codes(b::pipeline{b::retry{{.max_elapsed = 5s}}}.warnings()) == trail{"no_timeout"});
  CHECK(codes(b::pipeline{b::retry{}, b::timeout{b::duration::max()}}.warnings()) == trail{"no_timeout"});
  CHECK(codes(b::pipeline{b::timeout{b::duration::max()}, b::retry{}}.warnings()) == trail{"no_timeout"});
  CHECK(b::pipeline{b::timeout{b::duration::max()}, b::timeout{b::duration::max()}}.warnings().empty());
  const auto never = b::pipeline{b::timeout{1s}, b::timeout{{.limit = 5s, .name = "attempt"}}}.warnings();
  REQUIRE(never.size() == 1);
  CHECK(never[0].code == "timeout_never_acts");
  CHECK(never[0].text == "timeout 'attempt' allows 5 s, but timeout outside of it only 1 s");
}

TEST_CASE("pipeline::warnings: a breaker counts a call that hangs only if the timeout is inside") {
  const b::circuit_breaker quotes({.name = "quotes"});
  const auto alone = b::pipeline{quotes}.warnings();
  REQUIRE(alone.size() == 1);
  CHECK(alone[0].code == "hangs_not_counted");
  CHECK(alone[0].text ==
        "circuit breaker 'quotes' has no timeout inside nor outside: a call that hangs never counts");
  // The trap: for the retry that is a timeout of each attempt, for the breaker a cancellation.
  const auto outside = b::pipeline{b::retry{}, b::timeout{1s}, quotes}.warnings();
  REQUIRE(outside.size() == 1);
  CHECK(outside[0].code == "hangs_not_counted");
  CHECK(
      outside[0].text ==
      "circuit breaker 'quotes' has a timeout outside, but none inside: a call that hangs is cancelled, which "
      "counts as nothing");
  CHECK(b::pipeline{b::timeout{10s}, quotes, b::timeout{1s}}.warnings().empty());
  // Without a name of its own, it is not named twice.
  CHECK(b::pipeline{b::circuit_breaker{}}.warnings().at(0).text.starts_with("circuit breaker has "));
  CHECK(b::pipeline{b::adaptive_limiter{}}.warnings().at(0).text.starts_with("adaptive limiter has "));
  CHECK(codes(b::pipeline{quotes, b::timeout{b::duration::max()}}.warnings()) == trail{"hangs_not_counted"});
  // What it says is so.
  t::test_loop loop;
  loop.run([](b::circuit_breaker breaker) -> b::task<> {
    const auto hangs = []() -> b::task<> { co_await b::sleep_for(1h); };
    const b::pipeline wrong{b::timeout{1s}, breaker};
    CHECK((co_await b::as_outcome(wrong(hangs))).failure().find<b::timeout_error>() != nullptr);
    CHECK(breaker.statistics().failed == 0);
    CHECK(breaker.statistics().uncounted == 1);
    const b::pipeline right{breaker, b::timeout{1s}};
    CHECK((co_await b::as_outcome(right(hangs))).failure().find<b::timeout_error>() != nullptr);
    CHECK(breaker.statistics().failed == 1);
  }(quotes));
}

TEST_CASE(
    "pipeline::warnings: who holds a permit needs a timeout; an adaptive limit inside, to learn from it") {
  using enum policy_kind;
  CHECK(judged({bulkhead}) == trail{"permit_never_released"});
  CHECK(judged({timeout, bulkhead}).empty());
  CHECK(judged({bulkhead, timeout}).empty());
  CHECK(judged({adaptive_limit}) == trail{"permit_never_released"});
  CHECK(judged({retry, timeout, adaptive_limit}) == trail{"hangs_not_counted"});
  CHECK(judged({retry, adaptive_limit, timeout}).empty());
  // One for each, as the timeout of one may be outside of the other.
  CHECK(judged({circuit_breaker, timeout, circuit_breaker}) == trail{"hangs_not_counted"});
  CHECK(judged({circuit_breaker, bulkhead}) == trail{"hangs_not_counted", "permit_never_released"});
  // They hold nothing, and learn nothing.
  CHECK(judged({cache, fallback, hedge, rate_limiter, chaos}).empty());
}

TEST_CASE("pipeline::warnings: retries that multiply, in nested pipelines too") {
  const b::pipeline inner{b::retry{{.max_attempts = 4, .name = "inner"}}, b::timeout{1s}};
  const auto found = b::pipeline{b::retry{}, inner}.warnings();
  REQUIRE(found.size() == 1);
  CHECK(found[0].code == "retries_multiply");
  CHECK(found[0].text == "retry 'inner' inside of retry: up to 12 attempts for one call");
}

TEST_CASE("pipeline::warnings: what stands on the wrong side") {
  using enum policy_kind;
  CHECK(judged({circuit_breaker, retry, timeout}) == trail{"breaker_outside_retry"});
  CHECK(judged({bulkhead, retry, timeout}) == trail{"permit_held_while_waiting"});
  CHECK(judged({adaptive_limit, retry, timeout}) == trail{"permit_held_while_waiting"});
  CHECK(judged({rate_limiter, retry, timeout}) == trail{"retries_not_limited"});
  CHECK(judged({hedge, retry, timeout}) == trail{"hedged_retries"});
  CHECK(judged({retry, timeout, fallback}) == trail{"failures_hidden"});
  CHECK(judged({circuit_breaker, timeout, fallback}) == trail{"failures_hidden"});
  CHECK(judged({circuit_breaker, cache, timeout}) == trail{"cache_inside"});
  CHECK(judged({chaos, retry, timeout}) == trail{"chaos_outside", "chaos_outside"});
}

}  // namespace
