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

// The accounts of the order, in the order of their ids.
void check_funds(const belay::db::rows& accounts, const order& what) {
  const auto balance_of = [&accounts](std::int64_t account) {
    for (const belay::db::row& one : accounts)
      if (one.get<std::int64_t>("id") == account) return one.get<std::int64_t>("balance");
    throw account_not_found(account);
  };
  const std::int64_t lower = balance_of(std::min(what.from, what.to));
  const std::int64_t upper = balance_of(std::max(what.from, what.to));
  const auto [from_balance, to_balance] =
      what.from < what.to ? std::pair(lower, upper) : std::pair(upper, lower);
  if (from_balance < what.amount) throw insufficient_funds(what.from);
  if (to_balance > largest_balance - what.amount) throw balance_overflow(what.to);
}

// Under this key a transfer was made before.
task<belay::db::row> made_before(const statements& c, const belay::db::row& known, const order& what) {
  if (known.get<std::string>("body") != what.to_text()) throw idempotency_mismatch();
  auto made = co_await c.query_one("SELECT " + std::string(transfer_columns) + " FROM transfers WHERE id = ?",
                                   known.get<std::int64_t>("transfer_id"));
  co_return std::move(made).value();
}

task<belay::db::row> transfer_in(const statements& c, const order& what,
                                 const std::optional<std::string>& key) {
  batch look;
  // The rows are locked in the order of their ids, so that two transfers cannot wait for each other.
  look.add("SELECT id, balance FROM accounts WHERE id IN (?, ?) ORDER BY id" + std::string(c.for_update()),
           what.from, what.to);
  // Behind the locks: who had to wait for the transfer under the same key sees it, and not only that the money is gone.
  if (key) look.add("SELECT body, transfer_id FROM idempotency_keys WHERE key = ?", *key);
  const std::vector<belay::db::rows> seen = co_await c.run(std::move(look));
  if (key && !seen.back().empty()) co_return co_await made_before(c, seen.back()[0], what);
  check_funds(seen.front(), what);

  batch move;
  move.add("UPDATE accounts SET balance = balance - ? WHERE id = ?", what.amount, what.from);
  move.add("UPDATE accounts SET balance = balance + ? WHERE id = ?", what.amount, what.to);
  move.add("INSERT INTO transfers (from_id, to_id, amount) VALUES (?, ?, ?) RETURNING " +
               std::string(transfer_columns),
           what.from, what.to, what.amount);
  if (key) {
    // In the same transaction: only what was really done is remembered.
    move.add("INSERT INTO idempotency_keys (key, body, transfer_id) VALUES (?, ?, " +
                 std::string(c.last_id()) + ")",
             *key, what.to_text());
  }
  std::vector<belay::db::rows> done = co_await c.run(std::move(move));
  co_return std::move(done[2]).take(0);
}

task<belay::db::row> transfer(const store& db, const order& what, const std::optional<std::string>& key) {
  co_return co_await db.transact(
      [&](const statements& c) -> task<belay::db::row> { co_return co_await transfer_in(c, what, key); });
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
