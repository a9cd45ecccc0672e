// SPDX-License-Identifier: Apache-2.0
// Transfers: one transaction each, and once per idempotency key.

#include <belay/core/outcome.hpp>
#include <belay/db/error.hpp>
#include <boost/json/object.hpp>

#include <algorithm>

#include "json.hpp"
#include "routes.hpp"
#include "rules.hpp"

namespace accounts {

namespace {

namespace http = belay::http;
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

task<std::int64_t> balance_of(const statements& c, std::int64_t account) {
  const auto found = co_await c.query_one(
      "SELECT balance FROM accounts WHERE id = ?" + std::string(c.for_update()), account);
  if (!found) throw account_not_found(account);
  co_return found->get<std::int64_t>("balance");
}

task<belay::db::row> move_money(const statements& c, const order& what) {
  // The rows are locked in the order of their ids, so that two transfers cannot wait for each other.
  const std::int64_t lower = co_await balance_of(c, std::min(what.from, what.to));
  const std::int64_t upper = co_await balance_of(c, std::max(what.from, what.to));
  const auto [from_balance, to_balance] =
      what.from < what.to ? std::pair(lower, upper) : std::pair(upper, lower);
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
task<std::optional<belay::db::row>> made_before(const statements& c, const std::string& key,
                                                const order& what) {
  const auto known =
      co_await c.query_one("SELECT body, transfer_id FROM idempotency_keys WHERE key = ?", key);
  if (!known) co_return std::nullopt;
  if (known->get<std::string>("body") != what.to_text()) throw idempotency_mismatch();
  co_return co_await c.query_one("SELECT " + std::string(transfer_columns) + " FROM transfers WHERE id = ?",
                                 known->get<std::int64_t>("transfer_id"));
}

task<belay::db::row> transfer(const store& db, const order& what, const std::optional<std::string>& key) {
  co_return co_await db.transact([&](const statements& c) -> task<belay::db::row> {
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

bool is_taken(const belay::failure& why) {
  const auto* broken = why.find<belay::db::constraint_error>();
  return broken != nullptr && broken->names("idempotency_keys.key");
}

// Where transactions run side by side, the same key may have been used between the look and the insert. Nothing was done then, and the
// second look finds it.
task<belay::db::row> transfer_once(const store& db, const order& what,
                                   const std::optional<std::string>& key) {
  belay::outcome<belay::db::row> made = co_await belay::as_outcome(transfer(db, what, key));
  if (!made.failed() || !is_taken(made.failure())) co_return std::move(made).value();
  made.failure().observe();
  co_return co_await transfer(db, what, key);
}

task<http::response> create_transfer(belay::service::request& asked, const database& db,
                                     const std::shared_ptr<event_feed>& feed) {
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
  const belay::db::row made = co_await transfer_once(*db, what, key);
  feed->publish();  // also for one that was made before under this key: whoever looks finds nothing new
  co_return answer(http::status::created, to_json(made));
}

}  // namespace

void add_transfer_routes(belay::service::app& app, database db, std::shared_ptr<event_feed> feed) {
  app.post("/transfers", [db, feed = std::move(feed)](belay::service::request& r) -> task<http::response> {
    co_return co_await create_transfer(r, db, feed);
  });
}

}  // namespace accounts
