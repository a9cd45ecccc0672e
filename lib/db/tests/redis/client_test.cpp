// SPDX-License-Identifier: Apache-2.0
// The client against servers that are slow, hang up, fall silent, or talk nonsense.

#include <doctest/doctest.h>

#include <belay/core/all.hpp>
#include <belay/core/timeout.hpp>

#include "fake_redis.hpp"

using namespace redis_tests;

namespace {

template <class Use>
void run(fake_redis& server, Use use, redis::options set = {}, t::network_conditions under = {}) {
  redis_tests::run(server, std::move(set), under, std::move(use));
}

}  // namespace

TEST_CASE("redis::client: commands of many tasks share a connection; each gets its own reply") {
  for (const t::network_conditions& under :
       {t::network_conditions{},
        t::network_conditions{
            .delay = 1ms, .jitter = 1ms, .read_at_most = 3, .write_at_most = 5, .random_sizes = true}}) {
    fake_redis server(echo);
    run(
        server,
        [](redis::client c) -> b::task<> {
          co_await b::with_group([&](b::group& g) -> b::task<> {
            for (int i = 0; i < 50; ++i) {
              g.spawn([c, i]() -> b::task<> {
                const std::string mine = "text " + std::to_string(i);
                CHECK(co_await ask(c, {"ECHO", mine}) == mine);
              });
            }
            co_return;
          });
          CHECK(c.statistics().connections == 1);
          CHECK(c.statistics().pending == 0);
        },
        {}, under);
    CHECK(server.accepted == 1);
  }
}

TEST_CASE("redis::client: the handshake; the password stays out of every message") {
  fake_redis server([](const redis::command&) { return std::string("+OK\r\n"); });
  redis::options set = redis::options::from_url("redis://worker:s%65cret@127.0.0.1/3");
  run(server, [](redis::client c) -> b::task<> { CHECK(co_await ask(c, {"GET", "x"}) == "OK"); }, set);
  CHECK(server.seen[0] == redis::command{"AUTH", "worker", "secret"});
  CHECK(server.seen[1] == redis::command{"SELECT", "3"});
  CHECK(server.seen[2] == redis::command{"PING"});

  fake_redis strange(
      [](const redis::command& words) { return "-ERR unknown command, with args " + words.back() + "\r\n"; });
  strange.all = true;
  run(
      strange,
      [](redis::client c) -> b::task<> {
        b::outcome<redis::reply> how = co_await b::as_outcome(c.send({"GET", "x"}));
        const b::failure why = how.failure();
        REQUIRE(why.find<redis::connection_error>() != nullptr);
        CHECK(why.find<redis::connection_error>()->code() == "redis_away");
        CHECK(why.message().find("ERR") != std::string::npos);
        CHECK(b::describe(why).find("secret") == std::string::npos);
        CHECK(c.describe() == "redis 127.0.0.1:6379/3 as 'worker'");
      },
      set);
}

TEST_CASE("redis::client: what the server refuses has its kind, and hurts nobody else") {
  struct row {
    const char* text;
    b::error_kind kind;
    const char* code;
  };
  const std::array rows{row{"ERR wrong number", b::error_kind::invalid, "redis_err"},
                        row{"NOSCRIPT no", b::error_kind::not_found, "redis_noscript"},
                        row{"LOADING wait", b::error_kind::unavailable, "redis_loading"},
                        row{"READONLY no", b::error_kind::unavailable, "redis_readonly"},
                        row{"OOM full", b::error_kind::overloaded, "redis_oom"},
                        row{"WRONGTYPE no", b::error_kind::invalid, "redis_wrongtype"},
                        row{"NOPERM no", b::error_kind::denied, "redis_noperm"},
                        row{"something else", b::error_kind::invalid, "redis_err"},
                        row{"STRANGE thing", b::error_kind::internal, "redis_strange"}};
  for (const row& one : rows) {
    CAPTURE(one.text);
    fake_redis server([&](const redis::command& words) {
      return words[0] == "GET" ? "-" + std::string(one.text) + "\r\n" : echo(words);
    });
    run(server, [&](redis::client c) -> b::task<> {
      b::outcome<redis::reply> how = co_await b::as_outcome(c.send({"GET", "x"}));
      const b::failure why = how.failure();
      const auto* refused = why.find<redis::server_error>();
      REQUIRE(refused != nullptr);
      CHECK(refused->kind() == one.kind);
      CHECK(refused->code() == one.code);
      CHECK(why.message() == "Redis at 127.0.0.1:6379 answered GET with: " + std::string(one.text));
      CHECK(co_await ask(c, {"ECHO", "still"}) == "still");
    });
    CHECK(server.accepted == 1);
  }
}

TEST_CASE(
    "redis::client: garbage, a reply too many, a reply too large: the connection is dropped, and made anew") {
  struct row {
    std::string out;
    const char* code;
  };
  const std::array rows{
      row{"HTTP/1.1 400 Bad Request\r\n\r\n", "redis_protocol"},
      row{"$-7\r\n", "redis_protocol"},
      row{"*99999999999\r\n", "redis_protocol"},
      row{"*2147483647\r\n$100000000\r\n" + std::string(3000, 'x'), "redis_reply_too_large"},
      row{"$100000\r\n" + std::string(100000, 'x') + "\r\n", "redis_reply_too_large"},
      row{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "redis_protocol"}};
  for (const row& one : rows) {
    CAPTURE(one.out.substr(0, 30));
    fake_redis server([&](const redis::command& words) { return words[0] == "GET" ? one.out : echo(words); });
    run(server,
        [&](redis::client c) -> b::task<> {
          CHECK(co_await ask(c, {"ECHO", "good"}) == "good");
          co_await b::sleep_for(2s);
          CHECK(co_await ask(c, {"GET", "x"}) == one.code);
          CHECK(co_await ask(c, {"ECHO", "again"}) == "again");
          CHECK(c.statistics().connections == 2);
        },
        {.largest_reply = 2000});
  }
  fake_redis generous([](const redis::command& words) { return echo(words) + "+extra\r\n"; });
  run(generous, [](redis::client c) -> b::task<> {
    CHECK(co_await ask(c, {"ECHO", "one"}) == "one");
    co_await b::sleep_for(1ms);
    CHECK(c.statistics().failures == 1);
  });
}

TEST_CASE(
    "redis::client: hung up in the middle of a reply: that command is lost, the next goes over a new connection") {
  fake_redis server([](const redis::command& words) {
    return words[0] == "GET" ? std::string("$10\r\nhalfclose") : echo(words);
  });
  run(server, [](redis::client c) -> b::task<> {
    CHECK(co_await ask(c, {"ECHO", "x"}) == "x");
    co_await b::sleep_for(2s);
    CHECK(co_await ask(c, {"GET", "x"}) == "redis_lost");
    CHECK(co_await ask(c, {"ECHO", "y"}) == "y");
  });
  CHECK(server.accepted == 2);
}

TEST_CASE(
    "redis::client: nobody there: an error at once after the first attempt; tried again with growing delays") {
  t::test_loop loop;
  t::fake_network net;
  const io::network_override guard(net);
  fake_redis server(echo);
  loop.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      redis::options set;
      set.reconnect = b::backoff::exponential(100ms, 1s, 2, b::jitter::none);
      co_await b::with(redis::connect(set), [&](redis::client& c) -> b::task<> {
        CHECK(co_await ask(c, {"GET", "x"}) == "redis_away");
        const b::time_point start = b::now();
        CHECK(co_await ask(c, {"GET", "x"}) == "redis_away");
        CHECK(b::now() == start);
        co_await b::sleep_for(650ms);
        CHECK(c.statistics().failures == 3);  // at 0, 100, 300; the next at 700
        b::child<void> serving = g.spawn(&fake_redis::serve, &server);
        co_await b::sleep_for(100ms);
        CHECK(co_await ask(c, {"ECHO", "x"}) == "x");
        CHECK(b::now() - start == 750ms);
        serving.cancel();
      });
    });
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "redis::client: a silent server: one command is bounded by its own limit, the connection by reply_limit") {
  bool silent = false;
  fake_redis server([&](const redis::command& words) -> std::string {
    if (words[0] == "PING") {
      silent = false;
      return "+PONG\r\n";
    }
    if (words[0] == "GET") silent = true;
    return silent ? "quiet" : echo(words);
  });
  server.all = true;
  run(server, [](redis::client c) -> b::task<> {
    CHECK(co_await ask(c, {"ECHO", "x"}) == "x");
    co_await b::sleep_for(2s);
    const b::time_point start = b::now();
    CHECK_FALSE((co_await b::move_on_after(1s, ask(c, {"GET", "x"}))).has_value());
    CHECK(c.statistics().connected);
    // Replies come in order: without that of the one given up there is none for those behind it.
    CHECK(co_await ask(c, {"ECHO", "behind it"}) == "redis_silent");
    CHECK(b::now() - start == 5s);
    CHECK(co_await ask(c, {"ECHO", "again"}) == "again");
  });
}

TEST_CASE("redis::client: without any answer the connection goes after reply_limit, with all who wait") {
  fake_redis server([](const redis::command&) { return std::string("quiet"); });
  run(server, [](redis::client c) -> b::task<> {
    const b::time_point start = b::now();
    auto [one, two] = co_await b::all(ask(c, {"GET", "x"}), ask(c, {"GET", "y"}));
    CHECK(one == "redis_silent");
    CHECK(two == "redis_silent");
    CHECK(b::now() - start == 5s);
  });
}

TEST_CASE("redis::client: cancelled before it is written: never sent; after that: its reply is thrown away") {
  fake_redis server(echo);
  server.delay = 100ms;
  run(server, [&](redis::client c) -> b::task<> {
    CHECK_FALSE((co_await b::move_on_after(0s, ask(c, {"ECHO", "never"}))).has_value());
    CHECK(co_await ask(c, {"ECHO", "first"}) == "first");
    CHECK_FALSE((co_await b::move_on_after(50ms, ask(c, {"ECHO", "given up"}))).has_value());
    CHECK(c.statistics().pending == 1);
    CHECK(co_await ask(c, {"ECHO", "mine"}) == "mine");
    CHECK(c.statistics().thrown_away == 1);
    CHECK(c.statistics().pending == 0);
    for (const auto& words : server.seen) CHECK(words.back() != "never");
  });
  CHECK(server.accepted == 1);
}

TEST_CASE("redis::client: what a cancelled command did can be undone when its reply comes") {
  fake_redis server(echo);
  server.delay = 100ms;
  run(server, [&](redis::client c) -> b::task<> {
    CHECK(co_await ask(c, {"ECHO", "first"}) == "first");
    const auto take = [&]() -> b::task<> {
      static_cast<void>(co_await c.send_or_undo(
          {"TAKE", "7"}, [](const redis::reply& got) { return redis::command{"GIVE", got.text}; }));
    };
    CHECK_FALSE((co_await b::move_on_after(50ms, take())).has_value());
    co_await b::sleep_for(500ms);
    CHECK(server.seen.back() == redis::command{"GIVE", "7"});
    CHECK(c.statistics().thrown_away == 2);
  });
}

TEST_CASE("redis::client: scripts by their number; sent whole when Redis has forgotten them") {
  bool known = true;
  fake_redis server([&](const redis::command& words) -> std::string {
    if (words[0] == "SCRIPT") return "$3\r\nabc\r\n";
    if (words[0] == "EVALSHA") return known ? ":1\r\n" : "-NOSCRIPT No matching script.\r\n";
    return ":2\r\n";
  });
  run(server, [&](redis::client c) -> b::task<> {
    redis::script code("return 1");
    CHECK((co_await c.run(code, {"k"}, {"a"})).to_integer() == 1);
    CHECK((co_await c.run(code, {"k"}, {"a"})).to_integer() == 1);
    known = false;
    CHECK((co_await c.run(code, {"k"}, {"a"})).to_integer() == 2);
  });
  CHECK(server.seen.size() == 6);  // PING, SCRIPT, EVALSHA, EVALSHA, EVALSHA, EVAL
  CHECK(server.seen.back() == redis::command{"EVAL", "return 1", "1", "k", "a"});
}

TEST_CASE("redis::client: too many commands, commands that cannot be shared, use after its end") {
  fake_redis server([](const redis::command&) { return std::string("quiet"); });
  std::optional<redis::client> kept;
  run(server,
      [&](redis::client c) -> b::task<> {
        kept = c;
        CHECK_THROWS_AS(co_await c.send({}), b::misuse_error);
        CHECK_THROWS_AS(co_await c.send({"subscribe", "x"}), b::misuse_error);
        CHECK_THROWS_AS(co_await c.send({"MULTI"}), b::misuse_error);
        CHECK_THROWS_AS(co_await c.send({"client", "reply", "skip"}), b::misuse_error);
        CHECK_THROWS_AS(co_await c.send({"SCRIPT", "DEBUG", "YES"}), b::misuse_error);
        CHECK_THROWS_AS(co_await c.send({"XREAD", "COUNT", "1", "block", "0", "STREAMS", "a", "$"}),
                        b::misuse_error);
        co_await b::with_group([&](b::group& g) -> b::task<> {
          g.spawn(ask, c, redis::command{"GET", "x"});
          g.spawn(ask, c, redis::command{"GET", "y"});
          co_await b::sleep_for(1ms);
          CHECK(co_await ask(c, {"GET", "z"}) == "redis_queue_full");
          g.cancel();
        });
      },
      {.most_pending = 2});
  t::test_loop loop;
  loop.run([&]() -> b::task<> { CHECK(co_await ask(*kept, {"GET", "x"}) == "closed"); }());
}
