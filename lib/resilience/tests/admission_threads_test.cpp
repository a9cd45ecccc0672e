// SPDX-License-Identifier: Apache-2.0
// What is shared by loops, used by many of them at the same time.

#include <belay/core/loop.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_circuit_breaker.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

template <class F>
void each_on_its_loop(int how_many, F main) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(how_many));
  for (int i = 0; i < how_many; ++i) {
    threads.emplace_back([main, i] {
      b::loop loop;
      loop.run(main(i));
    });
  }
  for (std::thread& one : threads) one.join();
}

}  // namespace

TEST_CASE("shared_circuit_breaker: 16 loops, 10,000 calls: every call is counted once [row 402]") {
  std::atomic<std::uint64_t> changes_told{0};
  const b::shared_circuit_breaker breaker({.consecutive_failures = 10,
                                           .failure_rate = 0.9,
                                           .window = 1s,
                                           .open_for = 10us,
                                           .probes = 2,
                                           .listener = [&changes_told](const b::policy_event& event) {
                                             if (event.action == b::policy_action::state_changed)
                                               changes_told.fetch_add(1, std::memory_order_relaxed);
                                           }});
  const b::pipeline guarded{breaker};
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> rejected{0};
  each_on_its_loop(16, [&](int loop) -> b::task<> {
    for (int i = 0; i < 625; ++i) {
      const bool fails = (i / 40 + loop) % 2 == 0;
      b::outcome<void> how = co_await b::as_outcome(guarded([&]() -> b::task<> {
        ran.fetch_add(1, std::memory_order_relaxed);
        co_await b::yield();
        if (fails) throw outage("down");
      }));
      if (how.failed() && how.failure().find<b::circuit_open_error>() != nullptr)
        rejected.fetch_add(1, std::memory_order_relaxed);
      if (i % 100 == 0) breaker.close();
    }
  });
  const b::circuit_breaker_statistics all = breaker.statistics();
  CHECK(ran.load() + rejected.load() == 10'000);
  CHECK(all.succeeded + all.failed + all.uncounted + all.stale == ran.load());
  CHECK(all.rejected == rejected.load());
  CHECK(all.opened > 0);
  CHECK(changes_told.load() >= all.opened);
}

TEST_CASE("shared_circuit_breaker: a rejection elsewhere tells kind, code and message of the failure") {
  const b::shared_circuit_breaker breaker({.name = "quotes", .consecutive_failures = 1, .open_for = 1h});
  each_on_its_loop(1, [&](int) -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(breaker([]() -> b::task<> {
      throw outage("down");
      co_return;
    }));
    CHECK(how.failure());
  });
  const b::circuit_open_error refused = breaker.refusal();
  const b::failure cause = refused.cause();
  const auto* copy = cause.find<b::error>();
  REQUIRE(copy != nullptr);
  CHECK(copy->code() == "outage");
  CHECK(copy->kind() == b::error_kind::unavailable);
  CHECK(std::string(copy->what()) == "down");
  CHECK(std::string(refused.what()).find("the last with: down") != std::string::npos);
}

TEST_CASE("shared_rate_limiter: 16 loops together get what one would get") {
  // An hour for the next token: what is there at the start is all there is.
  const b::shared_rate_limiter limiter({.permits = 1000, .per = std::chrono::hours(1000)});
  std::atomic<int> passed{0};
  std::atomic<int> refused{0};
  each_on_its_loop(16, [&](int) -> b::task<> {
    for (int i = 0; i < 200; ++i) {
      b::outcome<void> how = co_await b::as_outcome(limiter([&]() -> b::task<> {
        passed.fetch_add(1, std::memory_order_relaxed);
        co_return;
      }));
      if (how.failed() && how.failure().find<b::rate_limited_error>() != nullptr)
        refused.fetch_add(1, std::memory_order_relaxed);
    }
  });
  CHECK(passed.load() == 1000);
  CHECK(refused.load() == 2200);
  CHECK(limiter.statistics().admitted == 1000);
  CHECK(limiter.statistics().rejected == 2200);
}

TEST_CASE("circuit_breaker and rate_limiter of one loop refuse to be used by another") {
  const b::circuit_breaker breaker;
  const b::rate_limiter limiter;
  t::test_loop here;
  here.run([](const b::circuit_breaker& first, const b::rate_limiter& second) -> b::task<> {
    const auto works = []() -> b::task<> { co_return; };
    co_await first(works);
    co_await second(works);
  }(breaker, limiter));
  int refused = 0;
  each_on_its_loop(1, [&](int) -> b::task<> {
    const auto works = []() -> b::task<> { co_return; };
    b::outcome<void> one = co_await b::as_outcome(breaker(works));
    b::outcome<void> two = co_await b::as_outcome(limiter(works));
    for (const b::failure& what : {one.failure(), two.failure()}) {
      if (what.find<b::misuse_error>() != nullptr) ++refused;
    }
  });
  CHECK(refused == 2);
  CHECK(breaker.statistics().succeeded == 1);
}
