// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can go wrong with Redis, by what the caller can do about it.

#include <belay/db/error.hpp>
#include <source_location>
#include <string>
#include <string_view>

namespace belay::db::redis {

/// The connection is not there, or went away. Codes: `redis_away` (unavailable: nothing was sent), `redis_lost` (unavailable: sent, but it is
/// not known whether it was done), `redis_silent` (timed_out: no answer within `options::reply_limit`; not known either).
class connection_error : public db::error {
 public:
  using error::error;
};

/// What came in is not what Redis sends, or more than `options::largest_reply`. Kind data_format, codes `redis_protocol`,
/// `redis_reply_too_large`. The connection was dropped.
class protocol_error : public db::error {
 public:
  using error::error;
};

/// Redis answered with an error. `prefix()` is its first word, in capitals: ERR, NOSCRIPT, LOADING, WRONGTYPE. Code: `redis_` and the
/// prefix in small letters. Kind: unavailable (LOADING, READONLY, BUSY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, MISCONF, NOREPLICAS), overloaded
/// (OOM, and ERR for too many clients), unauthenticated (NOAUTH, WRONGPASS), denied (NOPERM), not_found (NOSCRIPT), conflict
/// (EXECABORT, BUSYKEY), invalid (ERR, WRONGTYPE), otherwise internal.
class server_error : public db::error {
 public:
  /// `tried`: the name of the command, without its arguments.
  server_error(std::string_view text, std::string_view server, std::string_view tried,
               std::source_location where = std::source_location::current());
  [[nodiscard]] std::string_view prefix() const noexcept { return prefix_; }

 private:
  char prefix_[16] = {};  // copies of exceptions must not throw
};

}  // namespace belay::db::redis
