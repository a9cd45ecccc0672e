// SPDX-License-Identifier: Apache-2.0
// What policies do, in the log.

#include <doctest/doctest.h>

#include <belay/core/sleep.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/telemetry/policy_log.hpp>
#include <belay/testing/test_loop.hpp>

#include "support.hpp"

using namespace belay::telemetry;
using namespace std::chrono_literals;
using telemetry_test::fixture;

namespace {

struct no_quotes : belay::error_type<belay::error_kind::unavailable, "no_quotes"> {
  using error_type::error_type;
};

}  // namespace

TEST_CASE("policy log: attempts, states and rejections, with the name of the policy; warnings at the most") {
  fixture f;
  belay::testing::test_loop loop;
  const belay::policy_listener told = policy_log(f.log);
  const belay::pipeline guarded{
      belay::retry{{.max_attempts = 3,
                    .delay = belay::backoff::constant(250ms, belay::jitter::none),
                    .name = "again",
                    .listener = told}},
      belay::circuit_breaker{{.name = "quotes", .consecutive_failures = 2, .open_for = 1h, .listener = told}},
  };
  const auto fails = []() -> belay::task<int> {
    throw no_quotes("the exchange is closed");
    co_return 0;
  };
  CHECK_THROWS_AS(loop.run(guarded(fails)), belay::error);
  std::vector<boost::json::object> records;
  for (const std::string& line : f.sink->lines()) records.push_back(boost::json::parse(line).as_object());
  REQUIRE(records.size() == 5);
  const auto is = [&](std::size_t at, const char* policy, const char* action) {
    CHECK(records[at].at("event").as_string() == "policy");
    CHECK(records[at].at("level").as_string() == "warn");
    CHECK(records[at].at("policy").as_string() == policy);
    CHECK(records[at].at("action").as_string() == action);
  };
  is(0, "again", "retrying");
  CHECK(records[0].at("kind").as_string() == "retry");
  CHECK(records[0].at("number").as_int64() == 1);
  CHECK(records[0].at("length_ms").to_number<double>() == doctest::Approx(250));
  CHECK(records[0].at("code").as_string() == "no_quotes");
  CHECK(records[0].at("error").as_string() == "the exchange is closed");
  is(1, "quotes", "state_changed");
  CHECK(records[1].at("detail").as_string() == "open");
  is(2, "again", "retrying");
  is(3, "quotes", "rejected");
  CHECK(records[3].at("detail").as_string() == "open");
  CHECK(records[3].at("code").as_string() == "circuit_open");
  is(4, "again", "gave_up");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("policy log: below the threshold nothing is made of an event; it counts as unobserved") {
  fixture f({.threshold = level::error});
  belay::testing::test_loop loop;
  const belay::retry again{
      {.max_attempts = 2, .delay = belay::backoff::none(), .listener = policy_log(f.log)}};
  const auto fails = []() -> belay::task<int> {
    throw no_quotes("gone");
    co_return 0;
  };
  CHECK_THROWS_AS(loop.run(again(fails)), belay::error);
  CHECK(f.sink->lines().empty());
}
