// SPDX-License-Identifier: Apache-2.0
// Several commands at once, transactions, and how many bytes may wait.

#include <doctest/doctest.h>

#include <belay/core/timeout.hpp>
#include <belay/errors/classify.hpp>
#include <belay/testing/everywhere.hpp>

#include "fake_redis.hpp"

using namespace redis_tests;

namespace {

// A server with MULTI: "BAD" is refused when it is queued, "WRONG" fails when it is run.
class with_multi {
 public:
  std::string operator()(const redis::command& words) {
    if (words[0] == "MULTI") {
      queued_ = std::vector<redis::command>();
      refused_ = false;
      return "+OK\r\n";
    }
    if (words[0] == "EXEC") {
      const auto all = std::move(*queued_);
      queued_.reset();
      if (refused_) return "-EXECABORT Transaction discarded because of previous errors.\r\n";
      std::string out = "*" + std::to_string(all.size()) + "\r\n";
      for (const auto& one : all) out += run(one);
      return out;
    }
    if (words[0] == "BAD") {
      refused_ = true;
      return "-ERR unknown command 'BAD'\r\n";
    }
    if (!queued_) return run(words);
    queued_->push_back(words);
    return "+QUEUED\r\n";
  }

 private:
  static std::string run(const redis::command& words) {
    return words[0] == "WRONG" ? "-WRONGTYPE not a number\r\n" : echo(words);
  }
  std::optional<std::vector<redis::command>> queued_;
  bool refused_ = false;
};

template <class Use>
void run(fake_redis& server, Use use, redis::options set = {}, t::network_conditions under = {}) {
  redis_tests::run(server, std::move(set), under, std::move(use));
}

std::string code_of(const b::failure& why) {
  const auto* known = why.find<b::error>();
  return known != nullptr ? std::string(known->code()) : why.message();
}

}  // namespace

TEST_CASE("redis::client: a pipeline gives a reply for each command, refusals among them, in one go") {
  for (const t::network_conditions& under :
       {t::network_conditions{.delay = 5ms}, t::network_conditions{.read_at_most = 3, .write_at_most = 5}}) {
    fake_redis server(with_multi{});
    run(
        server,
        [](redis::client c) -> b::task<> {
          const auto got = co_await c.pipeline({{"ECHO", "a"}, {"WRONG"}, {"ECHO", "c"}});
          REQUIRE(got.size() == 3);
          CHECK(got[0].to_text() == "a");
          CHECK(got[1].type == redis::reply_type::error);
          CHECK(got[1].text == "WRONGTYPE not a number");
          CHECK(got[2].to_text() == "c");
          CHECK((co_await c.pipeline({})).empty());
          const auto one = co_await c.pipeline({{"ECHO", "z"}});
          REQUIRE(one.size() == 1);
          CHECK(one[0].to_text() == "z");
          const auto refused = co_await c.pipeline({{"WRONG"}});
          REQUIRE(refused.size() == 1);
          CHECK(refused[0].type == redis::reply_type::error);
          CHECK(refused[0].text == "WRONGTYPE not a number");
          const auto how = co_await b::as_outcome(c.pipeline({{"ECHO", "a"}, {"SUBSCRIBE", "x"}}));
          CHECK(how.failure().find<b::misuse_error>() != nullptr);
          CHECK(c.statistics().pending == 0);
        },
        {}, under);
  }
}

TEST_CASE(
    "redis::client: a pipeline that is cancelled after it was sent, its replies are thrown away, others go on") {
  fake_redis server(echo);
  run(server,
      [](redis::client c) -> b::task<> {
        CHECK(co_await ask(c, {"ECHO", "there"}) == "there");
        CHECK_FALSE(co_await b::move_on_after(6ms, c.pipeline({{"ECHO", "a"}, {"ECHO", "b"}})));
        CHECK(c.statistics().pending == 1);
        CHECK(co_await ask(c, {"ECHO", "next"}) == "next");
        CHECK(c.statistics().pending == 0);
        CHECK(c.statistics().connections == 1);
      },
      {}, {.delay = 5ms});
}

TEST_CASE("redis::client: a pipeline whose connection is lost between two replies, may have been done") {
  fake_redis server([n = 0](const redis::command& words) mutable {
    return ++n == 2 ? echo(words) + "close" : echo(words);
  });
  run(server, [](redis::client c) -> b::task<> {
    const auto how = co_await b::as_outcome(c.pipeline({{"ECHO", "a"}, {"ECHO", "b"}, {"ECHO", "c"}}));
    const b::failure why = how.failure();
    CHECK(code_of(why) == "redis_lost");
    CHECK(why.message().find("a pipeline of 3 to Redis at 127.0.0.1:6379") != std::string::npos);
    CHECK(why.message().find("some of them may have been done") != std::string::npos);
    co_await b::sleep_for(1s);
    CHECK(co_await ask(c, {"ECHO", "again"}) == "again");
  });
}

TEST_CASE(
    "redis::client: a transaction gives the replies of EXEC; one refused beforehand is its error, and nothing is done") {
  fake_redis server(with_multi{});
  run(server, [](redis::client c) -> b::task<> {
    const auto got = co_await c.transact({{"ECHO", "a"}, {"WRONG"}, {"ECHO", "c"}});
    REQUIRE(got.size() == 3);
    CHECK(got[0].to_text() == "a");
    CHECK(got[1].type == redis::reply_type::error);
    CHECK(got[2].to_text() == "c");
    const auto how = co_await b::as_outcome(c.transact({{"ECHO", "a"}, {"BAD", "secret"}}));
    const b::failure why = how.failure();
    const auto* e = why.find<redis::server_error>();
    REQUIRE(e != nullptr);
    CHECK(e->prefix() == "ERR");
    CHECK(why.message().find("unknown command 'BAD'") != std::string::npos);
    CHECK((co_await c.transact({})).empty());
    CHECK(co_await ask(c, {"ECHO", "after"}) == "after");
  });
}

TEST_CASE("redis::client: a transaction whose MULTI was refused says that its commands were run one by one") {
  fake_redis server([](const redis::command& words) -> std::string {
    if (words[0] == "MULTI") return "-NOPERM this user has no permissions to run the 'multi' command\r\n";
    if (words[0] == "EXEC") return "-ERR EXEC without MULTI\r\n";
    return echo(words);
  });
  run(server, [](redis::client c) -> b::task<> {
    const auto how = co_await b::as_outcome(c.transact({{"ECHO", "a"}, {"ECHO", "b"}}));
    const b::failure why = how.failure();
    const auto* e = why.find<redis::server_error>();
    REQUIRE(e != nullptr);
    CHECK(e->prefix() == "NOPERM");
    CHECK(why.message().find("answered MULTI with: NOPERM") != std::string::npos);
    CHECK(why.message().find("one by one, not as a transaction") != std::string::npos);
    CHECK_FALSE(b::is_retryable(why));
  });
}

TEST_CASE("redis::server_error: arguments that Redis quotes are left out") {
  const redis::server_error unknown(
      "ERR unknown command 'GTE', with args beginning with: 'session:4711' 'secret' ", "r:6379", "GTE");
  CHECK(std::string_view(unknown.what()) == "Redis at r:6379 answered GTE with: ERR unknown command 'GTE'");
}

TEST_CASE("redis::client: what is not EXEC's answer is a protocol error") {
  fake_redis server([](const redis::command& words) { return words[0] == "EXEC" ? "$-1\r\n" : "+OK\r\n"; });
  run(server, [](redis::client c) -> b::task<> {
    const auto how = co_await b::as_outcome(c.transact({{"ECHO", "a"}}));
    CHECK(code_of(how.failure()) == "redis_protocol");
  });
}

TEST_CASE(
    "redis::client: more bytes than may wait are refused, until the others have been sent or given up") {
  fake_redis server(echo);
  run(server,
      [](redis::client c) -> b::task<> {
        const std::string large(1500, 'x');
        co_await b::with_group([&](b::group& g) -> b::task<> {
          // Not connected yet: they wait.
          g.spawn([&]() -> b::task<> { CHECK(co_await ask(c, {"ECHO", large}) == large); });
          b::child<void> leaves =
              g.spawn([&]() -> b::task<> { static_cast<void>(co_await ask(c, {"ECHO", "x"})); });
          co_await b::yield();
          CHECK(co_await ask(c, {"ECHO", std::string(600, 'y')}) == "redis_queue_full");
          leaves.cancel();
        });
        // One alone may be larger.
        const std::string larger(3000, 'z');
        CHECK(co_await ask(c, {"ECHO", larger}) == larger);
        CHECK(c.statistics().pending == 0);
      },
      {.most_pending_bytes = 2048}, {.delay = 5ms});
}

TEST_CASE("everywhere: a pipeline and a transaction") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = {.delay = 5ms}});
        s.expect("no connection is left", [&net] { return net.nothing_left(); });
        auto& server = s.make<fake_redis>(with_multi{});
        const io::network_override guard(net);
        co_await b::with_group([&](b::group& g) -> b::task<> {
          b::child<void> serving =
              g.spawn([&server, &s]() -> b::task<> { co_await s.undisturbed(server.serve()); });
          co_await b::with(redis::connect({}), [&](redis::client& c) -> b::task<> {
            const auto some = co_await c.pipeline({{"ECHO", "a"}, {"ECHO", "b"}});
            CHECK(some.size() == 2);
            const auto all = co_await c.transact({{"ECHO", "a"}});
            CHECK(all.size() == 1);
          });
          serving.cancel();
        });
      },
      {.name = "redis pipeline", .allow_lost_errors = true});
  CHECK_MESSAGE(found.ok(), found.text());
}
