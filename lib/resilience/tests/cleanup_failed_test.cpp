// SPDX-License-Identifier: Apache-2.0
// A call is cancelled, and its cleanup fails: policies that judge calls learn nothing from that, and the error goes on.

#include <belay/resilience/adaptive_limiter.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/hedge.hpp>
#include <doctest/doctest.h>

#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

constexpr auto everything = [](const b::failure&) { return true; };

}  // namespace

TEST_CASE("circuit_breaker: the error of a cleanup after a cancellation counts as nothing") {
  t::test_loop loop;
  const b::circuit_breaker breaker({.consecutive_failures = 1,
                                    .failures = b::error_filter(everything),
                                    .telling = b::error_filter(everything)});
  CHECK(end_when_cancelled(loop, breaker(fails_in_cleanup)) == "rollback");
  CHECK(breaker.statistics().failed == 0);
  CHECK(breaker.statistics().uncounted == 1);
  CHECK(breaker.state() == b::breaker_state::closed);
}

TEST_CASE("stored_circuit_breaker: the error of a cleanup after a cancellation counts as nothing") {
  t::test_loop loop;
  const b::stored_circuit_breaker breaker(std::make_shared<b::memory_store>(),
                                          {.consecutive_failures = 1,
                                           .failures = b::error_filter(everything),
                                           .telling = b::error_filter(everything)});
  CHECK(end_when_cancelled(loop, breaker(fails_in_cleanup)) == "rollback");
  CHECK(loop.run(breaker([]() -> b::task<int> { co_return 1; })) == 1);
}

TEST_CASE("adaptive_limiter: the error of a cleanup after a cancellation is no refusal") {
  t::test_loop loop;
  const b::adaptive_limiter limiter({.first_limit = 20, .refusals = b::error_filter(everything)});
  CHECK(end_when_cancelled(loop, limiter(fails_in_cleanup)) == "rollback");
  CHECK(limiter.statistics().limit == 20);
}

TEST_CASE("hedge: the error of a cleanup after a cancellation goes on") {
  t::test_loop loop;
  const b::hedge twice({.delay = 1h});
  CHECK(end_when_cancelled(loop, twice(b::repeatable(fails_in_cleanup))) == "rollback");
  CHECK(end_when_cancelled(loop, twice(fails_in_cleanup)) == "rollback");
  CHECK(loop.lost_errors().empty());
}
