// SPDX-License-Identifier: Apache-2.0
// Accounts and deposits.
#include <doctest/doctest.h>

#include <limits>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {
constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
}

TEST_CASE("POST /accounts: opens an empty account of the user") {
  bank app;
  const auto user = app.add_user();
  const auto answer = app.post("/accounts", R"({"user_id":)" + std::to_string(user) + "}");
  check_json(answer, 201);
  const auto account = answer.json();
  CHECK(has_members(account, {"id", "user_id", "balance", "created_at"}));
  CHECK(account.at("id").as_int64() >= 1);
  CHECK(account.at("user_id") == user);
  CHECK(account.at("balance") == 0);
  CHECK(is_time(text_of(account.as_object(), "created_at")));
  CHECK(answer.header("Location") == "/accounts/" + std::to_string(id_of(answer)));

  const auto again = app.get(answer.header("Location").value_or("/"));
  check_json(again, 200);
  CHECK(again.json() == account);
}

TEST_CASE("POST /accounts: 404 for a user that is not there") {
  bank app;
  check_problem(app.post("/accounts", R"({"user_id":1})"), 404, "user_not_found", "/accounts");
  check_problem(app.post("/accounts", R"({"user_id":9223372036854775807})"), 404, "user_not_found",
                "/accounts");
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM accounts") == 0);
}

TEST_CASE("GET /accounts/{id}: 404 for an account that is not there") {
  bank app;
  check_problem(app.get("/accounts/1"), 404, "account_not_found", "/accounts/1");
}

TEST_CASE("POST deposits: adds to the balance and answers with the account") {
  bank app;
  const auto account = app.add_account();
  const std::string target = "/accounts/" + std::to_string(account) + "/deposits";
  const auto first = app.post(target, R"({"amount":250})");
  check_json(first, 201);
  CHECK(has_members(first.json(), {"id", "user_id", "balance", "created_at"}));
  CHECK(id_of(first) == account);
  CHECK(first.json().at("balance") == 250);
  CHECK(app.post(target, R"({"amount":1})").json().at("balance") == 251);
  CHECK(app.balance(account) == 251);
  database direct(app.database_url());
  CHECK(direct.rows("SELECT account_id, amount FROM deposits ORDER BY id") ==
        std::vector<std::vector<std::string>>{{std::to_string(account), "250"},
                                              {std::to_string(account), "1"}});
}

TEST_CASE("POST deposits: 404 for an account that is not there, but bad input is told first") {
  bank app;
  check_problem(app.post("/accounts/7/deposits", R"({"amount":5})"), 404, "account_not_found",
                "/accounts/7/deposits");
  check_invalid(app.post("/accounts/7/deposits", R"({"amount":0})"), "/accounts/7/deposits", {"/amount"});
  check_invalid(app.post("/accounts/x/deposits", R"({"amount":"5"})"), "/accounts/x/deposits",
                {"/path/id", "/amount"});
}

TEST_CASE("POST deposits: a balance never overflows") {
  bank app;
  const auto account = app.add_account_with(largest);
  CHECK(app.balance(account) == largest);
  const std::string target = "/accounts/" + std::to_string(account) + "/deposits";
  check_problem(app.post(target, R"({"amount":1})"), 422, "balance_overflow", target);
  check_problem(app.post(target, R"({"amount":9223372036854775807})"), 422, "balance_overflow", target);
  CHECK(app.balance(account) == largest);
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM deposits") == 1);

  const auto nearly = app.add_account_with(largest - 5);
  const std::string nearly_target = "/accounts/" + std::to_string(nearly) + "/deposits";
  check_problem(app.post(nearly_target, R"({"amount":6})"), 422, "balance_overflow", nearly_target);
  check_json(app.post(nearly_target, R"({"amount":5})"), 201);
  CHECK(app.balance(nearly) == largest);
}
