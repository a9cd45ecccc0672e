// SPDX-License-Identifier: Apache-2.0
// Listening: messages, outages with a notice where some may be missing, servers that fall silent or refuse.

#include <doctest/doctest.h>

#include <belay/core/stream.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/redis/subscribe.hpp>
#include <belay/testing/everywhere.hpp>

#include "fake_redis.hpp"

using namespace redis_tests;
using redis::notice;
using redis::notice_type;

namespace {

std::string bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}
std::string message(const std::string& channel, const std::string& text) {
  return "*3\r\n" + bulk("message") + bulk(channel) + bulk(text);
}
const std::string pong = "*2\r\n" + bulk("pong") + bulk("");

// Confirms what is asked for, and then does what it is told for each connection: the messages, "close", or nothing.
struct publisher {
  std::vector<std::string> for_each;
  std::vector<std::string> to_ping{};  // empty: it always answers
  std::size_t connection = 0;
  bool listening = false;
  std::size_t pings = 0;

  std::string operator()(const redis::command& words) {
    if (words[0] == "PING") {
      if (!listening) return "+PONG\r\n";
      return pings < to_ping.size() ? to_ping[pings++] : pong;
    }
    if (words[0] == "AUTH") return "-WRONGPASS nobody knows hunter2\r\n";
    std::string out;
    const std::string kind = words[0] == "SUBSCRIBE" ? "subscribe" : "psubscribe";
    for (std::size_t i = 1; i < words.size(); ++i) {
      out += "*3\r\n" + bulk(kind) + bulk(words[i]) + ":" + std::to_string(i) + "\r\n";
    }
    listening = true;
    if (connection < for_each.size()) out += for_each[connection];
    ++connection;
    if (out.ends_with("close")) listening = false;
    return out;
  }
};

// "subscribed", "lost", "channel: text".
std::string words_of(const notice& one) {
  if (one.type == notice_type::subscribed) return "subscribed";
  if (one.type == notice_type::lost) return "lost";
  return (one.pattern.empty() ? "" : one.pattern + " ") + one.channel + ": " + one.text;
}

b::task<std::vector<std::string>> first(std::size_t count, redis::subscription what, redis::options set) {
  std::vector<std::string> got;
  co_await b::with(redis::subscribe(std::move(set), std::move(what)),
                   [&](b::open_stream<notice>& all) -> b::task<> {
                     while (got.size() < count) {
                       const notice* one = co_await all.next();
                       REQUIRE(one != nullptr);
                       got.push_back(words_of(*one));
                     }
                   });
  co_return got;
}

template <class Use>
void listen(fake_redis& server, Use use, t::network_conditions under = {}) {
  server.all = true;
  t::test_loop loop;
  t::fake_network net({.conditions = under});
  const io::network_override guard(net);
  loop.run([](fake_redis& server, Use& use, t::test_loop& loop) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> serving = g.spawn(&fake_redis::serve, &server);
      co_await b::yield();
      co_await b::or_fail(use(loop));
      serving.cancel();
    });
  }(server, use, loop));
  CHECK_MESSAGE(net.nothing_left(), net.describe());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("redis::subscribe: messages of channels and patterns, in order, after it is subscribed") {
  for (const t::network_conditions& under :
       {t::network_conditions{}, t::network_conditions{.delay = 1ms, .read_at_most = 3}}) {
    fake_redis server(publisher{{message("a", "one") + message("b", "two"),
                                 "*4\r\n" + bulk("pmessage") + bulk("n*") + bulk("news") + bulk("three")}});
    listen(
        server,
        [](t::test_loop&) -> b::task<> {
          // The message comes before the patterns are confirmed.
          const auto got = co_await first(4, {.channels = {"a", "b"}, .patterns = {"n*"}}, {});
          CHECK(got == std::vector<std::string>{"subscribed", "a: one", "b: two", "n* news: three"});
        },
        under);
    REQUIRE(server.seen.size() == 3);
    CHECK(server.seen[1] == redis::command{"SUBSCRIBE", "a", "b"});
    CHECK(server.seen[2] == redis::command{"PSUBSCRIBE", "n*"});
  }
}

TEST_CASE("redis::subscribe: a lost connection is told once, and made anew with what was subscribed") {
  fake_redis server(publisher{{message("a", "one") + "close", "close", message("a", "two")}});
  listen(server, [](t::test_loop&) -> b::task<> {
    const auto got = co_await first(7, {.channels = {"a"}}, {});
    CHECK(got == std::vector<std::string>{"subscribed", "a: one", "lost", "subscribed", "lost", "subscribed",
                                          "a: two"});
  });
}

TEST_CASE("redis::subscribe: Redis is away for long, one notice for the outage, then it goes on") {
  fake_redis server(publisher{{message("a", "one")}});
  server.all = true;
  t::test_loop loop;
  t::fake_network net({});
  const io::network_override guard(net);
  loop.run([](fake_redis& server, t::test_loop& loop) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<std::vector<std::string>> got =
          g.spawn(first, std::size_t{3}, redis::subscription{.channels = {"a"}}, redis::options{});
      co_await b::sleep_for(1min);
      b::child<void> serving = g.spawn(&fake_redis::serve, &server);
      CHECK(co_await got == std::vector<std::string>{"lost", "subscribed", "a: one"});
      CHECK(loop.elapsed() < 70s);
      serving.cancel();
    });
  }(server, loop));
  CHECK(loop.lost_errors() == std::vector<std::string>{});
}

TEST_CASE(
    "redis::subscribe: a quiet connection is asked whether it is there; one that falls silent is dropped") {
  fake_redis server(publisher{{}, {pong, pong, "quiet"}});
  listen(server, [](t::test_loop& loop) -> b::task<> {
    const auto got = co_await first(3, {.channels = {"a"}, .ping_after = 10s}, {.reply_limit = 2s});
    CHECK(got == std::vector<std::string>{"subscribed", "lost", "subscribed"});
    CHECK(loop.elapsed() >= 32s);
    CHECK(loop.elapsed() < 33s);
  });
}

TEST_CASE("redis::subscribe: a wrong password and a wrong use are errors, not outages") {
  fake_redis server(publisher{});
  listen(server, [](t::test_loop&) -> b::task<> {
    const auto how = co_await b::as_outcome(first(1, {.channels = {"a"}}, {.password = {"hunter2"}}));
    const b::failure why = how.failure();
    const auto* e = why.find<redis::server_error>();
    REQUIRE(e != nullptr);
    CHECK(e->prefix() == "WRONGPASS");
    CHECK(why.message().find("hunter2") == std::string::npos);
    const auto nothing = co_await b::as_outcome(first(1, {}, {}));
    CHECK(nothing.failure().find<b::misuse_error>() != nullptr);
    const auto never = co_await b::as_outcome(first(1, {.channels = {"a"}, .ping_after = 0s}, {}));
    CHECK(never.failure().find<b::misuse_error>() != nullptr);
  });
}

TEST_CASE("redis::subscribe: cancelled while it waits, leaves no connection") {
  fake_redis server(publisher{});
  listen(server, [](t::test_loop& loop) -> b::task<> {
    CHECK_FALSE(co_await b::move_on_after(1s, first(2, {.channels = {"a"}}, {})));
    CHECK(loop.elapsed() == 1s);
  });
}

TEST_CASE("everywhere: listening to Redis") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = {.delay = 5ms}});
        s.expect("no connection is left", [&net] { return net.nothing_left(); });
        auto& server = s.make<fake_redis>(publisher{{message("a", "one") + "close", message("a", "two")}});
        server.all = true;
        const io::network_override guard(net);
        co_await b::with_group([&](b::group& g) -> b::task<> {
          b::child<void> serving =
              g.spawn([&server, &s]() -> b::task<> { co_await s.undisturbed(server.serve()); });
          const auto got = co_await first(3, {.channels = {"a"}}, {});
          CHECK(got.size() == 3);
          serving.cancel();
        });
      },
      {.name = "redis subscribe", .allow_lost_errors = true});
  CHECK_MESSAGE(found.ok(), found.text());
}
