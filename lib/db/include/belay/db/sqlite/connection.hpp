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

namespace belay::db::sqlite {

namespace detail {
struct session;
}

/// The connection of an open transaction, handed out by `transaction`. Statements take parameters for their
/// `?`: `co_await c.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, id)`.
///
/// Statements of several tasks run one after the other, in the order in which they were asked for.
/// Errors:        those of <belay/db/error.hpp>. A failed statement had no effect and the transaction goes
///                on, unless the database itself rolled it back (disk full, I/O error, a cancelled write):
///                then every further statement and the commit fail with code `transaction_lost`. A copy
///                that is used after the transaction: `closed_error`.
/// Cancellation:  a running statement is interrupted and waited for. One that had finished is delivered.
/// Lifetime:      copies are handles to the same connection.
class connection {
 public:
  /// Runs one statement that changes data; rows that it gives (RETURNING) are dropped.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<change> execute(std::string_view sql, P&&... bound) const {
    return execute_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// Runs one statement and gives all its rows. They are held in memory: use LIMIT.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<rows> query(std::string_view sql, P&&... bound) const {
    return query_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }
  /// Runs one statement that gives one row at most. Errors: `statement_error` (code `too_many_rows`) for
  /// more.
  template <class... P>
  BELAY_CORO_WRAPPER [[nodiscard]] task<std::optional<row>> query_one(std::string_view sql,
                                                                      P&&... bound) const {
    return query_one_with(std::string(sql), make_parameters(std::forward<P>(bound)...));
  }

  [[nodiscard]] task<change> execute_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<rows> query_with(std::string sql, parameters bound) const;
  [[nodiscard]] task<std::optional<row>> query_one_with(std::string sql, parameters bound) const;

  /// Runs several statements, separated by `;`, without parameters.
  [[nodiscard]] task<> execute_script(std::string sql) const;

  // Made by `transaction`.
  explicit connection(std::shared_ptr<detail::session> session) noexcept : session_(std::move(session)) {}
  [[nodiscard]] const std::shared_ptr<detail::session>& session() const noexcept { return session_; }

 private:
  std::shared_ptr<detail::session> session_;
};

}  // namespace belay::db::sqlite
