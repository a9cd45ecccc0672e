// SPDX-License-Identifier: Apache-2.0
#pragma once
// A SQLite database with its connections: one that writes and some that read, used by turns.

#include <belay/core/managed.hpp>
#include <belay/core/task.hpp>
#include <belay/db/pool_options.hpp>
#include <belay/db/row.hpp>
#include <belay/db/sqlite/options.hpp>
#include <belay/db/value.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace belay::db::sqlite {

namespace detail {
class pool;
}

struct pool_statistics {
  std::size_t in_use = 0;        ///< connections that somebody has
  std::size_t idle = 0;          ///< connections that are open and free
  std::size_t waiting = 0;       ///< tasks in line for a connection
  std::size_t transactions = 0;  ///< transactions that are open
  std::uint64_t replaced = 0;    ///< connections closed because they could not be cleaned, since the start
};

/// An open database. Everything waits in order for a free connection, runs on a thread for blocking work, and
/// gives the connection back clean.
///
/// Errors:        those of <belay/db/error.hpp>; `busy_error` when no connection comes free, or a lock of
///                another process is not released, within `options::busy_timeout`; `closed_error` after the
///                end.
/// Cancellation:  in line: leaves it. Running: the statement is interrupted and waited for; one that had
///                finished is delivered.
/// Lifetime:      copies are handles to the same database.
/// Thread:        the loop's only.
class database {
 public:
  /// Runs one statement that changes data, as a transaction of its own, on the writing connection.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<change> execute(std::string_view sql, P&&... bound) const {
    return execute_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// Runs one statement that reads, on a reading connection, and gives all its rows. They are held in memory:
  /// use LIMIT.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<rows> query(std::string_view sql, P&&... bound) const {
    return query_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// As `query`, for one row at most. Errors: `statement_error` (code `too_many_rows`) for more.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<std::optional<row>> query_one(std::string_view sql,
                                                                      P&&... bound) const {
    return query_one_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }

  [[nodiscard]] task<change> execute_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<rows> query_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<std::optional<row>> query_one_with(std::string sql, parameters bound) const;

  /// Reads a page of the file, on a reading connection: for health checks. Errors: as `query`.
  [[nodiscard]] task<> ping() const;

  [[nodiscard]] pool_statistics statistics() const noexcept;
  /// Who has a connection now, who has it longest first: the task, where it was taken (the statement or the transaction), and for how long.
  [[nodiscard]] std::vector<pool_holder> holders() const;
  /// The path of the file, as it was given.
  [[nodiscard]] const std::string& path() const noexcept;

  // Made by `open`.
  explicit database(std::shared_ptr<detail::pool> pool) noexcept : pool_(std::move(pool)) {}
  [[nodiscard]] const std::shared_ptr<detail::pool>& pool() const noexcept { return pool_; }

 private:
  std::shared_ptr<detail::pool> pool_;
};

/// Opens the database `name`: `sqlite:PATH`, or just a path; `:memory:` for one that lives as long as it is
/// open (and has one connection). Makes the file and its directories; uses write-ahead logging and enforces
/// foreign keys.
///
/// Errors:        `storage_error` (cannot be opened or written), `corrupt_error` (damaged, or no database:
///                then it is left byte for byte as it was), `busy_error` (locked by another process),
///                `db::error` (invalid) for a wrong name or option.
/// Cancellation:  before the block: waits for the opening to finish, and closes. At the end: closing waits
///                until all connections are given back; new requests for one get `closed_error`. Then the
///                log is moved into the file, as far as other processes let it.
[[nodiscard]] managed<database> open(std::string name, options settings = {});

}  // namespace belay::db::sqlite
