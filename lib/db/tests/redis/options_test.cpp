// SPDX-License-Identifier: Apache-2.0
// URLs and options of Redis.

#include <belay/core/loop.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

namespace b = belay;
namespace redis = belay::db::redis;
using namespace std::chrono_literals;

TEST_CASE("redis::options: what a URL says") {
  const auto plain = redis::options::from_url("redis://localhost");
  CHECK(plain.at.to_string() == "127.0.0.1:6379");
  CHECK(plain.database == 0);
  CHECK(plain.password.value.empty());
  const auto full = redis::options::from_url("redis://me:p%40%3a@[::1]:7000/12");
  CHECK(full.at.to_string() == "[::1]:7000");
  CHECK(full.user == "me");
  CHECK(full.password.value == "p@:");
  CHECK(full.database == 12);
  CHECK(full.describe() == "redis [::1]:7000/12 as 'me'");
  CHECK(redis::options::from_url("redis://:pw@127.0.0.1/").password.value == "pw");
}

TEST_CASE("redis::options: a name of a host") {
  const auto named = redis::options::from_url("redis://:pw@cache-1.example:7000/3");
  CHECK(named.host == "cache-1.example");
  CHECK(named.at.port == 7000);
  CHECK(named.server() == "cache-1.example:7000");
  CHECK(named.database == 3);
  CHECK(redis::options::from_url("redis://cache").at.port == 6379);
}

TEST_CASE("redis::options: a bad URL is refused, and the password is not repeated") {
  for (const char* bad :
       {"", "http://127.0.0.1", "rediss://127.0.0.1", "redis://", "redis://-x.example",
        "redis://host.example:0", "redis://a host", "redis://hunter2@127.0.0.1", "redis://me:@127.0.0.1",
        "redis://me:hunter2@127.0.0.1:99999", "redis://me:hunter2@127.0.0.1/x",
        "redis://me:hunter2%4@127.0.0.1", "redis://me:hunter2%zz@127.0.0.1",
        "redis://me:hunter2@127.0.0.1/1?a=b", "redis://127.0.0.1/1000001"}) {
    CAPTURE(bad);
    try {
      static_cast<void>(redis::options::from_url(bad));
      FAIL("accepted");
    } catch (const b::error& e) {
      CHECK(e.code() == "bad_redis_url");
      CHECK(std::string(e.what()).find("hunter2") == std::string::npos);
    }
  }
}

TEST_CASE("redis::connect: options out of range") {
  const auto refused = [](redis::options set) {
    b::testing::test_loop loop;
    CHECK_THROWS_AS(loop.run([](redis::options with) -> b::task<> {
      co_await b::with(redis::connect(with), [](redis::client&) -> b::task<> { co_return; });
    }(set)),
                    b::misuse_error);
  };
  refused({.connect_limit = 0s});
  refused({.reply_limit = -1s});
  refused({.largest_reply = 10});
  refused({.most_pending = 0});
  refused({.most_pending_bytes = 1});
  refused({.user = "me"});
}
