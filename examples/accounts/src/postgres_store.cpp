// SPDX-License-Identifier: Apache-2.0
// The bank's data in PostgreSQL.

#include <belay/db/postgres/error.hpp>
#include <belay/db/postgres/migrate.hpp>
#include <belay/db/postgres/placeholders.hpp>
#include <belay/db/postgres/transaction.hpp>

#include "rules.hpp"
#include "schema.hpp"
#include "store.hpp"

namespace accounts {

namespace {

namespace db = belay::db;
namespace postgres = belay::db::postgres;
using belay::task;

// Statements of a database or of a transaction: both have the same functions.
template <class Target, class Base>
class postgres_statements : public Base {
 public:
  explicit postgres_statements(Target target) noexcept : target_(std::move(target)) {}
  [[nodiscard]] std::string_view for_update() const noexcept override { return " FOR UPDATE"; }
  [[nodiscard]] std::string_view last_id() const noexcept override { return "lastval()"; }
  [[nodiscard]] std::string_view now() const noexcept override { return "clock_timestamp()"; }
  // Transactions run side by side, and the one with the lower id may commit later. So transfers are told in the order of their transactions,
  // and only those of which every earlier transaction has ended.
  [[nodiscard]] std::string_view after_transfer() const noexcept override {
    // After one that there never was: nothing, as after a number that is too high.
    return " WHERE (made_in, id) > (SELECT coalesce(t.made_in, CASE WHEN seen.id = 0 THEN '0'::xid8 "
           "ELSE pg_snapshot_xmax(pg_current_snapshot()) END), seen.id FROM (SELECT ?::bigint AS id) seen "
           "LEFT JOIN transfers t ON t.id = seen.id) AND made_in < pg_snapshot_xmin(pg_current_snapshot()) "
           "ORDER BY made_in, id LIMIT ?";
  }
  [[nodiscard]] std::string_view last_transfer() const noexcept override {
    return " WHERE made_in < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY made_in DESC, id DESC LIMIT 1";
  }

 protected:
  [[nodiscard]] const Target& target() const noexcept { return target_; }

 private:
  task<db::change> run_execute(std::string sql, db::parameters bound) const override {
    co_return co_await target_.execute_with(postgres::numbered(sql), std::move(bound));
  }
  task<db::rows> run_query(std::string sql, db::parameters bound) const override {
    co_return co_await target_.query_with(postgres::numbered(sql), std::move(bound));
  }
  task<std::optional<db::row>> run_query_one(std::string sql, db::parameters bound) const override {
    co_return co_await target_.query_one_with(postgres::numbered(sql), std::move(bound));
  }
  task<std::vector<db::rows>> run_batch(std::vector<batch::statement> all) const override {
    postgres::pipeline together;
    for (batch::statement& one : all) together.add_with(postgres::numbered(one.sql), std::move(one.bound));
    std::vector<db::rows> given;
    for (postgres::result& one : co_await target_.run(std::move(together)))
      given.push_back(std::move(one.rows));
    co_return given;
  }

  Target target_;
};

class postgres_store final : public postgres_statements<postgres::database, store> {
 public:
  using postgres_statements::postgres_statements;

  [[nodiscard]] task<> migrate() const override { co_await postgres::migrate(target(), postgres_schema()); }
  [[nodiscard]] store_statistics statistics() const noexcept override {
    const postgres::pool_statistics now = target().statistics();
    return {.in_use = now.in_use, .idle = now.idle, .waiting = now.waiting, .transactions = now.transactions};
  }

 private:
  // Blocks have no effects outside of the database: they may run again when the server gave one up for another.
  task<> run_transaction(belay::task_function<task<>(const statements&)> body) const override {
    try {
      co_await postgres::repeatable(target(), [&body](postgres::connection& c) -> task<> {
        const postgres_statements<postgres::connection, statements> within(c);
        co_await body(within);
      });
    } catch (const postgres::commit_unknown_error&) {
      throw outcome_unknown();  // with that one as its cause
    }
  }
};

// Who waits for a lock that somebody else does not let go of gives up, as with SQLite: `busy_error`. A URL with `options` of its own says
// that itself.
std::string with_lock_limit(std::string url) {
  const std::size_t query = url.find('?');
  if (query != std::string::npos && url.find("options=", query) != std::string::npos) return url;
  url += query == std::string::npos ? '?' : '&';
  url += "options=-c%20lock_timeout%3D5s";
  return url;
}

}  // namespace

belay::managed<store> open_postgres_store(std::string url) {
  postgres_store opened(co_await belay::use(postgres::open(with_lock_limit(std::move(url)))));
  co_yield opened;
}

}  // namespace accounts
