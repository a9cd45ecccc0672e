// SPDX-License-Identifier: Apache-2.0
// Breakers and rates with their state in a store, and what happens when the store is away.

#include "driven.hpp"

#include <belay/core/timeout.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/testing/fault_gate.hpp>
#include <doctest/doctest.h>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

// A store behind a gate: it can be slow, and it can fail.
class far_store final : public b::admission_store {
 public:
  t::fault_gate way{"store"};
  b::task<admission> admit(std::string key, const b::circuit_breaker_options& options) override {
    co_await way.pass();
    co_return co_await near_.admit(std::move(key), options);
  }
  b::task<b::breaker_state> ended(std::string key, const b::circuit_breaker_options& options,
                                  std::uint64_t generation, b::call_verdict verdict,
                                  b::duration took) override {
    co_await way.pass();
    co_return co_await near_.ended(std::move(key), options, generation, verdict, took);
  }
  b::task<std::optional<b::duration>> take(std::string key, const b::rate_limiter_options& options,
                                           std::uint64_t weight) override {
    co_await way.pass();
    co_return co_await near_.take(std::move(key), options, weight);
  }

 private:
  b::memory_store near_;
};

b::task<int> good() { co_return 1; }
b::task<int> bad() {
  throw outage("down");
  co_return 0;
}
template <class P>
b::task<std::string> try_one(const P& through, b::task<int> (*op)()) {
  b::outcome<int> how = co_await b::as_outcome(through([op]() -> b::task<int> { co_return co_await op(); }));
  if (how.succeeded()) co_return "ok";
  const b::failure what = how.failure();
  const auto* refused = what.find<b::rejected_error>();
  co_return refused != nullptr ? std::string(refused->code()) : what.message();
}

}  // namespace

TEST_CASE("stored_circuit_breaker: two that share a key open and close together") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<b::memory_store>();
    const b::circuit_breaker_options options{.name = "quotes", .consecutive_failures = 2, .open_for = 10s};
    const b::stored_circuit_breaker one(store, options);
    const b::stored_circuit_breaker two(store, options);
    CHECK(co_await try_one(one, bad) == "down");
    CHECK(co_await try_one(two, bad) == "down");
    CHECK(co_await try_one(one, good) == "circuit_open");
    CHECK(one.statistics().rejected == 1);
    co_await b::sleep_for(10s);
    const auto hangs = []() -> b::task<int> {
      co_await b::sleep_for(1h);
      co_return 1;
    };
    CHECK_FALSE(
        (co_await b::move_on_after(1s, one(hangs))).has_value());  // its place as a probe is free again
    CHECK(co_await try_one(two, good) == "ok");
    CHECK(co_await try_one(one, good) == "ok");
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "stored_rate_limiter: two that share a key share the rate; the rejection tells when to come again") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<b::memory_store>();
    const b::stored_rate_limiter one(store, {.name = "mail", .permits = 3, .per = 3s});
    const b::stored_rate_limiter two(store, {.name = "mail", .permits = 3, .per = 3s});
    CHECK(co_await try_one(one, good) == "ok");
    CHECK(co_await try_one(two.with_weight(2), good) == "ok");
    b::outcome<int> how = co_await b::as_outcome(one(good));
    const b::failure refused = how.failure();
    const auto* why = refused.find<b::rate_limited_error>();
    REQUIRE(why != nullptr);
    CHECK(why->retry_after() == 1s);
    co_await b::sleep_for(1s);
    CHECK(co_await try_one(two, good) == "ok");
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("a store that is away or too slow: calls are let through or rejected, as chosen") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<far_store>();
    const b::stored_circuit_breaker open_handed(store, {.name = "a"});
    const b::stored_circuit_breaker strict(store, {.name = "b"}, {.otherwise = b::without_store::reject});
    const b::stored_rate_limiter generous(store, {.name = "c"});
    const b::stored_rate_limiter mean(store, {.name = "d"}, {.otherwise = b::without_store::reject});
    store->way.fail_always();
    CHECK(co_await try_one(open_handed, good) == "ok");
    CHECK(co_await try_one(open_handed, bad) == "down");
    CHECK(co_await try_one(strict, good) == "circuit_open");
    CHECK(co_await try_one(generous, good) == "ok");
    CHECK(co_await try_one(mean, good) == "rate_limited");
    store->way.succeed();
    store->way.delay(1h);
    const b::time_point start = b::now();
    CHECK(co_await try_one(open_handed, good) == "ok");
    CHECK(co_await try_one(strict, good) == "circuit_open");
    CHECK(b::now() - start == 200ms);
    CHECK(open_handed.statistics().without_store == 3);
    // It goes away while the call runs: the call has its result.
    store->way.delay(0s);
    CHECK(co_await strict([&]() -> b::task<int> {
            store->way.fail_always();
            co_return 5;
          }) == 5);
    CHECK(strict.statistics().not_told == 1);
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("a store that is away: decided in memory meanwhile, if that is chosen") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<far_store>();
    const b::store_options alone{.otherwise = b::without_store::local};
    const b::stored_circuit_breaker breaker(store, {.name = "a", .consecutive_failures = 2, .open_for = 10s},
                                            alone);
    const b::stored_rate_limiter rate(store, {.name = "b", .permits = 2, .per = 2s}, alone);
    store->way.fail_always();
    CHECK(co_await try_one(rate, good) == "ok");
    CHECK(co_await try_one(rate, good) == "ok");
    CHECK(co_await try_one(rate, good) == "rate_limited");
    CHECK(co_await try_one(breaker, bad) == "down");
    CHECK(co_await try_one(breaker, bad) == "down");
    CHECK(co_await try_one(breaker, good) == "circuit_open");
    CHECK(breaker.statistics().without_store == 3);
    CHECK(breaker.statistics().rejected == 1);
    CHECK(breaker.statistics().not_told == 0);
    // There again: the store decides.
    store->way.succeed();
    CHECK(co_await try_one(breaker, good) == "ok");
    CHECK(co_await try_one(rate, good) == "ok");
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("stored policies: made without a store, or with options out of range") {
  const auto store = std::make_shared<b::memory_store>();
  CHECK_THROWS_AS(b::stored_circuit_breaker(nullptr, {}), b::misuse_error);
  CHECK_THROWS_AS(b::stored_circuit_breaker(store, {.probes = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::stored_circuit_breaker(store, {}, {.limit = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::stored_rate_limiter(store, {.most_waiting = 1}), b::misuse_error);
  CHECK_THROWS_AS(b::stored_rate_limiter(nullptr, {}), b::misuse_error);
}

TEST_CASE("everywhere: stored breaker and rate limiter") {
  core_tests::drive("stored policies", [](t::stage& s) -> b::task<> {
    const auto store = std::make_shared<far_store>();
    store->way.delay(10ms);
    auto& breaker = s.make<b::stored_circuit_breaker>(
        store, b::circuit_breaker_options{.name = "x", .consecutive_failures = 1, .open_for = 2s});
    auto& rate = s.make<b::stored_rate_limiter>(store, b::rate_limiter_options{.name = "y", .permits = 3});
    const auto calls = [&](b::task<int> (*op)()) -> b::task<> {
      b::outcome<int> how = co_await b::as_outcome(rate([&]() -> b::task<int> {
        co_return co_await breaker([op]() -> b::task<int> {
          co_await b::sleep_for(500ms);
          co_return co_await op();
        });
      }));
      if (how.failed()) CHECK(how.failure());
    };
    co_await calls(good);
    co_await calls(bad);
    co_await calls(good);
    co_await b::sleep_for(2s);
    co_await calls(good);
  });
}
