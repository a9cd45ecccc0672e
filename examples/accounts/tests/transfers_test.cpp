// SPDX-License-Identifier: Apache-2.0
// Transfers and their idempotency keys.
#include <doctest/doctest.h>

#include <limits>
#include <thread>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

fields key(std::string value) { return {{"Idempotency-Key", std::move(value)}}; }

struct two_accounts {
  explicit two_accounts(bank& app) : from(app.add_account_with(1000)), to(app.add_account()) {}
  std::int64_t from;
  std::int64_t to;
};

}  // namespace

TEST_CASE("POST /transfers: moves the amount and answers with the transfer") {
  bank app;
  const two_accounts accounts(app);
  const auto answer = app.transfer(accounts.from, accounts.to, 300);
  check_json(answer, 201);
  const auto transfer = answer.json();
  CHECK(has_members(transfer, {"id", "from", "to", "amount", "created_at"}));
  CHECK(transfer.at("id").as_int64() >= 1);
  CHECK(transfer.at("from") == accounts.from);
  CHECK(transfer.at("to") == accounts.to);
  CHECK(transfer.at("amount") == 300);
  CHECK(is_time(text_of(transfer.as_object(), "created_at")));
  CHECK(app.balance(accounts.from) == 700);
  CHECK(app.balance(accounts.to) == 300);
  database direct(app.database_url());
  CHECK(direct.rows("SELECT id, from_id, to_id, amount FROM transfers") ==
        std::vector<std::vector<std::string>>{{std::to_string(id_of(answer)), std::to_string(accounts.from),
                                               std::to_string(accounts.to), "300"}});
}

TEST_CASE("POST /transfers: the whole balance may go, not one unit more") {
  bank app;
  const two_accounts accounts(app);
  check_problem(app.transfer(accounts.from, accounts.to, 1001), 409, "insufficient_funds", "/transfers");
  check_problem(app.transfer(accounts.to, accounts.from, 1), 409, "insufficient_funds", "/transfers");
  CHECK(app.balance(accounts.from) == 1000);
  check_json(app.transfer(accounts.from, accounts.to, 1000), 201);
  CHECK(app.balance(accounts.from) == 0);
  CHECK(app.balance(accounts.to) == 1000);
}

TEST_CASE("POST /transfers: 404 when one of the accounts is not there") {
  bank app;
  const two_accounts accounts(app);
  check_problem(app.transfer(accounts.from, 999, 1), 404, "account_not_found", "/transfers");
  check_problem(app.transfer(999, accounts.to, 1), 404, "account_not_found", "/transfers");
  check_problem(app.transfer(998, 999, 1), 404, "account_not_found", "/transfers");
  CHECK(app.balance(accounts.from) == 1000);
}

TEST_CASE("POST /transfers: not to the same account") {
  bank app;
  const two_accounts accounts(app);
  check_invalid(app.transfer(accounts.from, accounts.from, 1), "/transfers", {"/to"});
  CHECK(app.balance(accounts.from) == 1000);
}

TEST_CASE("POST /transfers: the receiving balance never overflows") {
  bank app;
  const auto rich = app.add_account_with(largest);
  const auto other = app.add_account_with(1);
  check_problem(app.transfer(rich, other, largest), 422, "balance_overflow", "/transfers");
  CHECK(app.balance(rich) == largest);
  CHECK(app.balance(other) == 1);
  check_json(app.transfer(rich, other, largest - 1), 201);
  CHECK(app.balance(other) == largest);
}

TEST_CASE("Idempotency-Key: the same key and body get the same answer, executed once") {
  bank app;
  const two_accounts accounts(app);
  const auto first = app.transfer(accounts.from, accounts.to, 100, key("k-1"));
  check_json(first, 201);
  for (int i = 0; i < 3; ++i) {
    const auto again = app.transfer(accounts.from, accounts.to, 100, key("k-1"));
    check_json(again, 201);
    CHECK(again.json() == first.json());
  }
  const std::string reordered = R"( { "amount" : 100, "to" : )" + std::to_string(accounts.to) +
                                R"(, "from": )" + std::to_string(accounts.from) + " } ";
  CHECK(app.post("/transfers", reordered, key("k-1")).json() == first.json());
  CHECK(app.balance(accounts.to) == 100);

  const auto other_key = app.transfer(accounts.from, accounts.to, 100, key("k-2"));
  CHECK(id_of(other_key) != id_of(first));
  const auto no_key = app.transfer(accounts.from, accounts.to, 100);
  CHECK(id_of(no_key) != id_of(first));
  CHECK(app.balance(accounts.to) == 300);
}

TEST_CASE("Idempotency-Key: the same key with another body is refused") {
  bank app;
  const two_accounts accounts(app);
  require(app.transfer(accounts.from, accounts.to, 100, key("k")), 201);
  check_problem(app.transfer(accounts.from, accounts.to, 101, key("k")), 422, "idempotency_mismatch",
                "/transfers");
  check_problem(app.transfer(accounts.to, accounts.from, 100, key("k")), 422, "idempotency_mismatch",
                "/transfers");
  CHECK(app.balance(accounts.to) == 100);
}

TEST_CASE("Idempotency-Key: a transfer that failed is executed anew") {
  bank app;
  const auto from = app.add_account();
  const auto to = app.add_account();
  check_problem(app.transfer(from, to, 10, key("later")), 409, "insufficient_funds", "/transfers");
  check_problem(app.transfer(from, 999, 10, key("later-2")), 404, "account_not_found", "/transfers");
  require(app.post("/accounts/" + std::to_string(from) + "/deposits", R"({"amount":10})"), 201);
  check_json(app.transfer(from, to, 10, key("later")), 201);
  check_json(app.transfer(from, to, 10, key("later")), 201);
  CHECK(app.balance(to) == 10);
}

TEST_CASE("Idempotency-Key: many at once with one key are one transfer") {
  bank app;
  const two_accounts accounts(app);
  constexpr std::size_t clients = 8;
  std::vector<response> answers(clients);
  {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < clients; ++i) {
      threads.emplace_back([&, i] {
        try {
          answers[i] = app.transfer(accounts.from, accounts.to, 100, key("together"));
        } catch (const std::exception& e) {
          answers[i].body = e.what();
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  for (const auto& answer : answers) {
    check_json(answer, 201);
    CHECK(answer.body == answers[0].body);
  }
  CHECK(app.balance(accounts.to) == 100);
}

TEST_CASE("Idempotency-Key: 1 to 255 visible characters") {
  bank app;
  const two_accounts accounts(app);
  for (const std::string& bad :
       {std::string(), std::string(256, 'k'), std::string("two words"), std::string("k\xc3\xbc")}) {
    CAPTURE(bad);
    check_invalid(app.transfer(accounts.from, accounts.to, 1, key(bad)), "/transfers",
                  {"/header/Idempotency-Key"});
  }
  check_invalid(app.transfer(accounts.from, accounts.to, 0, key("")), "/transfers",
                {"/header/Idempotency-Key", "/amount"});
  check_json(app.transfer(accounts.from, accounts.to, 1, key(std::string(255, 'k'))), 201);
  check_json(app.transfer(accounts.from, accounts.to, 1, key("!\"';--~")), 201);
}
