// SPDX-License-Identifier: Apache-2.0
// Breakers and limits of two "machines" (loops on threads of their own, with their own connections) in a real Redis, which is killed and started again.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/redis/policy_store.hpp>

#include <atomic>
#include <cmath>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "redis_server.hpp"

namespace b = belay;
namespace redis = belay::db::redis;
using namespace std::chrono_literals;
using redis_tests::redis_server;

namespace {

using steady = std::chrono::steady_clock;

redis::options of(const redis_server& server) {
  redis::options set = redis::options::from_url("redis://127.0.0.1:" + std::to_string(server.port()));
  set.reconnect = b::backoff::constant(20ms, b::jitter::none);
  return set;
}

// One machine: its loop, on this thread. `use(client, store)`.
template <class Use>
void machine(const redis_server& server, Use use) {
  b::loop loop;
  loop.run([](redis::options set, Use& then) -> b::task<> {
    co_await b::with_timeout(50s, b::with(redis::connect(set), [&](redis::client& c) -> b::task<> {
                               co_await then(c, std::make_shared<redis::policy_store>(c));
                             }));
  }(of(server), use));
}

b::task<int> good() { co_return 1; }
b::task<int> bad() {
  throw b::error(b::error_kind::unavailable, "down", "down");
  co_return 0;
}
template <class P>
b::task<std::string> try_one(const P& through, b::task<int> (*op)()) {
  b::outcome<int> how = co_await b::as_outcome(through([op]() -> b::task<int> { co_return co_await op(); }));
  if (how.succeeded()) co_return "ok";
  const b::failure what = how.failure();
  const auto* known = what.find<b::error>();
  co_return known != nullptr ? std::string(known->code()) : what.message();
}

b::task<> wait_for_redis(redis::client c) {
  for (;;) {
    const b::outcome<redis::reply> how = co_await b::as_outcome(c.send({"PING"}));
    if (how.succeeded()) co_return;
    how.failure().observe();
    co_await b::sleep_for(20ms);
  }
}

constexpr b::store_options strict{.limit = 2s, .otherwise = b::without_store::reject};

void rate_is_never_exceeded(b::rate_limiter_options options, std::uint64_t at_once) {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  std::atomic<std::uint64_t> admitted{0};
  std::atomic<std::uint64_t> after_restart{0};
  std::atomic<bool> restarted{false};
  std::atomic<bool> over{false};
  const auto began = steady::now();
  const auto calls = [&](redis::client, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    const b::stored_rate_limiter rate(store, options, strict);
    while (!over) {
      const bool again = restarted;
      if (co_await try_one(rate, good) == "ok") {
        ++admitted;
        if (again) ++after_restart;
      } else {
        co_await b::sleep_for(2ms);
      }
    }
  };
  std::thread one([&] { machine(*server, calls); });
  std::thread two([&] { machine(*server, calls); });
  const auto until = [&](auto holds) {
    const auto end = steady::now() + 20s;
    while (!holds() && steady::now() < end) std::this_thread::sleep_for(5ms);
    CHECK(holds());
  };
  until([&] { return admitted >= at_once; });
  server->kill();
  std::this_thread::sleep_for(50ms);  // both machines meet a Redis that is away
  server->start_again();
  restarted = true;
  until([&] { return after_restart >= at_once; });
  over = true;
  one.join();
  two.join();
  const double passed =
      std::chrono::duration<double>(steady::now() - began) / std::chrono::duration<double>(options.per);
  const double most = options.algorithm == b::rate_algorithm::token_bucket
                          ? static_cast<double>(at_once) + passed * static_cast<double>(options.permits)
                          : static_cast<double>(options.permits) * std::ceil(passed);
  CAPTURE(passed);
  CHECK(static_cast<double>(admitted) <= most);
  MESSAGE("admitted " << admitted.load() << " of at most " << most);
}

}  // namespace

TEST_CASE(
    "live redis: two machines share a token bucket; killing Redis and starting it again admits nobody too much") {
  rate_is_never_exceeded({.name = "bucket", .permits = 40, .per = 1s, .burst = 20}, 20);
}

TEST_CASE("live redis: two machines share a sliding window; likewise") {
  rate_is_never_exceeded(
      {.name = "window", .permits = 30, .per = 1s, .algorithm = b::rate_algorithm::sliding_window}, 30);
}

TEST_CASE("live redis: two machines share a breaker: opened by one, probed once, closed for both") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  const b::circuit_breaker_options options{.name = "quotes", .consecutive_failures = 4, .open_for = 300ms};
  std::atomic<int> failed{0};
  std::atomic<int> saw_open{0};
  std::atomic<int> probes{0};
  const auto calls = [&](redis::client, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    const b::stored_circuit_breaker breaker(store, options, strict);
    for (int i = 0; i < 2; ++i)
      if (co_await try_one(breaker, bad) == "down") ++failed;
    while (failed < 4) co_await b::sleep_for(1ms);
    // Neither has seen four failures itself.
    if (co_await try_one(breaker, good) == "circuit_open") ++saw_open;
    while (saw_open < 2) co_await b::sleep_for(1ms);
    co_await b::sleep_for(350ms);
    b::outcome<int> how = co_await b::as_outcome(breaker([&]() -> b::task<int> {
      ++probes;
      co_await b::sleep_for(300ms);
      co_return 1;
    }));
    if (how.failed()) how.failure().observe();
    co_await b::sleep_for(400ms);
    CHECK(co_await try_one(breaker, good) == "ok");
  };
  std::thread one([&] { machine(*server, calls); });
  std::thread two([&] { machine(*server, calls); });
  one.join();
  two.join();
  CHECK(saw_open == 2);
  CHECK(probes == 1);
}

TEST_CASE("live redis: the rules of the breaker: rates, stale ends, reopening, a probe that is lost") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client c, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    using state = b::breaker_state;
    using verdict = b::call_verdict;
    for (const b::duration window : {b::duration(0s), b::duration(10s)}) {
      const b::circuit_breaker_options options{.consecutive_failures = 0,
                                               .failure_rate = 0.5,
                                               .window_calls = 4,
                                               .window = window,
                                               .minimum_calls = 4,
                                               .open_for = 50ms,
                                               .probes = 2,
                                               .probes_to_close = 2};
      const std::string key = window > 0s ? "by time" : "by count";
      const auto in = co_await store->admit(key, options);
      CHECK(in.admitted);
      CHECK(in.changed == false);
      using changed = std::optional<state>;
      const auto ends = [&](const auto& admitted, verdict how) -> b::task<changed> {
        co_return co_await store->ended(
            key, options,
            {.generation = admitted.generation,
             .verdict = how,
             .took = 1ms,
             .why = {.kind = b::error_kind::overloaded, .code = "down", .message = "it's down"}});
      };
      CHECK(co_await ends(in, verdict::failure) == std::nullopt);
      CHECK(co_await ends(in, verdict::nothing) == std::nullopt);
      CHECK(co_await ends(in, verdict::success) == std::nullopt);
      CHECK(co_await ends(in, verdict::success) == std::nullopt);
      CHECK(co_await ends(in, verdict::failure) == changed(state::open));
      CHECK(co_await ends(in, verdict::success) == std::nullopt);  // stale
      const auto refused = co_await store->admit(key, options);
      CHECK_FALSE(refused.admitted);
      CHECK_FALSE(refused.changed);
      CHECK(refused.state == state::open);
      CHECK(refused.last.kind == b::error_kind::overloaded);
      CHECK(refused.last.code == "down");
      CHECK(refused.last.message == "it's down");
      REQUIRE(refused.retry_after.has_value());
      CHECK(*refused.retry_after <= 50ms);
      co_await b::sleep_for(60ms);
      const auto first = co_await store->admit(key, options);
      const auto second = co_await store->admit(key, options);
      CHECK(first.admitted);
      CHECK(second.admitted);
      CHECK(first.state == state::half_open);
      CHECK(first.changed);
      CHECK_FALSE(second.changed);
      const auto third = co_await store->admit(key, options);
      CHECK_FALSE(third.admitted);
      CHECK(third.last.message == "it's down");
      // One is cancelled: its place is free.
      CHECK(co_await ends(first, verdict::nothing) == std::nullopt);
      CHECK((co_await store->admit(key, options)).admitted);
      CHECK(co_await ends(first, verdict::success) == std::nullopt);
      CHECK(co_await ends(first, verdict::failure) == changed(state::open));
      co_await b::sleep_for(60ms);
      // Both probes are lost with their program.
      const auto hasty =
          std::make_shared<redis::policy_store>(c, redis::policy_store_options{.probe_limit = 1s});
      CHECK((co_await hasty->admit(key, options)).admitted);
      CHECK((co_await hasty->admit(key, options)).admitted);
      CHECK_FALSE((co_await hasty->admit(key, options)).admitted);
      co_await b::sleep_for(1100ms);
      const auto again = co_await hasty->admit(key, options);
      CHECK(again.admitted);
      CHECK((co_await hasty->admit(key, options)).admitted);
      CHECK(co_await ends(again, verdict::success) == std::nullopt);
      CHECK(co_await ends(again, verdict::success) == changed(state::closed));
    }
  });
}

TEST_CASE("live redis: the breaker in Lua does what the one in memory does, by random histories") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    constexpr std::uint32_t histories = 300;
    for (std::uint32_t seed = 1; seed <= histories; ++seed) {
      std::minstd_rand random(seed);
      const auto below = [&random](std::size_t end) {
        return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
      };
      b::memory_store model;
      const std::string key = "history " + std::to_string(seed);
      const bool slow_counts = below(2) == 0;
      // Open for ever, or for no time that anybody sees: the clocks of both play no part then.
      const b::circuit_breaker_options options{
          .consecutive_failures = 1 + below(4),
          .failure_rate = below(2) == 0 ? 0 : 0.5,
          .slow_call_rate = slow_counts ? 0.75 : 0,
          .slow_call = slow_counts ? b::duration(10ms) : b::duration::max(),
          .window_calls = 4 + below(5),
          .minimum_calls = 1 + below(4),
          .open_for = below(4) == 0 ? b::duration::max() : b::duration(1us),
          .probes = 1 + below(3)};
      struct call {
        b::admission_store::admission real, modelled;
      };
      std::vector<call> out;
      for (int step = 0; step < 40; ++step) {
        CAPTURE(seed);
        CAPTURE(step);
        if (out.empty() || below(2) == 0) {
          call one{.real = co_await store->admit(key, options),
                   .modelled = co_await model.admit(key, options)};
          REQUIRE(one.real.admitted == one.modelled.admitted);
          REQUIRE(one.real.state == one.modelled.state);
          REQUIRE(one.real.changed == one.modelled.changed);
          REQUIRE(one.real.last.message == one.modelled.last.message);
          if (one.real.admitted) out.push_back(std::move(one));
          continue;
        }
        const std::size_t which = below(out.size());
        const call one = out[which];
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(which));
        b::admission_store::call_end end{.verdict = static_cast<b::call_verdict>(below(3)),
                                         .took = below(3) == 0 ? 20ms : 1ms};
        if (end.verdict == b::call_verdict::failure) end.why.message = "at step " + std::to_string(step);
        end.generation = one.real.generation;
        const auto real = co_await store->ended(key, options, end);
        end.generation = one.modelled.generation;
        REQUIRE(real == co_await model.ended(key, options, end));
        co_await b::sleep_for(50us);  // what opens for a moment has been open
      }
    }
  });
}

TEST_CASE("live redis: a clock that is set back locks nothing; a window that gets another size begins anew") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client c, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    co_await b::sleep_for(1100ms);
    const auto ahead = [&](const char* key, const char* field) -> b::task<> {
      const std::string at = (co_await c.send({"HGET", key, field})).to_text();
      co_await c.send({"HSET", key, field, std::to_string(std::stoll(at) + 3'600'000'000)});
    };
    const b::rate_limiter_options one{.permits = 1, .per = 200ms};
    while ((co_await store->take("bucket", one, 1)).has_value()) co_await b::sleep_for(50ms);
    co_await ahead("belay:v1:bucket:bucket", "t");
    CHECK((co_await store->take("bucket", one, 1)).has_value());
    co_await b::sleep_for(250ms);
    CHECK_FALSE((co_await store->take("bucket", one, 1)).has_value());

    const b::circuit_breaker_options quick{.consecutive_failures = 1, .open_for = 100ms};
    const auto in = co_await store->admit("breaker", quick);
    CHECK(co_await store->ended("breaker", quick,
                                {.generation = in.generation, .verdict = b::call_verdict::failure}) ==
          b::breaker_state::open);
    co_await ahead("belay:v1:breaker:breaker", "l");
    co_await ahead("belay:v1:breaker:breaker", "u");
    CHECK_FALSE((co_await store->admit("breaker", quick)).admitted);
    co_await b::sleep_for(150ms);
    CHECK((co_await store->admit("breaker", quick)).admitted);

    b::circuit_breaker_options rated{
        .consecutive_failures = 0, .failure_rate = 0.5, .window_calls = 100, .minimum_calls = 10};
    const auto let_in = co_await store->admit("rated", rated);
    const auto ends = [&](b::call_verdict how, int times) -> b::task<std::optional<b::breaker_state>> {
      std::optional<b::breaker_state> last;
      for (int i = 0; i < times; ++i)
        last = co_await store->ended("rated", rated, {.generation = let_in.generation, .verdict = how});
      co_return last;
    };
    CHECK(co_await ends(b::call_verdict::success, 100) == std::nullopt);
    rated.window_calls = 20;
    CHECK(co_await ends(b::call_verdict::success, 10) == std::nullopt);
    CHECK(co_await ends(b::call_verdict::failure, 9) == std::nullopt);
    CHECK(co_await ends(b::call_verdict::failure, 1) == b::breaker_state::open);

    // More than there can ever be: refused, and nothing is lost of what is known.
    const b::rate_limiter_options window{
        .permits = 2, .per = 100ms, .algorithm = b::rate_algorithm::sliding_window};
    while ((co_await store->take("window", window, 2)).has_value()) co_await b::sleep_for(50ms);
    co_await b::sleep_for(120ms);
    CHECK((co_await store->take("window", window, 3)).has_value());
    CHECK_FALSE((co_await store->take("window", window, 1)).has_value());
  });
}

TEST_CASE("live redis: what is given back late, is given back once") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client c, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    co_await b::sleep_for(1100ms);
    for (const b::rate_algorithm how : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
      const b::rate_limiter_options one{.permits = 1, .per = 200ms, .algorithm = how};
      const char* const key =
          how == b::rate_algorithm::token_bucket ? "belay:v1:bucket:late" : "belay:v1:window:late";
      while ((co_await store->take("late", one, 1)).has_value()) co_await b::sleep_for(50ms);
      const std::string before =
          (co_await c.send({"HGET", key, how == b::rate_algorithm::token_bucket ? "z" : "h"})).to_text();
      co_await b::sleep_for(1400ms);  // also the key has expired
      CHECK_FALSE((co_await store->take("late", one, 1)).has_value());
      // By what an undoing of the first one is told by, it is not the second one.
      CHECK((co_await c.send({"HGET", key, how == b::rate_algorithm::token_bucket ? "z" : "h"})).to_text() !=
            before);
    }
  });
}

TEST_CASE("live redis: who is cancelled after the question was sent gives back what he got") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client c, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    co_await b::sleep_for(
        2100ms);  // a server that has just started counts keys that are not there as used up
    for (const b::rate_algorithm how : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
      const b::rate_limiter_options one{.permits = 1, .per = 1s, .algorithm = how};
      CHECK_FALSE((co_await store->take("warm", one, 1)).has_value());  // the scripts are known
      co_await c.send({"CLIENT", "PAUSE", "300"});
      CHECK_FALSE((co_await b::move_on_after(50ms, store->take("x", one, 1))).has_value());
      co_await c.send({"PING"});
      co_await c.send({"PING"});  // after what undoes it
      CHECK_FALSE((co_await store->take("x", one, 1)).has_value());
      CHECK((co_await store->take("x", one, 1)).has_value());
    }
    CHECK(c.statistics().thrown_away == 4);
  });
}

TEST_CASE("live redis: scripts that were flushed; all keys expire and have the prefix; a password") {
  std::optional<redis_server> server = redis_server::start({"--requirepass", "open sesame"});
  if (!server) return;
  b::loop loop;
  loop.run([](redis::options set) -> b::task<> {
    co_await b::with(redis::connect(set), [](redis::client& c) -> b::task<> {
      CHECK(co_await try_one(b::stored_rate_limiter(std::make_shared<redis::policy_store>(c), {}, strict),
                             good) == "rate_limited");
    });
    set.password.value = "open sesame";
    co_await b::with_timeout(
        30s, b::with(redis::connect(set), [](redis::client& c) -> b::task<> {
          co_await b::sleep_for(2100ms);
          const auto store =
              std::make_shared<redis::policy_store>(c, redis::policy_store_options{.prefix = "shop"});
          const b::rate_limiter_options window{.permits = 5, .algorithm = b::rate_algorithm::sliding_window};
          for (int i = 0; i < 2; ++i) {
            CHECK_FALSE((co_await store->take("a", {.permits = 5}, 1)).has_value());
            CHECK_FALSE((co_await store->take("b", window, 1)).has_value());
            const auto in = co_await store->admit("c", {});
            CHECK(co_await store->ended("c", {},
                                        {.generation = in.generation, .verdict = b::call_verdict::failure}) ==
                  std::nullopt);
            co_await c.send({"SCRIPT", "FLUSH"});
          }
          const redis::reply keys = co_await c.send({"KEYS", "*"});
          CHECK(keys.elements.size() == 3);
          for (const redis::reply& key : keys.elements) {
            CHECK(key.text.starts_with("shop:v1:"));
            CHECK((co_await c.send({"PTTL", key.text})).to_integer() > 0);
          }
        }));
  }(of(*server)));
}

TEST_CASE("live redis: the connection comes back after a restart, and what is not for Redis is told apart") {
  std::optional<redis_server> server = redis_server::start();
  if (!server) return;
  machine(*server, [&](redis::client c, std::shared_ptr<redis::policy_store> store) -> b::task<> {
    CHECK((co_await c.send({"SET", "x", "1"})).to_text() == "OK");
    server->kill();
    co_await b::sleep_for(50ms);
    CHECK((co_await b::as_outcome(c.send({"GET", "x"}))).failure().find<redis::connection_error>() !=
          nullptr);
    server->start_again();
    co_await wait_for_redis(c);
    CHECK((co_await c.send({"GET", "x"})).is_nil());
    // It has forgotten what was taken: nothing is let in before `per` is over.
    CHECK((co_await store->take("r", {.permits = 5, .per = 30s}, 1)).has_value());
    CHECK((co_await b::as_outcome(c.send({"INCR"}))).failure().find<redis::server_error>() != nullptr);
    CHECK((co_await c.send({"INCR", "n"})).to_integer() == 1);
  });
}
