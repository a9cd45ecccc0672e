// SPDX-License-Identifier: Apache-2.0
// Messages, pipelines and transactions with a real Redis, which is killed and started again while somebody listens.

#include <doctest/doctest.h>

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/stream.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/db/redis/subscribe.hpp>
#include <string>
#include <vector>

#include "redis_server.hpp"

namespace b = belay;
namespace redis = belay::db::redis;
using namespace std::chrono_literals;
using redis_tests::redis_server;

namespace {

redis::options of(const redis_server& server) {
  // By name: "localhost" as one that is looked up.
  redis::options set{.host = "localhost", .reconnect = b::backoff::constant(20ms, b::jitter::none)};
  set.at.port = server.port();
  return set;
}

struct heard {
  std::vector<std::string> all;
  b::event changed;

  b::task<> until(std::string what) {
    while (all.empty() || all.back() != what) {
      changed.reset();
      co_await changed.wait();
    }
  }
};

b::task<> hear_all(redis::options set, redis::subscription what, heard& into) {
  co_await b::with(redis::subscribe(set, what), [&](b::open_stream<redis::notice>& from) -> b::task<> {
    while (const redis::notice* one = co_await from.next()) {
      into.all.push_back(one->type == redis::notice_type::subscribed ? "subscribed"
                         : one->type == redis::notice_type::lost     ? "lost"
                                                                     : one->channel + ": " + one->text);
      into.changed.set();
    }
  });
}

}  // namespace

TEST_CASE("redis live: messages of channels and patterns; the server is killed and started again") {
  auto server = redis_server::start();
  if (!server) return;
  b::loop loop;
  loop.run(b::with_timeout(40s, [](redis_server& server) -> b::task<> {
    co_await b::with(redis::connect(of(server)), [&](redis::client& c) -> b::task<> {
      heard got;
      co_await b::with_group([&](b::group& g) -> b::task<> {
        b::child<void> listening = g.spawn(
            hear_all, of(server),
            redis::subscription{.channels = {"a"}, .patterns = {"n*"}, .ping_after = 50ms}, std::ref(got));
        co_await got.until("subscribed");
        co_await b::sleep_for(200ms);  // it is asked whether it is there, some times
        co_await c.send({"PUBLISH", "a", "one"});
        co_await got.until("a: one");
        co_await c.send({"PUBLISH", "news", "two"});
        co_await got.until("news: two");
        server.kill();
        co_await got.until("lost");
        server.start_again();
        co_await got.until("subscribed");
        while ((co_await b::as_outcome(c.send({"PUBLISH", "a", "three"}))).failure())
          co_await b::sleep_for(10ms);
        co_await got.until("a: three");
        listening.cancel();
      });
      CHECK(got.all ==
            std::vector<std::string>{"subscribed", "a: one", "news: two", "lost", "subscribed", "a: three"});
    });
  }(*server)));
}

TEST_CASE("redis live: a pipeline and a transaction, with commands that are refused") {
  auto server = redis_server::start();
  if (!server) return;
  b::loop loop;
  loop.run(b::with_timeout(40s, [](redis_server& server) -> b::task<> {
    co_await b::with(redis::connect(of(server)), [&](redis::client& c) -> b::task<> {
      const auto got = co_await c.pipeline({{"SET", "k", "text"}, {"INCR", "k"}, {"GET", "k"}});
      REQUIRE(got.size() == 3);
      CHECK(got[1].type == redis::reply_type::error);
      CHECK(got[2].to_text() == "text");
      const auto done = co_await c.transact({{"SET", "n", "1"}, {"INCR", "n"}, {"INCR", "k"}});
      REQUIRE(done.size() == 3);
      CHECK(done[1].to_integer() == 2);
      CHECK(done[2].type == redis::reply_type::error);
      const auto how = co_await b::as_outcome(c.transact({{"SET", "n", "9"}, {"NOSUCH", "x"}}));
      const b::failure why = how.failure();
      const auto* e = why.find<redis::server_error>();
      REQUIRE(e != nullptr);
      CHECK(e->prefix() == "ERR");
      CHECK((co_await c.send({"GET", "n"})).to_text() == "2");
    });
  }(*server)));
}
