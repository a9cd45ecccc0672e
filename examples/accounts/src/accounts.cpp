// SPDX-License-Identifier: Apache-2.0
// Accounts and what is paid into them.

#include <boost/json/object.hpp>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
using belay::task;

task<http::response> create_account(belay::service::request& asked, const database& db) {
  http::validation check;
  http::json_reader body(asked.http(), check);
  const std::int64_t user_id = body.required_integer("user_id", id_rule);
  check.finish();
  const belay::db::row created = co_await db->transact([&](const statements& c) -> task<belay::db::row> {
    if (!co_await c.query_one("SELECT 1 FROM users WHERE id = ?", user_id)) throw user_not_found(user_id);
    auto row = co_await c.query_one(
        "INSERT INTO accounts (user_id) VALUES (?) RETURNING " + std::string(account_columns), user_id);
    co_return std::move(row).value();
  });
  http::response response = answer(http::status::created, to_json(created));
  response.headers.add("Location", "/accounts/" + std::to_string(created.get<std::int64_t>("id")));
  co_return response;
}

task<http::response> deposit(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  http::json_reader body(asked.http(), check);
  const std::int64_t amount = body.required_integer("amount", amount_rule);
  check.finish();
  const belay::db::row after = co_await db->transact([&](const statements& c) -> task<belay::db::row> {
    const auto before =
        co_await c.query_one("SELECT balance FROM accounts WHERE id = ?" + std::string(c.for_update()), id);
    if (!before) throw account_not_found(id);
    if (before->get<std::int64_t>("balance") > largest_balance - amount) throw balance_overflow(id);
    co_await c.execute("INSERT INTO deposits (account_id, amount) VALUES (?, ?)", id, amount);
    auto row = co_await c.query_one(
        "UPDATE accounts SET balance = balance + ? WHERE id = ? RETURNING " + std::string(account_columns),
        amount, id);
    co_return std::move(row).value();
  });
  co_return answer(http::status::created, to_json(after));
}

task<http::response> get_account(belay::service::request& asked, const database& db) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  check.finish();
  const auto found =
      co_await db->query_one("SELECT " + std::string(account_columns) + " FROM accounts WHERE id = ?", id);
  if (!found) throw account_not_found(id);
  co_return answer(http::status::ok, to_json(*found));
}

}  // namespace

void add_account_routes(belay::service::app& app, database db) {
  app.post("/accounts", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await create_account(r, db);
  });
  app.post("/accounts/{id}/deposits",
           [db](belay::service::request& r) -> task<http::response> { co_return co_await deposit(r, db); });
  app.get("/accounts/{id}", [db](belay::service::request& r) -> task<http::response> {
    co_return co_await get_account(r, db);
  });
}

}  // namespace accounts
