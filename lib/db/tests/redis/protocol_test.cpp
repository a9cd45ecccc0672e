// SPDX-License-Identifier: Apache-2.0
// Commands to bytes, bytes to replies.

#include <belay/db/error.hpp>
#include <belay/db/redis/error.hpp>
#include <doctest/doctest.h>

#include "redis/protocol.hpp"

namespace redis = belay::db::redis;

TEST_CASE("redis protocol: a command is an array of texts, whatever is in them") {
  const std::vector<std::string> words{"SET", std::string("a\0b", 3), ""};
  CHECK(redis::detail::encode(words) == std::string("*3\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$0\r\n\r\n", 28));
}

TEST_CASE("redis protocol: replies in every cut") {
  const std::string bytes =
      "+OK\r\n:-7\r\n$-1\r\n$5\r\nhello\r\n*3\r\n:1\r\n*2\r\n$1\r\na\r\n-ERR no\r\n$0\r\n\r\n*0\r\n*-1\r\n";
  for (std::size_t cut = 1; cut <= bytes.size(); ++cut) {
    redis::detail::reply_parser parser(1000);
    std::vector<redis::reply> got;
    for (std::size_t at = 0; at < bytes.size(); at += cut) {
      parser.feed(std::string_view(bytes).substr(at, cut));
      while (auto one = parser.next()) got.push_back(std::move(*one));
    }
    REQUIRE(got.size() == 7);
    CHECK(got[0].type == redis::reply_type::status);
    CHECK(got[0].to_text() == "OK");
    CHECK(got[1].to_integer() == -7);
    CHECK(got[2].is_nil());
    CHECK(got[3].to_text() == "hello");
    CHECK(got[4].element(0).to_integer() == 1);
    CHECK(got[4].element(1).element(0).to_text() == "a");
    CHECK(got[4].element(1).element(1).type == redis::reply_type::error);
    CHECK(got[4].element(2).to_text().empty());
    CHECK(got[5].type == redis::reply_type::array);
    CHECK(got[5].elements.empty());
    CHECK(got[6].is_nil());
    CHECK_THROWS_AS(static_cast<void>(got[0].to_integer()), belay::db::type_error);
    CHECK_THROWS_AS(static_cast<void>(got[1].to_text()), belay::db::type_error);
    CHECK_THROWS_AS(static_cast<void>(got[1].element(0)), belay::db::type_error);
    CHECK_THROWS_AS(static_cast<void>(got[5].element(0)), belay::db::type_error);
  }
}

TEST_CASE("redis protocol: what is announced costs nothing; what is too large is refused") {
  redis::detail::reply_parser parser(1000);
  parser.feed("*1000000000\r\n:1\r\n");
  CHECK_FALSE(parser.next().has_value());
  parser.feed(std::string(2000, '\n'));
  CHECK_THROWS_AS(static_cast<void>(parser.next()), redis::protocol_error);
}
