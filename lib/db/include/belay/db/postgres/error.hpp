// SPDX-License-Identifier: Apache-2.0
#pragma once
// What can go wrong with PostgreSQL besides what all databases have (db/error.hpp).

#include <belay/db/error.hpp>
#include <string>

namespace belay::db::postgres {

/// The server cannot be reached, does not let us in, or the connection went away. Codes: `server_away` (no connection was made),
/// `connection_lost` (in the middle: what ran outside of a transaction may have been done), `server_stops` (it said so), all
/// unavailable; `too_many_connections` (overloaded); `login_refused` (unauthenticated); `no_such_database` (not_found).
class connection_error : public db::error {
 public:
  using error::error;
};

/// Two transactions stood in each other's way, and this one was given up. Nothing happened; run it again from its beginning
/// (`repeatable`). Kind unavailable, codes `serialization_failure`, `deadlock`.
class serialization_error : public db::error {
 public:
  using error::error;
};

/// A parameter or a value in the data does not fit: text that is no number, out of range, a division by zero. Kind invalid, code `bad_value`.
/// What the server quotes in its message is left out: it may be a parameter.
class data_error : public db::error {
 public:
  using error::error;
};

/// Somebody else (an administrator, a `statement_timeout` of the server) stopped the statement. Kind unavailable, code
/// `statement_cancelled`.
class interrupted_error : public db::error {
 public:
  using error::error;
};

/// The connection was lost in the middle of a COMMIT, and the server could not be asked in time how it ended. It may have happened or not.
/// Kind internal, code `commit_unknown`: no policy repeats it by itself. Look at the data before it is tried again.
class commit_unknown_error : public db::error {
 public:
  commit_unknown_error(std::string message, std::string transaction,
                       std::source_location where = std::source_location::current());
  /// For `SELECT pg_xact_status('…')`.
  [[nodiscard]] const std::string& transaction() const noexcept { return *transaction_; }

 private:
  std::shared_ptr<const std::string> transaction_;  // copies of exceptions must not throw
};

/// The five characters of the server: "23505". Empty when the error did not come from it.
[[nodiscard]] std::string sqlstate(const db::error& from);

}  // namespace belay::db::postgres
