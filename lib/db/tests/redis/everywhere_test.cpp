// SPDX-License-Identifier: Apache-2.0
// The client and the store of policies, cancelled and failed at every await, in many schedules, and the connection cut at every await.

#include "driven.hpp"

#include <belay/db/redis/policy_store.hpp>
#include <belay/resilience/admission_store.hpp>

#include "fake_redis.hpp"

using namespace redis_tests;

namespace {

std::string store_like(const redis::command& words) {
  if (words[0] == "SCRIPT") return "$3\r\nabc\r\n";
  if (words[0] != "EVALSHA") return echo(words);
  const std::string& key = words[3];
  if (key.find("breaker") == std::string::npos) return "*2\r\n:1\r\n$1\r\n0\r\n";
  if (words.size() > 12) return ":0\r\n";
  return "*4\r\n:1\r\n$1\r\n7\r\n:0\r\n$2\r\n-1\r\n";
}

b::task<> commands(t::stage& s, t::network_conditions under) {
  auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = under});
  s.expect("no connection is left", [&net] { return net.nothing_left(); });
  auto& server = s.make<fake_redis>(store_like);
  const io::network_override guard(net);
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> serving =
        g.spawn([&server, &s]() -> b::task<> { co_await s.undisturbed(server.serve()); });
    co_await b::with(redis::connect({}), [&](redis::client& c) -> b::task<> {
      const auto store = std::make_shared<redis::policy_store>(c);
      const b::stored_rate_limiter rate(store, {.name = "r"});
      const b::stored_circuit_breaker breaker(store, {.name = "b"});
      co_await b::with_group([&](b::group& both) -> b::task<> {
        both.spawn([&]() -> b::task<> {
          const redis::reply got = co_await c.send({"ECHO", "one"});
          CHECK(got.text == "one");
        });
        const int got = co_await rate([&]() -> b::task<int> {
          co_return co_await breaker([]() -> b::task<int> {
            co_await b::sleep_for(10ms);
            co_return 5;
          });
        });
        CHECK(got == 5);
      });
    });
    serving.cancel();
  });
}

}  // namespace

TEST_CASE("everywhere: a client of Redis and the policies on it") {
  core_tests::drive(
      "redis", [](t::stage& s) -> b::task<> { co_await commands(s, {.delay = 5ms}); },
      core_tests::lost::to_the_sink);
}

TEST_CASE(
    "everywhere: the connection to Redis is cut at every await: an error or a value, and nothing left") {
  const t::report found = t::disturb_everywhere(
      [](t::stage& s) -> b::task<> {
        auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = {.delay = 5ms}});
        s.expect("no connection is left", [&net] { return net.nothing_left(); });
        s.disturbance([&net] { net.cut_all(); });
        auto& server = s.make<fake_redis>(echo);
        const io::network_override guard(net);
        co_await b::with_group([&](b::group& g) -> b::task<> {
          b::child<void> serving = g.spawn(&fake_redis::serve, &server);
          co_await b::with(redis::connect({}), [&](redis::client& c) -> b::task<> {
            for (int i = 0; i < 3; ++i) {
              const std::string got = co_await ask(c, {"ECHO", "x"});
              CHECK((got == "x" || got == "redis_lost" || got == "redis_away"));
              co_await b::sleep_for(1s);
            }
            s.disturbance({});
            co_await b::sleep_for(1s);
            CHECK(co_await ask(c, {"ECHO", "there again"}) == "there again");
          });
          serving.cancel();
        });
      },
      {.name = "redis cut"});
  CHECK_MESSAGE(found.ok(), found.text());
}
