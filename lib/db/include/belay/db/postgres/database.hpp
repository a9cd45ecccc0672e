// SPDX-License-Identifier: Apache-2.0
#pragma once
// A PostgreSQL database and the connections to it, used by turns.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/pool_options.hpp>
#include <belay/db/postgres/connection.hpp>
#include <belay/db/postgres/error.hpp>
#include <belay/db/postgres/options.hpp>
#include <belay/db/row.hpp>
#include <belay/db/value.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace belay::db::postgres {

namespace detail {
class pool;
}

struct pool_statistics {
  std::size_t in_use = 0;        ///< connections that somebody has
  std::size_t idle = 0;          ///< connections that are open and free
  std::size_t opening = 0;       ///< connections that are being made
  std::size_t tending = 0;       ///< connections that are asked for a sign of life, or reset
  std::size_t waiting = 0;       ///< tasks in line for a connection
  std::size_t transactions = 0;  ///< transactions that are open
  std::uint64_t opened = 0;      ///< connections made, since the start
  std::uint64_t replaced = 0;    ///< connections dropped because they were broken, unclean or too old
  std::uint64_t failures = 0;    ///< attempts to connect that failed
};

/// An open database. Single statements, each a transaction of its own, wait in order for a free connection.
///
/// Errors:        those of <belay/db/error.hpp> and <belay/db/postgres/error.hpp>; `busy_error` (`no_connection_free`, which names who
///                holds one longest) when none comes free within `options::acquire_limit`; `connection_error` (`server_away`) with the
///                last reason when none can be made in that time, or at once when it will not pass (login refused); `closed_error` after
///                the end. A server that was started again is connected to anew without more ado; statements
///                are never sent twice.
/// Sessions:      connections are shared by turns. What a statement leaves in its session beyond its transaction (SET, set_config, SET ROLE,
///                LISTEN, temporary tables, `pg_advisory_lock`, cursors WITH HOLD) is taken away before the next one has the connection:
///                that costs a round trip of the pool, which knows by the text of the statements whether it is needed. What functions
///                do inside, it does not see, but for DO and CALL: see `options::reset_always`. Better: SET LOCAL, `set_config(…, true)`,
///                `pg_advisory_xact_lock`, which end with the transaction.
/// Cancellation:  in line or connecting: leaves it. Running: see `connection`.
/// Lifetime:      copies are handles to the same database.
/// Thread:        the loop's only.
class database {
 public:
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<change> execute(std::string_view sql, P&&... bound) const {
    return execute_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<rows> query(std::string_view sql, P&&... bound) const {
    return query_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<std::optional<row>> query_one(std::string_view sql,
                                                                      P&&... bound) const {
    return query_one_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }

  [[nodiscard]] task<change> execute_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<rows> query_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<std::optional<row>> query_one_with(std::string sql, parameters bound) const;

  /// Runs statements in one go, all or nothing: the server makes them one transaction.
  [[nodiscard]] task<std::vector<result>> run(pipeline all) const;

  [[nodiscard]] pool_statistics statistics() const noexcept;
  /// Who has a connection now, who has it longest first: the task, where it was taken (the statement or the transaction), and for how long.
  [[nodiscard]] std::vector<pool_holder> holders() const;
  /// "postgresql://user@host:5432/name", never the password.
  [[nodiscard]] const std::string& name() const noexcept;

  // Made by `open`.
  explicit database(std::shared_ptr<detail::pool> pool) noexcept : pool_(std::move(pool)) {}
  [[nodiscard]] const std::shared_ptr<detail::pool>& pool() const noexcept { return pool_; }

 private:
  std::shared_ptr<detail::pool> pool_;
};

/// Opens a database: `postgresql://user:password@host:port/name?sslmode=verify-full` (or `host=… dbname=…`), as libpq reads it; what it does
/// not say comes from libpq's environment (PGHOST …), where you set it.
///
///     co_await with(postgres::open("postgresql://bank@db.internal/bank"), [](postgres::database& db) -> task<> {
///       const auto one = co_await db.query_one("SELECT email FROM users WHERE id = $1", 7);
///     });
///
/// Errors:        `connection_error` when `min_connections` cannot be made; `db::error` (invalid, `bad_options`, `bad_database_url`).
///                Messages never show the password.
///                At the end: `db::error` (`connections_held`) when connections are not given back in nine tenths of the time that the
///                cleanup has: it names who holds them, since when and where; they are closed when they come back.
/// Cancellation:  before the block: gives up connecting. At the end: those in line and new requests for a connection get
///                `closed_error`; waits until all connections are given back, and closes them.
[[nodiscard]] managed<database> open(std::string url, options settings = {});

}  // namespace belay::db::postgres
