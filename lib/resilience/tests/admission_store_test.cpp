// SPDX-License-Identifier: Apache-2.0
// Breakers and rates with their state in a store, and what happens when the store is away.

#include "driven.hpp"

#include <belay/core/timeout.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/testing/fault_gate.hpp>
#include <doctest/doctest.h>

#include <thread>

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
  b::task<std::optional<b::breaker_state>> ended(std::string key, const b::circuit_breaker_options& options,
                                                 call_end how) override {
    co_await way.pass();
    co_return co_await near_.ended(std::move(key), options, std::move(how));
  }
  b::task<std::optional<b::duration>> take(std::string key, const b::rate_limiter_options& options,
                                           std::uint64_t weight) override {
    co_await way.pass();
    co_return co_await near_.take(std::move(key), options, weight);
  }

 private:
  b::memory_store near_;
};

// Not one that fails: one that throws at the call, before there is a task.
class broken_store final : public b::admission_store {
 public:
  bool asks = true;
  BELAY_CORO_WRAPPER b::task<admission> admit(std::string key,
                                              const b::circuit_breaker_options& options) override {
    if (!asks) throw boom("not connected");
    return near_.admit(std::move(key), options);
  }
  BELAY_CORO_WRAPPER b::task<std::optional<b::breaker_state>> ended(std::string,
                                                                    const b::circuit_breaker_options&,
                                                                    call_end) override {
    throw boom("not connected");
  }
  BELAY_CORO_WRAPPER b::task<std::optional<b::duration>> take(std::string, const b::rate_limiter_options&,
                                                              std::uint64_t) override {
    throw boom("not connected");
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
    b::outcome<int> how = co_await b::as_outcome(one([]() -> b::task<int> { co_return 1; }));
    const b::failure refused = how.failure();
    const auto* why = refused.find<b::circuit_open_error>();
    REQUIRE(why != nullptr);
    CHECK(std::string(why->what()) ==
          "circuit breaker 'quotes' is open, the last failed with: down; try again in 10 s");
    const b::failure cause = why->cause();
    const auto* last = cause.find<b::error>();
    REQUIRE(last != nullptr);
    CHECK(last->code() == "outage");
    CHECK(last->kind() == b::error_kind::unavailable);
    CHECK(std::string(why->where().file_name()).ends_with("admission_store_test.cpp"));
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
    CHECK(strict.statistics().rejected == 2);
    CHECK(mean.statistics().rejected == 1);
  }());
  CHECK(loop.nothing_left());
  // Each policy that had nobody to tell it to, once in that minute.
  CHECK(loop.lost_errors().size() == 3);
  CHECK(loop.lost_errors().at(0).find("circuit breaker 'a': its store cannot be asked") != std::string::npos);
}

TEST_CASE("a store that throws before it gives a task cannot be asked; the call has its result") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<broken_store>();
    const b::stored_circuit_breaker breaker(store, {.name = "a"});
    const b::stored_rate_limiter rate(store, {.name = "b"});
    const b::stored_rate_limiter mean(store, {.name = "c"}, {.otherwise = b::without_store::reject});
    CHECK(co_await try_one(breaker, good) == "ok");
    CHECK(breaker.statistics().not_told == 1);
    CHECK(breaker.statistics().without_store == 0);
    store->asks = false;
    CHECK(co_await try_one(breaker, good) == "ok");
    CHECK(co_await try_one(breaker, bad) == "down");
    CHECK(breaker.statistics().without_store == 2);
    CHECK(co_await try_one(rate, good) == "ok");
    CHECK(co_await try_one(mean, good) == "rate_limited");
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().size() == 2);
}

TEST_CASE("a store that is away: rejections are counted and told, with the caller's place") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto store = std::make_shared<far_store>();
    store->way.fail_always();
    changes told;
    const b::store_options strict{.otherwise = b::without_store::reject};
    const b::stored_circuit_breaker breaker(store, {.name = "a", .listener = told.listener()}, strict);
    const b::stored_rate_limiter rate(store, {.name = "b", .listener = told.listener()}, strict);
    for (int i = 0; i < 2; ++i) {
      b::outcome<int> one = co_await b::as_outcome(breaker(good));
      b::outcome<int> two = co_await b::as_outcome(rate(good));
      for (const b::failure& what : {one.failure(), two.failure()}) {
        const auto* refused = what.find<b::rejected_error>();
        REQUIRE(refused != nullptr);
        CHECK(refused->cause());
        CHECK(std::string(refused->where().file_name()).ends_with("admission_store_test.cpp"));
      }
    }
    CHECK(breaker.statistics().rejected == 2);
    CHECK(rate.statistics().rejected == 2);
    CHECK(told.all == trail{"rejected: a", "rejected: b", "rejected: a", "rejected: b"});
  }());
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
  CHECK(loop.lost_errors().size() == 2);  // each policy tells it once
}

TEST_CASE("stored_circuit_breaker: each change of state is told once, by whose call it came") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const auto store = std::make_shared<b::memory_store>();
    const b::stored_circuit_breaker breaker(
        store, {.consecutive_failures = 3, .open_for = 1s, .listener = told.listener()});
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 8; ++i) {
        g.spawn([&breaker]() -> b::task<> {
          CHECK(co_await try_one(
                    breaker, +[]() -> b::task<int> {
                      co_await b::sleep_for(100ms);
                      throw outage("down");
                    }) == "down");
        });
      }
      co_return;
    });
    CHECK(told.states == trail{"open"});
    co_await b::sleep_for(2s);
    CHECK(co_await try_one(breaker, good) == "ok");
    CHECK(told.states == trail{"open", "half open", "closed"});
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "stored_circuit_breaker: an end that did not reach the store keeps it half open no longer than a probe may take") {
  for (const b::duration own : {b::duration::max(), b::duration(10s)}) {
    t::test_loop loop;
    loop.run([](b::duration limit) -> b::task<> {
      const auto store = std::make_shared<far_store>();
      const b::stored_circuit_breaker breaker(
          store, {.consecutive_failures = 1, .open_for = 1s, .probe_limit = limit});
      CHECK(co_await try_one(breaker, bad) == "down");
      co_await b::sleep_for(2s);
      CHECK(co_await breaker([&]() -> b::task<int> {
              store->way.delay(200ms);
              co_return 1;
            }) == 1);
      store->way.delay(0s);
      CHECK(breaker.statistics().not_told == 1);
      CHECK(co_await try_one(breaker, good) == "circuit_open");
      co_await b::sleep_for(limit == b::duration::max() ? b::duration(1min) : limit);
      CHECK(co_await try_one(breaker, good) == "ok");
      CHECK(co_await try_one(breaker, good) == "ok");
    }(own));
    CHECK(loop.nothing_left());
  }
  CHECK_THROWS_AS(b::memory_store(0s), b::misuse_error);
}

TEST_CASE("stored policies: what a store says about its misuse is no outage") {
  const auto store = std::make_shared<b::memory_store>();
  const b::stored_circuit_breaker breaker(store, {.name = "a"});
  const b::stored_rate_limiter rate(store, {.name = "b", .permits = 2, .per = 1h});
  t::test_loop first;
  first.run([](const auto& one, const auto& two) -> b::task<> {
    CHECK(co_await try_one(one, good) == "ok");
    CHECK(co_await try_one(two, good) == "ok");
  }(breaker, rate));
  std::thread([&] {
    t::test_loop second;
    second.run([](const auto& one, const auto& two) -> b::task<> {
      b::outcome<int> how = co_await b::as_outcome(one(good));
      CHECK(how.failure().find<b::misuse_error>() != nullptr);
      b::outcome<int> too = co_await b::as_outcome(two(good));
      CHECK(too.failure().message() ==
            "memory_store: used by another thread than before; each loop needs one of its own");
    }(breaker, rate));
    CHECK(second.lost_errors().empty());
  }).join();
  CHECK(rate.statistics().without_store == 0);
}

TEST_CASE("stored_circuit_breaker: the message of a failure is short, and whole characters") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::stored_circuit_breaker breaker(std::make_shared<b::memory_store>(), {.consecutive_failures = 1});
    CHECK(co_await try_one(
              breaker, +[]() -> b::task<int> {
                std::string words = "x";
                while (words.size() < 2000) words += "\xc3\xa4";
                throw outage(words);
                co_return 0;
              }) != "ok");
    b::outcome<int> how = co_await b::as_outcome(breaker(good));
    const b::failure refused = how.failure();
    CHECK(refused.find<b::circuit_open_error>()->cause().message().size() == 511);
  }());
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
  // What the store says when it cannot be asked goes to the sink.
  const auto run = [](t::stage& s) -> b::task<> {
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
  };
  core_tests::drive("stored policies", run, core_tests::lost::to_the_sink);
}
