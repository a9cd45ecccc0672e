// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a PostgreSQL database is reached and used.

#include <belay/core/time.hpp>
#include <cstddef>
#include <functional>
#include <string_view>

namespace belay::db::postgres {

struct options {
  std::size_t max_connections = 10;  ///< 1 to 10,000
  std::size_t min_connections = 1;  ///< opened by `open`, which fails if it cannot; at most `max_connections`
  /// How long a task waits for a connection, in line and while one is made, tries after failed ones included. Above 0.
  duration acquire_limit = std::chrono::seconds(5);
  /// How long one attempt to connect may take, name lookup and login included. Above 0.
  duration connect_limit = std::chrono::seconds(3);
  /// A connection older than this is replaced when it is given back. Above 0.
  duration max_lifetime = std::chrono::minutes(30);
  /// A connection that was idle for longer is asked for a sign of life before it is handed out. Zero: always.
  duration check_after = std::chrono::seconds(30);
  /// How long the server may take to give up a cancelled statement, and to answer the question after a sign of life; then the connection is
  /// dropped. Above 0.
  duration cancel_limit = std::chrono::seconds(2);
  /// Half of it: how long a COMMIT may take; the other half: how long its outcome is inquired when its connection was lost. With
  /// `cancel_limit` twice, it must fit into `loop_options::cleanup_limit`. Above 0.
  duration commit_limit = std::chrono::seconds(4);
  std::size_t cached_statements = 128;  ///< prepared statements kept by each connection; 0: none
  /// Gets the server's notices and warnings: "WARNING: there is no transaction in progress". Must not throw; called on the loop's thread.
  std::function<void(std::string_view)> on_notice = {};
};

}  // namespace belay::db::postgres
