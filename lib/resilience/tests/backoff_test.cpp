// SPDX-License-Identifier: Apache-2.0
#include <belay/core/error.hpp>
#include <belay/resilience/backoff.hpp>
#include <belay/resilience/retry_budget.hpp>
#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "support.hpp"

namespace {

namespace b = belay;
using namespace core_tests;
using b::backoff;
using b::jitter;

std::vector<long> greatest(const backoff& delays, unsigned count) {
  std::vector<long> all;
  for (unsigned i = 1; i <= count; ++i) all.push_back(delays.greatest(i) / 1ms);
  return all;
}

TEST_CASE("backoff: exponential from 100 ms up to 1 s; no overflow at attempt 10,000 [row 341]") {
  const backoff delays = backoff::exponential(100ms, 1s);
  CHECK(greatest(delays, 6) == std::vector<long>{100, 200, 400, 800, 1000, 1000});
  CHECK(delays.greatest(10'000) == 1s);
  CHECK(delays.greatest(std::numeric_limits<unsigned>::max()) == 1s);
  const backoff endless = backoff::exponential(1ns, b::duration::max(), 10);
  CHECK(endless.greatest(19) == b::duration(1'000'000'000'000'000'000));
  CHECK(endless.greatest(20) == b::duration::max());
  CHECK(endless.greatest(10'000) == b::duration::max());
  b::detail::random_source random(1);
  for (int i = 0; i < 1000; ++i) CHECK(endless.draw(10'000, 0s, random) >= 0s);
}

TEST_CASE("backoff: linear and constant") {
  CHECK(greatest(backoff::linear(100ms, 250ms), 4) == std::vector<long>{100, 200, 250, 250});
  CHECK(backoff::linear(1s, b::duration::max()).greatest(std::numeric_limits<unsigned>::max()) ==
        1s * 4'294'967'295);
  CHECK(backoff::linear(b::duration::max() / 2, b::duration::max()).greatest(3) == b::duration::max());
  CHECK(greatest(backoff::constant(30ms), 3) == std::vector<long>{30, 30, 30});
}

TEST_CASE("backoff: full jitter is uniform between zero and the greatest delay [row 342]") {
  const backoff delays = backoff::exponential(100ms, 1s);
  b::detail::random_source random(7);
  double sum = 0;
  int low = 0;
  for (int i = 0; i < 4000; ++i) {
    const b::duration one = delays.draw(3, 0s, random);
    sum += static_cast<double>(one / 1us);
    low += one < 100ms ? 1 : 0;
  }
  CHECK(sum / 4000 == doctest::Approx(200'000).epsilon(0.03));
  CHECK(low == doctest::Approx(1000).epsilon(0.08));
}

TEST_CASE("backoff: the same seed draws the same, another one something else [row 342]") {
  const auto drawn = [](std::uint64_t seed) { return b::detail::random_source(seed).next(); };
  CHECK(drawn(5) == drawn(5));
  CHECK(drawn(5) != drawn(6));
}

TEST_CASE("backoff: jitter is never negative and never above the limit [row 343]") {
  b::detail::random_source random(11);
  for (const backoff& delays :
       {backoff::exponential(1ns, 3ns), backoff::linear(100ms, 1s), backoff::constant(10ms),
        backoff::decorrelated(100ms, 1s), backoff::constant(b::duration::max())}) {
    b::duration before = 0s;
    for (unsigned i = 1; i <= 2000; ++i) {
      before = delays.draw(i, before, random);
      REQUIRE(before >= 0s);
      REQUIRE(before <= delays.greatest(i));
    }
  }
}

TEST_CASE("backoff: decorrelated delays lie between the first and three times the one before") {
  const backoff delays = backoff::decorrelated(100ms, 5s);
  b::detail::random_source random(3);
  b::duration before = 0s;
  bool grew = false;
  for (unsigned i = 1; i <= 1000; ++i) {
    const b::duration one = delays.draw(i, before, random);
    REQUIRE(one >= 100ms);
    REQUIRE(one <= std::max<b::duration>(before, 100ms) * 3);
    grew = grew || one > 3s;
    before = one;
  }
  CHECK(grew);
}

TEST_CASE("backoff: in words, and out of range") {
  CHECK(backoff::exponential(100ms, 10s).describe() == "exponential from 100 ms up to 10 s, full jitter");
  CHECK(backoff::exponential(100ms, 10s, 1.5, jitter::none).describe() ==
        "exponential from 100 ms times 1.5 up to 10 s, no jitter");
  CHECK(backoff::linear(1s, 3s).describe() == "linear by 1 s up to 3 s, full jitter");
  CHECK(backoff::decorrelated(1s, 3s).describe() == "decorrelated from 1 s up to 3 s");
  CHECK(backoff::none().describe() == "at once");
  CHECK(backoff::constant(1s).describe() == "constant 1 s, full jitter");
  CHECK_THROWS_WITH_AS(static_cast<void>(backoff::constant(-1ms)),
                       "backoff: the delay is -1 ms; it must be zero or more", b::misuse_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(backoff::linear(0ms, 1s)),
                       "backoff: the first delay is 0 s; it must be more than zero", b::misuse_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(backoff::exponential(2s, 1s)),
                       "backoff: the greatest delay is 1 s; it must be at least the first, 2 s",
                       b::misuse_error);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(backoff::exponential(1s, 2s, std::numeric_limits<double>::quiet_NaN())),
      "backoff: factor is nan; it must be at least 1", b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(backoff::exponential(1s, 2s, 0.5)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(backoff::decorrelated(0s, 2s)), b::misuse_error);
}

TEST_CASE("retry_budget: at most the reserve and the ratio of the calls") {
  const b::retry_budget budget{{.ratio = 0.1, .reserve = 5}};
  const b::retry_budget same = budget;
  unsigned spent = 0;
  for (int i = 0; i < 1000; ++i) {
    budget.deposit();
    while (same.try_spend()) ++spent;
  }
  CHECK(spent == 5 + 99);  // the first call found it full
  CHECK(budget.statistics().spent == spent);
  CHECK(budget.statistics().calls == 1000);
  CHECK(budget.statistics().refused == 1000);
  CHECK(budget.statistics().available < 1);
  CHECK(budget.describe() == "10 % of the calls, reserve 5");
}

TEST_CASE("retry_budget: never more saved up than the reserve; out of range") {
  const b::retry_budget budget{{.ratio = 1, .reserve = 2}};
  for (int i = 0; i < 100; ++i) budget.deposit();
  CHECK(budget.statistics().available == 2);
  CHECK_THROWS_WITH_AS(b::retry_budget({.ratio = 1.5}), "retry_budget: ratio is 1.5; it must be from 0 to 1",
                       b::misuse_error);
  CHECK_THROWS_AS(b::retry_budget({.ratio = std::numeric_limits<double>::quiet_NaN()}), b::misuse_error);
  CHECK_THROWS_AS(b::retry_budget({.reserve = 0}), b::misuse_error);
}

}  // namespace
