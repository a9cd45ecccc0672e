// SPDX-License-Identifier: Apache-2.0
#pragma once
// The service's database seen by somebody else: reading what is there, holding locks, injecting faults.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace accounts_test {

/// Whether this run is on a PostgreSQL server, of which the environment variable ACCOUNTS_TEST_POSTGRES says where it is
/// (`postgresql://USER@HOST:PORT`), and not on files of SQLite. For `doctest::skip`, with a reason.
[[nodiscard]] bool on_postgres();

/// A database with a name of its own on that server: made, and dropped when this goes.
class server_database {
 public:
  server_database();
  server_database(const server_database&) = delete;
  server_database& operator=(const server_database&) = delete;
  ~server_database();

  [[nodiscard]] std::string url() const;

 private:
  std::string name_;
};

/// Takes SQL that both understand.
class database {
 public:
  /// `sqlite:PATH` of a file that exists, or `postgresql://...`.
  explicit database(const std::string& url);
  database(const database&) = delete;
  database& operator=(const database&) = delete;
  ~database();

  void execute(std::string_view sql);
  /// The rows of a query, each column as text (NULL is "NULL").
  [[nodiscard]] std::vector<std::vector<std::string>> rows(std::string_view sql);
  /// The only value of a query.
  [[nodiscard]] std::int64_t number(std::string_view sql);

  // One connection to either.
  class connection;

 private:
  std::unique_ptr<connection> connection_;
};

/// All queries that follow see one state of the database.
void begin_reading(database& of);

/// Holds a lock: until it goes, every writer of the service has to wait.
class write_lock {
 public:
  explicit write_lock(const std::string& url);
  write_lock(const write_lock&) = delete;
  write_lock& operator=(const write_lock&) = delete;
  ~write_lock() { release(); }

  void release();

 private:
  database database_;
  bool held_ = true;
};

/// What happens to each row that is written, until it goes.
class trigger {
 public:
  enum class effect {
    fails,    // with `message`
    ignored,  // the row stays as it was
    slow,     // takes some 30 ms
  };
  /// `when`: `BEFORE INSERT ON users`. `condition`: `new.id = 3`; empty: always.
  trigger(const std::string& url, const std::string& when, effect what, const std::string& message = "",
          const std::string& condition = "");
  trigger(const trigger&) = delete;
  trigger& operator=(const trigger&) = delete;
  ~trigger();

 private:
  database database_;
  std::string table_;
};

}  // namespace accounts_test
