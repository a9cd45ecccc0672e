// SPDX-License-Identifier: Apache-2.0
#pragma once
// Messages that other sessions send with NOTIFY.

#include <belay/core/stream.hpp>
#include <belay/core/time.hpp>
#include <belay/db/postgres/database.hpp>
#include <cstddef>
#include <string>
#include <vector>

namespace belay::db::postgres {

enum class notification_type : unsigned char {
  message,
  gap,  ///< messages may have been lost: the connection was made anew, or too many had gathered; look at the data
};

struct notification {
  notification_type type = notification_type::message;
  std::string channel = {};
  std::string payload = {};
  int sender = 0;  ///< the number of the server's process that sent it
};

struct listen_options {
  /// Messages that wait while nobody asks for the next; more: they are dropped, and there is a gap. At least 1.
  std::size_t most_waiting = 10'000;
  /// When nothing came for so long, the server is asked for a sign of life. Above 0.
  duration check_after = std::chrono::seconds(30);
};

/// Listens on channels, over a connection of its own, besides those of the pool. Send with `SELECT pg_notify($1, $2)`.
///
///     co_await with(listen(db, {"transfers"}), [&](open_stream<notification>& all) -> task<> {
///       while (notification* one = co_await all.next()) refresh(one->type == notification_type::gap ? everything : one->payload);
///     });
///
/// Result:        never ends by itself. A lost connection is made anew, for as long as it takes, and told as a gap; with pauses
///                while it is lost again within a second. The end of the database does not end it: end it first.
/// Errors:        of the first connection: as `database`; later only what will not pass (login refused).
/// Cancellation:  while it waits: closes the connection. Lifetime: connects when the first message is asked for.
[[nodiscard]] stream<notification> listen(database db, std::vector<std::string> channels,
                                          listen_options how = {});

}  // namespace belay::db::postgres
