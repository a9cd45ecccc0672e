// SPDX-License-Identifier: Apache-2.0
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

namespace {

namespace b = belay;
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
  CHECK(judged({circuit_breaker, fallback}) == trail{"failures_hidden"});
  CHECK(judged({circuit_breaker, cache}) == trail{"cache_inside"});
  CHECK(judged({chaos, retry, timeout}) == trail{"chaos_outside", "chaos_outside"});
}

}  // namespace
