// SPDX-License-Identifier: Apache-2.0
#pragma once
// A connection to Redis that all tasks of a loop share.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/redis/error.hpp>
#include <belay/db/redis/options.hpp>
#include <belay/db/redis/reply.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace belay::db::redis {

namespace detail {
class line;
}

using command = std::vector<std::string>;

struct client_statistics {
  bool connected = false;
  std::size_t pending = 0;        ///< commands that wait for their reply, given up ones included
  std::uint64_t connections = 0;  ///< made so far, with their handshake
  std::uint64_t failures = 0;     ///< attempts that failed, and connections that were lost
  std::uint64_t replies = 0;      ///< received
  std::uint64_t thrown_away = 0;  ///< replies to commands that had been given up
  std::uint64_t not_undone = 0;   ///< commands of `undo` that Redis refused; the sink hears of it, too
};

/// A script of Lua, which Redis runs as a whole. Its number (SHA-1) is what Redis says when the script is first used. Thread: one loop.
class script {
 public:
  explicit script(std::string source) : source_(std::move(source)) {}
  [[nodiscard]] const std::string& source() const noexcept { return source_; }

 private:
  friend class client;
  std::string source_;
  std::string digest_;
};

/// Commands over one connection, which is kept up in the background: lost, it is made anew, at first at once, then with growing delays.
///
///     co_await with(redis::connect(redis::options::from_url(url)), [&](redis::client& cache) -> task<> {
///       co_await cache.send({"SET", "greeting", "hello", "EX", "60"});
///       const redis::reply text = co_await cache.send({"GET", "greeting"});
///     });
///
/// Tasks do not wait for each other: commands are written as they come (pipelined), and answered in this order.
///
/// Errors:        `server_error`: Redis refused. `connection_error`: `redis_away` at once while the last attempt to connect failed (before
///                it is known, commands wait), and when the connection goes before it was sent; `redis_lost` and `redis_silent`
///                when it was sent, and may have been done. `protocol_error`. `closed_error` after the end of `connect`'s scope.
///                `belay::error` (overloaded, `redis_queue_full`) for more than `most_pending`, or `most_pending_bytes`. Nothing is sent twice.
///                `misuse_error` for an empty command, one that would change the shared connection or hold it up for the others (SUBSCRIBE,
///                MONITOR, MULTI, WATCH, SELECT, AUTH, BLPOP, XREAD BLOCK, CLIENT REPLY …), for one of more than 512 MiB, and on another
///                thread. Messages name the command, never its arguments.
/// Cancellation:  before it is written: it is not sent. After that: its reply is thrown away when it comes; the connection stays as it is.
/// Lifetime:      copies share the connection. It ends with the scope of `connect`, whoever has copies. Thread: one loop.
class client {
 public:
  [[nodiscard]] BELAY_CORO_WRAPPER task<reply> send(command words) const {
    return send_or_undo(std::move(words), {});
  }

  /// The same. If the task is cancelled after the command was written, `undo` is shown the reply when it comes, and may give
  /// a command (or an empty one) that makes up for what was done; its reply is thrown away. It must not throw.
  [[nodiscard]] task<reply> send_or_undo(command words, std::function<command(const reply&)> undo) const;

  /// Several commands at once, in one write: `auto got = co_await c.pipeline({{"INCR", "a"}, {"GET", "b"}});` Other tasks' commands come
  /// before or after them.
  ///
  /// Result:        a reply for each. One that Redis refused is a reply of type `error`; the others are done all the same.
  /// Errors:        as `send`, for all together: after `redis_lost` and `redis_silent`, some may have been done.
  /// Cancellation:  as `send`, for all together.
  [[nodiscard]] task<std::vector<reply>> pipeline(std::vector<command> all) const;

  /// The same as one transaction (MULTI, EXEC): nobody else's commands are done in between. For a condition on what is there, use a script:
  /// WATCH needs a connection of its own.
  ///
  /// Result:        a reply for each. Redis does not roll back: one that failed when it was run is a reply of type `error`, the others are done.
  /// Errors:        as `pipeline`; `server_error` when one was refused beforehand (no such command, too few arguments): none is done then. When MULTI itself is
  ///                refused (a user without the right, a proxy that does not know it), they have been run one by one: the message says so.
  [[nodiscard]] task<std::vector<reply>> transact(std::vector<command> all) const;

  /// Runs a script: EVALSHA, and EVAL if Redis does not have it (any more). Arguments, errors and cancellation as for `send_or_undo`.
  /// Lifetime: `code` outlives the call.
  [[nodiscard]] task<reply> run(script& code, std::vector<std::string> keys,
                                std::vector<std::string> arguments,
                                std::function<command(const reply&)> undo = {}) const;

  [[nodiscard]] client_statistics statistics() const;
  /// `options::describe()`
  [[nodiscard]] std::string describe() const;

  explicit client(std::shared_ptr<detail::line> on) noexcept : line_(std::move(on)) {}

 private:
  std::shared_ptr<detail::line> line_;
};

/// Opens a client. It does not wait for the connection: that Redis is away is an error of the commands (send PING to find out).
///
/// Errors:        `misuse_error` for options out of range.
/// Lifetime:      the connection is closed when the scope ends; commands that still wait fail with `closed_error`, and what they did is not
///                undone any more. Connects on the thread's
///                network (io/network.hpp) at the time of opening. Neither cancellation nor limits of the opener reach it.
[[nodiscard]] managed<client> connect(options set,
                                      std::source_location where = std::source_location::current());

}  // namespace belay::db::redis
