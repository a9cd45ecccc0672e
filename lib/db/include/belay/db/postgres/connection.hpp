// SPDX-License-Identifier: Apache-2.0
#pragma once
// What runs inside a transaction: statements on the one connection that holds it.

#include <belay/core/task.hpp>
#include <belay/db/row.hpp>
#include <belay/db/value.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace belay::db::postgres {

namespace detail {
struct session;
}

/// A statement with the parameters for its `$1`, `$2` …
struct statement {
  std::string sql;
  parameters bound = {};
};

/// What one statement gave and did.
struct result {
  db::rows rows = {};
  change changed = {};
};

/// Statements that are sent together, without waiting for the answer to one before sending the next.
///
///     pipeline both;
///     both.add("UPDATE accounts SET balance = balance - $1 WHERE id = $2", amount, from);
///     both.add("UPDATE accounts SET balance = balance + $1 WHERE id = $2", amount, to);
///     const std::vector<result> done = co_await c.run(std::move(both));
class pipeline {
 public:
  template <class... P>
  void add(std::string_view sql, P&&... bound) {
    add_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  void add_with(std::string sql, parameters bound) {
    statements_.push_back({std::move(sql), std::move(bound)});
  }
  [[nodiscard]] std::size_t size() const noexcept { return statements_.size(); }
  [[nodiscard]] std::vector<statement> take() && noexcept { return std::move(statements_); }

 private:
  std::vector<statement> statements_;
};

/// The connection of an open transaction, handed out by `transaction`. Placeholders are `$1`, `$2` …; to share SQL with SQLite, see
/// `numbered` (placeholders.hpp).
///
/// Values:        integers of all sizes are integers, booleans 0 or 1, float4 and float8 reals, bytea a blob; timestamptz is text as in
///                RFC 3339 (`2026-11-21T20:15:00.5Z`), everything else (numeric, date, uuid, json, arrays) text as PostgreSQL writes it.
///                Parameters are read by the server as the type that the place needs; a bool goes in as 0 or 1, text holds no NUL.
/// Errors:        those of <belay/db/error.hpp> and <belay/db/postgres/error.hpp>. After a failed statement the transaction is lost:
///                further statements and the commit fail with code `transaction_lost`, unless a `savepoint` is closed around it. A copy
///                that is used after the transaction: `closed_error`.
/// Cancellation:  before it is sent: nothing happens. Running: the server is told to give it up, its answer is waited for (up to
///                `options::cancel_limit`, then the connection is dropped). One that had finished is delivered.
/// Lifetime:      copies are handles to the same connection. Statements of several tasks run one after the other, in the order in which
///                they were asked for.
class connection {
 public:
  /// Runs one statement; rows that it gives are dropped. `change::last_insert_id` stays 0: use RETURNING.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<change> execute(std::string_view sql, P&&... bound) const {
    return execute_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// Runs one statement and gives all its rows. They are held in memory: use LIMIT, or `copy_out`.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<rows> query(std::string_view sql, P&&... bound) const {
    return query_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// Runs one statement that gives one row at most. Errors: `statement_error` (code `too_many_rows`) for more.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<std::optional<row>> query_one(std::string_view sql,
                                                                      P&&... bound) const {
    return query_one_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }

  [[nodiscard]] task<change> execute_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<rows> query_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<std::optional<row>> query_one_with(std::string sql, parameters bound) const;

  /// Runs statements in one go. Errors: of the first that fails; those after it do not run.
  [[nodiscard]] task<std::vector<result>> run(pipeline all) const;

  /// Runs several statements, separated by `;`, without parameters.
  [[nodiscard]] task<> execute_script(std::string sql) const;

  // Made by `transaction`.
  explicit connection(std::shared_ptr<detail::session> session) noexcept : session_(std::move(session)) {}
  [[nodiscard]] const std::shared_ptr<detail::session>& session() const noexcept { return session_; }

 private:
  std::shared_ptr<detail::session> session_;
};

}  // namespace belay::db::postgres
