// SPDX-License-Identifier: Apache-2.0
#pragma once
// Messages that others publish in Redis, as a stream that survives lost connections and says where some may be missing.

#include <belay/core/stream.hpp>
#include <belay/core/time.hpp>
#include <belay/db/redis/error.hpp>
#include <belay/db/redis/options.hpp>
#include <string>
#include <vector>

namespace belay::db::redis {

struct subscription {
  std::vector<std::string> channels = {};
  std::vector<std::string> patterns = {};  ///< as in `news.*`
  /// When nothing has come for so long, the connection is asked whether it is there (PING); without an answer within `options::reply_limit`
  /// it is dropped. More than 0.
  duration ping_after = std::chrono::seconds(15);
};

enum class notice_type : unsigned char {
  /// From here on messages arrive: comes first, and again after each `lost`. The moment to read the state that they tell changes of.
  subscribed,
  message,
  /// The connection is gone, or could not be made; messages may be missed until the next `subscribed`. `text` says why.
  lost,
};

struct notice {
  notice_type type = notice_type::message;
  std::string channel{};  ///< of a message
  std::string pattern{};  ///< that it matched; empty when the channel itself was asked for
  std::string text{};
};

/// Subscribes over a connection of its own, which is made anew when it is lost, at first at once, then with growing delays.
///
///     co_await with(redis::subscribe(set, {.channels = {"prices"}}), [&](open_stream<redis::notice>& all) -> task<> {
///       while (const redis::notice* one = co_await all.next()) {
///         if (one->type == redis::notice_type::subscribed) co_await load_all();     // whatever was missed
///         if (one->type == redis::notice_type::message) apply(one->text);
///       }
///     });
///
/// Result:        endless.
/// Errors:        `misuse_error` without channels and patterns, and for options out of range. `server_error` for a refusal that will not pass
///                (wrong password, no permission). That Redis is away is no error, but a notice: one for each outage.
/// Cancellation:  closes the connection. A limit around `next` ends the stream: what was missed then is not known.
/// Time:          it reads only while somebody waits in `next`. Who takes longer than Redis keeps messages for (`client-output-buffer-limit
///                pubsub`) is cut off, and gets `lost`.
/// Lifetime:      connects on the thread's network (io/network.hpp) at its first step. Thread: one loop.
[[nodiscard]] stream<notice> subscribe(options at, subscription what);

}  // namespace belay::db::redis
