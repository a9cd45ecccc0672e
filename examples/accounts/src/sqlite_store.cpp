// SPDX-License-Identifier: Apache-2.0
// The bank's data in SQLite.

#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>

#include "schema.hpp"
#include "store.hpp"

namespace accounts {

namespace {

namespace db = belay::db;
namespace sqlite = belay::db::sqlite;
using belay::task;

// Statements of a database or of a transaction: both have the same functions.
template <class Target, class Base>
class sqlite_statements : public Base {
 public:
  explicit sqlite_statements(Target target) noexcept : target_(std::move(target)) {}
  // A transaction holds the lock for writing from its beginning.
  [[nodiscard]] std::string_view for_update() const noexcept override { return {}; }
  [[nodiscard]] std::string_view last_id() const noexcept override { return "last_insert_rowid()"; }
  [[nodiscard]] std::string_view now() const noexcept override {
    return "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
  }
  // One transaction writes at a time: ids rise in the order of the commits.
  [[nodiscard]] std::string_view after_transfer() const noexcept override {
    return " WHERE id > ? ORDER BY id LIMIT ?";
  }
  [[nodiscard]] std::string_view last_transfer() const noexcept override {
    return " ORDER BY id DESC LIMIT 1";
  }

 protected:
  [[nodiscard]] const Target& target() const noexcept { return target_; }

 private:
  BELAY_CORO_WRAPPER task<db::change> run_execute(std::string sql, db::parameters bound) const override {
    return target_.execute_with(std::move(sql), std::move(bound));
  }
  BELAY_CORO_WRAPPER task<db::rows> run_query(std::string sql, db::parameters bound) const override {
    return target_.query_with(std::move(sql), std::move(bound));
  }
  BELAY_CORO_WRAPPER task<std::optional<db::row>> run_query_one(std::string sql,
                                                                db::parameters bound) const override {
    return target_.query_one_with(std::move(sql), std::move(bound));
  }
  task<std::vector<db::rows>> run_batch(std::vector<batch::statement> all) const override {
    std::vector<db::rows> given;
    for (batch::statement& one : all)
      given.push_back(co_await target_.query_with(std::move(one.sql), std::move(one.bound)));
    co_return given;
  }

  Target target_;
};

class sqlite_store final : public sqlite_statements<sqlite::database, store> {
 public:
  using sqlite_statements::sqlite_statements;

  [[nodiscard]] task<> migrate() const override { co_await sqlite::migrate(target(), sqlite_schema()); }
  [[nodiscard]] store_statistics statistics() const noexcept override {
    const sqlite::pool_statistics now = target().statistics();
    return {.in_use = now.in_use, .idle = now.idle, .waiting = now.waiting, .transactions = now.transactions};
  }

 private:
  task<> run_transaction(belay::task_function<task<>(const statements&)> body) const override {
    co_await belay::with(sqlite::transaction(target()), [&body](sqlite::connection& c) -> task<> {
      const sqlite_statements<sqlite::connection, statements> within(c);
      co_await body(within);
    });
  }
};

}  // namespace

belay::managed<store> open_sqlite_store(std::string name) {
  sqlite_store opened(co_await belay::use(sqlite::open(std::move(name))));
  co_yield opened;
}

belay::managed<store> lend_store(sqlite::database open) {
  sqlite_store lent(std::move(open));
  co_yield lent;
}

}  // namespace accounts
