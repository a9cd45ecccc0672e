// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where Redis is, and how patient we are with it.

#include <belay/core/error_detail.hpp>
#include <belay/core/time.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/resilience/backoff.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace belay::db::redis {

/// Each field says its range; `client` checks them.
struct options {
  io::endpoint at{.address = "127.0.0.1", .port = 6379};
  /// A name instead of the address of `at`, whose port counts: looked up for each connection (`io::connect`). Empty: none.
  std::string host = {};
  /// Empty: the default user.
  std::string user = {};
  /// Empty: no AUTH is sent. Appears in no message, log or description.
  sensitive_value<std::string> password = {};
  /// For SELECT, 0 to 1,000,000.
  unsigned database = 0;

  /// How long connecting with its handshake may take, more than 0.
  duration connect_limit = std::chrono::seconds(2);
  /// When the oldest command has been without a reply for so long, the connection is dropped; more than 0. A single command is bounded by
  /// `with_timeout`, which leaves the connection alone.
  duration reply_limit = std::chrono::seconds(5);
  /// Delays between attempts to connect while they fail; never less than 10 ms.
  backoff reconnect = backoff::exponential(std::chrono::milliseconds(50), std::chrono::seconds(5));
  /// In bytes, at least 1024. What is larger is not read to its end: the connection is dropped.
  std::size_t largest_reply = 16 * 1024 * 1024;
  /// Commands without a reply yet, at least 1; those that were given up count until their reply has come.
  std::size_t most_pending = 10'000;
  /// Bytes of the commands that were not sent yet, at least 1024.
  std::size_t most_pending_bytes = 64 * 1024 * 1024;

  /// `redis://[[user]:password@]host[:port][/database]`; user and password may be percent-encoded. The host is an address (IPv6 in
  /// brackets), `localhost`, or a name.
  /// Errors: `belay::error` (invalid, `bad_redis_url`) that says what is wrong, without the password. `rediss:` is refused: there is no TLS.
  [[nodiscard]] static options from_url(std::string_view url);
  /// "127.0.0.1:6379", "cache.example:6379"
  [[nodiscard]] std::string server() const;
  /// "redis 127.0.0.1:6379/0 as 'worker'", never the password.
  [[nodiscard]] std::string describe() const;
};

}  // namespace belay::db::redis
