// SPDX-License-Identifier: Apache-2.0
#pragma once
// What databases answer when something goes wrong, by what the caller can do about it.

#include <belay/core/error.hpp>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace belay::db {

/// Base of all database errors. The message says what was tried, on which database, what happened, and what
/// to do; parameters of statements are never part of it.
class error : public belay::error {
 public:
  error(error_kind kind, std::string code, std::string message, int native_code = 0,
        std::source_location where = std::source_location::current())
      : belay::error(kind, std::move(code), std::move(message), where), native_code_(native_code) {}

  /// The database's own number (SQLite: extended result code); 0 when it was not asked.
  [[nodiscard]] int native_code() const noexcept { return native_code_; }

 private:
  int native_code_;
};

enum class constraint_type : unsigned char {
  unique,       ///< unique index or primary key; kind conflict
  foreign_key,  ///< kind conflict; does not tell which one
  not_null,     ///< kind invalid
  check,        ///< kind invalid
  data_type,    ///< of a STRICT table; kind invalid
  trigger,      ///< a trigger said RAISE; kind internal
};

[[nodiscard]] std::string_view to_string(constraint_type type) noexcept;

/// The data would break a rule of the schema. The statement had no effect; the transaction goes on.
/// Codes: `unique_violation`, `foreign_key_violation`, `not_null_violation`, `check_violation`,
/// `data_type_violation`, `trigger_raised`.
class constraint_error : public error {
 public:
  constraint_error(constraint_type type, std::string constraint, std::vector<std::string> columns,
                   std::string message, int native_code,
                   std::source_location where = std::source_location::current());

  [[nodiscard]] constraint_type type() const noexcept { return rule_->type; }
  /// The columns, as `table.column`; empty when the database does not name them (foreign keys, checks).
  [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return rule_->columns; }
  /// What the database calls the rule: `users.email`, `balance >= 0`, the text of RAISE.
  [[nodiscard]] const std::string& constraint() const noexcept { return rule_->constraint; }
  /// Whether `column` (`users.email`) is one of `columns()`.
  [[nodiscard]] bool names(std::string_view column) const noexcept;

 private:
  struct rule {
    constraint_type type;
    std::string constraint;
    std::vector<std::string> columns;
  };
  std::shared_ptr<const rule> rule_;  // shared: copies of exceptions must not throw
};

/// Somebody else held the lock, or all connections were in use, for longer than the limit. Kind unavailable:
/// nothing happened, try again later. Codes `database_locked` (SQLite), `lock_not_available` (PostgreSQL: lock_timeout, NOWAIT), `no_connection_free`.
class busy_error : public error {
 public:
  using error::error;
};

/// The storage below failed: disk full, I/O error, file cannot be opened or is read-only. Kind unavailable
/// (denied for permissions). What was not committed is rolled back. Codes `disk_full`, `io_error`,
/// `cannot_open`, `read_only`.
class storage_error : public error {
 public:
  using error::error;
};

/// The file is damaged or is no database. Kind internal; the file is left as it was. Codes `corrupt`,
/// `not_a_database`.
class corrupt_error : public error {
 public:
  using error::error;
};

/// The statement is wrong: syntax, unknown table, number of parameters. Kind internal: a bug. Code
/// `bad_statement`.
class statement_error : public error {
 public:
  using error::error;
};

/// A value is of another type than was asked for, or there is no such column. Kind internal: a bug. Code
/// `type_mismatch`.
class type_error : public error {
 public:
  explicit type_error(std::string message, std::source_location where = std::source_location::current())
      : error(error_kind::internal, "type_mismatch", std::move(message), 0, where) {}
};

/// The connection, transaction or database was used after its end. Kind internal for a connection whose scope
/// is over, unavailable for a database that is closing. Code `closed`.
class closed_error : public error {
 public:
  using error::error;
};

/// The schema does not fit this program. Kind internal; nothing was changed by the refused step. Codes
/// `newer_schema`, `altered_migration`, `bad_migrations`.
class migration_error : public error {
 public:
  using error::error;
};

}  // namespace belay::db
