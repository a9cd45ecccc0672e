// SPDX-License-Identifier: Apache-2.0
// Breakers, limiters and bulkheads together with retry, fallback and timeout.

#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

b::retry steady_retry(unsigned attempts, b::duration delay) {
  return b::retry(
      {.max_attempts = attempts, .delay = b::backoff::constant(delay, b::jitter::none), .seed = 1});
}

}  // namespace

TEST_CASE(
    "retry round a breaker: when it opens, further attempts are rejected cheaply, and waited for only if there is time [row 373]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    int runs = 0;
    const auto fails = [&runs]() -> b::task<int> {
      ++runs;
      throw outage("down");
      co_return 0;
    };
    const b::circuit_breaker breaker({.consecutive_failures = 3, .open_for = 20s});
    const b::pipeline guarded{steady_retry(10, 100ms), breaker};
    // There are ten seconds: the circuit opens at the third attempt, and stays open for longer than that.
    const b::time_point start = b::now();
    b::outcome<int> how = co_await b::as_outcome(b::with_timeout(10s, guarded(fails)));
    const b::failure what = how.failure();
    CHECK(runs == 3);
    CHECK(b::now() - start < 1s);  // it gave up, and did not sleep into its limit
    CHECK(what.find<b::circuit_open_error>() != nullptr);
    CHECK(breaker.statistics().rejected == 1);
    // With more time the same retry waits for the open time to pass, and its next attempt is the probe.
    runs = 0;
    int good = 0;
    co_await b::sleep_for(1s);
    CHECK(co_await b::with_timeout(60s, guarded([&good]() -> b::task<int> {
                                     ++good;
                                     co_return 7;
                                   })) == 7);
    CHECK(good == 1);
    CHECK(breaker.state() == b::breaker_state::closed);
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("a breaker round a retry: one failure is counted for all attempts [row 374]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    int runs = 0;
    const auto fails = [&runs]() -> b::task<int> {
      ++runs;
      throw outage("down");
      co_return 0;
    };
    const b::circuit_breaker breaker({.consecutive_failures = 3});
    const b::pipeline guarded{breaker, steady_retry(4, 100ms)};
    for (int i = 1; i <= 2; ++i) {
      b::outcome<int> how = co_await b::as_outcome(guarded(fails));
      CHECK(how.failure());
      CHECK(breaker.statistics().failed == static_cast<std::uint64_t>(i));
    }
    CHECK(runs == 8);
    CHECK(breaker.state() == b::breaker_state::closed);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "a fallback round an open breaker: its value comes out, and the rejection is told; if it fails, the rejection is attached [row 382]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::circuit_breaker breaker(
        {.name = "quotes", .consecutive_failures = 1, .listener = told.listener()});
    breaker.open();
    const auto never = []() -> b::task<int> { co_return 0; };
    CHECK(co_await b::pipeline{b::fallback{42}, breaker}(never) == 42);
    CHECK(told.all == trail{"state_changed: quotes", "rejected: quotes"});
    CHECK(breaker.statistics().rejected == 1);
    const auto fails = []() -> b::task<int> {
      throw boom("the fallback, too");
      co_return 0;
    };
    b::outcome<int> how = co_await b::as_outcome(b::pipeline{b::fallback{fails}, breaker}(never));
    const b::failure what = how.failure();
    CHECK(what.message() == "the fallback, too");
    CHECK(what.find<b::circuit_open_error>() != nullptr);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "the usual order: retry, breaker, rate limiter, timeout, bulkhead: each attempt passes all of them [row 400]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 10});
    const b::rate_limiter limiter({.permits = 100});
    const b::bulkhead places({.most_running = 1});
    const b::pipeline usual{b::timeout{60s}, steady_retry(3, 1s), breaker, limiter, b::timeout{1s}, places};
    CHECK(usual.warnings().empty());
    int runs = 0;
    const int got = co_await usual([&runs]() -> b::task<int> {
      if (++runs < 3) co_await b::sleep_for(10s);
      co_return runs;
    });
    CHECK(got == 3);
    CHECK(breaker.statistics().failed == 2);  // two timeouts
    CHECK(breaker.statistics().succeeded == 1);
    CHECK(limiter.statistics().admitted == 3);
    CHECK(places.statistics().admitted == 3);
    CHECK(places.statistics().running == 0);
  }());
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}
