// SPDX-License-Identifier: Apache-2.0
// The handshake with Redis.

#include "greeting.hpp"

#include <belay/core/error.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/db/redis/error.hpp>
#include <belay/io/resolve.hpp>
#include <array>
#include <string_view>
#include <vector>

namespace belay::db::redis::detail {

namespace {

// Of an answer to AUTH, only words that are known: some servers repeat what they did not understand, whole or in part.
std::string known_refusal(std::string_view text) {
  const std::string_view first = text.substr(0, text.find(' '));
  for (const std::string_view known : {"WRONGPASS", "NOAUTH", "NOPERM", "LOADING", "MASTERDOWN", "BUSY"})
    if (first == known) return std::string(known) + " (the rest is not shown: it may hold the password)";
  return "ERR (not shown: it may hold the password)";
}

BELAY_CORO_WRAPPER task<io::tcp_stream> reach(io::network& on, const options& set) {
  if (set.host.empty()) return on.connect(set.at, std::source_location::current());
  return io::connect(set.host, set.at.port);
}

task<reply> handshake_reply(io::tcp_stream& stream, const std::string& name, reply_parser& parser) {
  std::array<char, 1024> part{};
  for (;;) {
    if (auto got = parser.next()) co_return std::move(*got);
    const std::size_t count = co_await stream.read_some(part);
    if (count == 0) {
      throw connection_error(error_kind::unavailable, "redis_away",
                             "Redis at " + name + " hung up during the handshake");
    }
    parser.feed({part.data(), count});
  }
}

}  // namespace

options checked(options set, const std::string& call) {
  const auto require = [&call](bool holds, const char* what) {
    if (!holds) throw misuse_error(call + ": " + what);
  };
  require(set.connect_limit > duration::zero(), "options.connect_limit must be more than 0");
  require(set.reply_limit > duration::zero(), "options.reply_limit must be more than 0");
  require(set.largest_reply >= 1024, "options.largest_reply must be at least 1024");
  require(set.most_pending >= 1, "options.most_pending must be at least 1");
  require(set.most_pending_bytes >= 1024, "options.most_pending_bytes must be at least 1024");
  require(set.database <= 1'000'000, "options.database must be at most 1,000,000");
  require(set.user.empty() || !set.password.value.empty(), "options.user needs options.password");
  return set;
}

task<io::tcp_stream> greet(io::network& on, const options& set, const std::string& name,
                           reply_parser& parser) {
  io::tcp_stream stream = co_await reach(on, set);
  std::string bytes;
  std::vector<std::string_view> asked;
  const std::string& password = set.password.value;
  if (!password.empty()) {
    bytes +=
        set.user.empty() ? encode(command{"AUTH", password}) : encode(command{"AUTH", set.user, password});
    asked.push_back("AUTH");
  }
  if (set.database != 0) {
    bytes += encode(command{"SELECT", std::to_string(set.database)});
    asked.push_back("SELECT");
  }
  bytes += encode(command{"PING"});
  asked.push_back("PING");
  co_await stream.write(bytes);
  for (const std::string_view one : asked) {
    const reply got = co_await handshake_reply(stream, name, parser);
    if (got.type == reply_type::error)
      throw server_error(one == "AUTH" ? known_refusal(got.text) : got.text, name, one);
  }
  co_return stream;
}

}  // namespace belay::db::redis::detail
