// SPDX-License-Identifier: Apache-2.0
// Transfers: one transaction each, and once per idempotency key.

#include <belay/db/sqlite/transaction.hpp>
#include <boost/json/object.hpp>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
namespace sqlite = belay::db::sqlite;
using belay::task;

struct order {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t amount = 0;

  // Equal orders have equal text, however their JSON was written.
  [[nodiscard]] std::string to_text() const {
    return std::to_string(from) + ">" + std::to_string(to) + ":" + std::to_string(amount);
  }
};

task<std::int64_t> balance_of(const sqlite::connection& c, std::int64_t account) {
  const auto found = co_await c.query_one("SELECT balance FROM accounts WHERE id = ?", account);
  if (!found) throw account_not_found(account);
  co_return found->get<std::int64_t>("balance");
}

task<belay::db::row> move_money(const sqlite::connection& c, const order& what) {
  const std::int64_t from_balance = co_await balance_of(c, what.from);
  const std::int64_t to_balance = co_await balance_of(c, what.to);
  if (from_balance < what.amount) throw insufficient_funds(what.from);
  if (to_balance > largest_balance - what.amount) throw balance_overflow(what.to);
  co_await c.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", what.amount, what.from);
  co_await c.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", what.amount, what.to);
  auto made =
      co_await c.query_one("INSERT INTO transfers (from_id, to_id, amount) VALUES (?, ?, ?) RETURNING " +
                               std::string(transfer_columns),
                           what.from, what.to, what.amount);
  co_return std::move(made).value();
}

// The transfer that was made under this key, if there was one.
task<std::optional<belay::db::row>> made_before(const sqlite::connection& c, const std::string& key,
                                                const order& what) {
  const auto known =
      co_await c.query_one("SELECT body, transfer_id FROM idempotency_keys WHERE key = ?", key);
  if (!known) co_return std::nullopt;
  if (known->get<std::string>("body") != what.to_text()) throw idempotency_mismatch();
  co_return co_await c.query_one("SELECT " + std::string(transfer_columns) + " FROM transfers WHERE id = ?",
                                 known->get<std::int64_t>("transfer_id"));
}

task<belay::db::row> transfer(const sqlite::database& db, const order& what,
                              const std::optional<std::string>& key) {
  co_return co_await belay::with(sqlite::transaction(db), [&](sqlite::connection& c) -> task<belay::db::row> {
    if (key) {
      if (auto before = co_await made_before(c, *key, what)) co_return std::move(*before);
    }
    belay::db::row made = co_await move_money(c, what);
    if (key) {
      // In the same transaction: only what was really done is remembered.
      co_await c.execute("INSERT INTO idempotency_keys (key, body, transfer_id) VALUES (?, ?, ?)", *key,
                         what.to_text(), made.get<std::int64_t>("id"));
    }
    co_return made;
  });
}

task<http::response> create_transfer(belay::service::request& asked, const database& db) {
  http::validation check;
  http::json_reader body(asked.http(), check);
  const order what{body.required_integer("from", id_rule), body.required_integer("to", id_rule),
                   body.required_integer("amount", amount_rule)};
  const bool has_accounts = !check.failed_at("") && !check.failed_at("/from") && !check.failed_at("/to");
  if (has_accounts && what.from == what.to) {
    check.fail("/to", "must be another account than from");
  }
  std::optional<std::string> key;
  if (const auto given = asked.http().headers.find("Idempotency-Key")) {
    key = std::string(*given);
    check_idempotency_key(*key, check);
  }
  check.finish();
  co_return answer(http::status::created, to_json(co_await transfer(*db, what, key)));
}

}  // namespace

void add_transfer_routes(belay::service::app& app, database db) {
  app.post("/transfers", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await create_transfer(r, db);
  });
}

}  // namespace accounts
