// SPDX-License-Identifier: Apache-2.0
// The few calls of SQLite and of libpq that the tests need.
#include "database.hpp"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace accounts_test {

class database::connection {
 public:
  connection() = default;
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  virtual ~connection() = default;
  virtual std::vector<std::vector<std::string>> rows(const std::string& sql) = 0;
};

namespace {

using table = std::vector<std::vector<std::string>>;

class sqlite_connection final : public database::connection {
 public:
  explicit sqlite_connection(const std::string& file) {
    if (sqlite3_open_v2(file.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
      const std::string reason = sqlite3_errmsg(handle_);
      sqlite3_close(handle_);
      throw std::runtime_error("open " + file + ": " + reason);
    }
    sqlite3_busy_timeout(handle_, 10'000);
  }
  ~sqlite_connection() override { sqlite3_close(handle_); }

  table rows(const std::string& sql) override {
    sqlite3_stmt* statement = nullptr;
    int code = sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
    table result;
    while (code == SQLITE_OK || code == SQLITE_ROW) {
      code = sqlite3_step(statement);
      if (code != SQLITE_ROW) break;
      auto& row = result.emplace_back();
      for (int column = 0; column < sqlite3_column_count(statement); ++column) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
        row.emplace_back(text != nullptr ? text : "NULL");
      }
    }
    const std::string reason = sqlite3_errmsg(handle_);
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) throw std::runtime_error(sql + ": " + reason);
    return result;
  }

 private:
  sqlite3* handle_ = nullptr;
};

class postgres_connection final : public database::connection {
 public:
  explicit postgres_connection(const std::string& url) : handle_(PQconnectdb(url.c_str()), &PQfinish) {
    if (PQstatus(handle_.get()) != CONNECTION_OK)
      throw std::runtime_error("connect to " + url + ": " + PQerrorMessage(handle_.get()));
    static_cast<void>(rows("SET client_min_messages = warning"));
  }

  table rows(const std::string& sql) override {
    const std::unique_ptr<PGresult, decltype(&PQclear)> got(PQexec(handle_.get(), sql.c_str()), &PQclear);
    const ExecStatusType how = PQresultStatus(got.get());
    if (how != PGRES_COMMAND_OK && how != PGRES_TUPLES_OK)
      throw std::runtime_error(sql + ": " + PQerrorMessage(handle_.get()));
    table result;
    for (int i = 0; i < PQntuples(got.get()); ++i) {
      auto& row = result.emplace_back();
      for (int column = 0; column < PQnfields(got.get()); ++column) {
        row.emplace_back(PQgetisnull(got.get(), i, column) != 0 ? "NULL" : PQgetvalue(got.get(), i, column));
      }
    }
    return result;
  }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> handle_;
};

std::string server_url() {
  const char* const told = std::getenv("ACCOUNTS_TEST_POSTGRES");
  return told == nullptr ? "" : told;
}

std::unique_ptr<database::connection> connect_to(const std::string& url) {
  const std::string sqlite = "sqlite:";
  if (url.starts_with(sqlite)) return std::make_unique<sqlite_connection>(url.substr(sqlite.size()));
  return std::make_unique<postgres_connection>(url);
}

}  // namespace

bool on_postgres() { return !server_url().empty(); }

server_database::server_database() {
  static std::atomic<int> count = 0;
  name_ = "bank_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
  database(server_url() + "/postgres").execute("CREATE DATABASE " + name_);
}

server_database::~server_database() {
  try {
    database(server_url() + "/postgres").execute("DROP DATABASE " + name_ + " WITH (FORCE)");
  } catch (const std::runtime_error&) {
    return;  // it goes with the server
  }
}

std::string server_database::url() const { return server_url() + "/" + name_; }

database::database(const std::string& url) : connection_(connect_to(url)) {}
database::~database() = default;

void database::execute(std::string_view sql) { static_cast<void>(rows(sql)); }

std::vector<std::vector<std::string>> database::rows(std::string_view sql) {
  return connection_->rows(std::string(sql));
}

std::int64_t database::number(std::string_view sql) {
  const auto result = rows(sql);
  if (result.size() != 1 || result[0].size() != 1)
    throw std::runtime_error("not one value: " + std::string(sql));
  return std::stoll(result[0][0]);
}

void begin_reading(database& of) {
  of.execute(on_postgres() ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN");
}

write_lock::write_lock(const std::string& url) : database_(url) {
  if (!on_postgres()) {
    database_.execute("BEGIN IMMEDIATE");
    return;
  }
  database_.execute("BEGIN");
  // Those who only read go on.
  database_.execute(
      "LOCK TABLE users, accounts, deposits, transfers, idempotency_keys, outbox, posts, comments, reports "
      "IN EXCLUSIVE MODE");
}

void write_lock::release() {
  if (held_) database_.execute("ROLLBACK");
  held_ = false;
}

trigger::trigger(const std::string& url, const std::string& when, effect what, const std::string& message,
                 const std::string& condition)
    : database_(url), table_(when.substr(when.rfind(' ') + 1)) {
  const std::string head = "CREATE TRIGGER planted " + when + " FOR EACH ROW " +
                           (condition.empty() ? "" : "WHEN (" + condition + ") ");
  if (on_postgres()) {
    const std::string body = what == effect::fails     ? "RAISE EXCEPTION '" + message + "';"
                             : what == effect::ignored ? "RETURN NULL;"
                                                       : "PERFORM pg_sleep(0.03); RETURN new;";
    database_.execute("CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body +
                      " END $$");
    database_.execute(head + "EXECUTE FUNCTION planted()");
    return;
  }
  // SQLite cannot sleep: it counts.
  const std::string body =
      what == effect::fails ? "SELECT RAISE(FAIL, '" + message + "');"
      : what == effect::ignored
          ? "SELECT RAISE(IGNORE);"
          : "SELECT count(*) FROM ballast a, ballast b, ballast c WHERE a.n + b.n + c.n > 300;";
  if (what == effect::slow) {
    database_.execute("CREATE TABLE ballast(n)");
    database_.execute(
        "INSERT INTO ballast WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 120) "
        "SELECT i FROM c");
  }
  database_.execute(head + "BEGIN " + body + " END");
}

trigger::~trigger() {
  try {
    if (on_postgres()) {
      database_.execute("DROP TRIGGER planted ON " + table_);
      database_.execute("DROP FUNCTION planted()");
    } else {
      database_.execute("DROP TRIGGER planted");
    }
  } catch (const std::runtime_error&) {
    return;  // the test has failed already, or says so now
  }
}

}  // namespace accounts_test
