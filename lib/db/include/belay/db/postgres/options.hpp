// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a PostgreSQL database is reached and used.

#include <belay/core/group_options.hpp>
#include <belay/core/time.hpp>
#include <cstddef>
#include <functional>
#include <string_view>

namespace belay::db::postgres {

/// All durations are above 0, but for `check_after`, which may be 0; `duration::max()` means: never.
/// `open` refuses others (`db::error`, invalid, code `bad_options`).
struct options {
  /// The most connections that statements and transactions use, those that are being made included; 1 to 10,000. Beside them are one for each
  /// `listen`, and one for each inquiry about a COMMIT whose connection was lost; leave room for these in the server's `max_connections`.
  std::size_t max_connections = 10;
  /// Opened by `open`, which fails if it cannot, and kept open in the background; at most `max_connections`.
  std::size_t min_connections = 1;
  /// How long a task waits for a connection: in line, while it is checked, and while one is made, tries after failed ones included. A server
  /// that is started again in this time is no error. Also how long `open` tries.
  duration acquire_limit = std::chrono::seconds(5);
  std::size_t max_waiting = no_limit;  ///< the most tasks in line; one more is refused (`too_many_waiting`)
  /// How long one attempt to connect may take, name lookup and login included.
  duration connect_limit = std::chrono::seconds(3);
  /// A connection is replaced when it is this old, less up to a tenth at random, and nobody uses it.
  duration max_lifetime = std::chrono::minutes(30);
  /// Beyond `min_connections`, what was idle so long is closed.
  duration idle_timeout = std::chrono::minutes(10);
  /// A connection that was idle for longer is asked for a sign of life before it is handed out. Zero: always.
  duration check_after = std::chrono::seconds(30);
  /// How long the server may take to give a sign of life, to reset a session, or to give up a cancelled statement; then the connection is
  /// dropped.
  duration cancel_limit = std::chrono::seconds(2);
  /// Half of it: how long a COMMIT may take; the other half: how long its outcome is inquired when its connection was lost. With
  /// `cancel_limit` twice, it must fit into `loop_options::cleanup_limit`.
  duration commit_limit = std::chrono::seconds(4);
  /// A connection that a statement or transaction has held for so long is told of, once, as a diagnostic (`lease_held`).
  duration leak_after = std::chrono::minutes(1);
  /// Resets the session after each use, whatever was run: for functions that change it, as in `SELECT login($1)` with a set_config inside.
  /// Costs a round trip of the pool for each use.
  bool reset_always = false;
  std::size_t cached_statements = 128;  ///< prepared statements kept by each connection; 0: none
  /// Gets the server's notices and warnings: "WARNING: there is no transaction in progress". Must not throw; called on the loop's thread.
  std::function<void(std::string_view)> on_notice = {};
};

}  // namespace belay::db::postgres
