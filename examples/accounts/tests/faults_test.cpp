// SPDX-License-Identifier: Apache-2.0
// Failures inside: the client learns nothing but the trace id, the log everything, and no half transfer
// stays.
#include <doctest/doctest.h>

#include <boost/json/serialize.hpp>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

const std::string secret = "the vault is on fire";

/// Makes the database refuse an operation until it goes.
trigger fault(bank& app, const std::string& when, const std::string& condition = "") {
  return trigger(app.database_url(), when, trigger::effect::fails, secret, condition);
}

void check_internal(bank& app, const response& answer, std::string_view instance) {
  check_problem(answer, 500, "internal", instance);
  CHECK(answer.json().at("detail") == "internal error");
  CHECK(!answer.json().as_object().contains("errors"));
  CHECK(answer.body.find("vault") == std::string::npos);
  const auto line = app.service().err().wait_for_line(
      [&](const std::string& text) {
        return text.find(answer.trace_id()) != std::string::npos && text.find(secret) != std::string::npos;
      },
      milliseconds{2'000});
  CHECK_MESSAGE(line, "the failure is in the log under the trace id of the answer");
}

}  // namespace

TEST_CASE("a failure in the middle of a transfer: 500, and neither account has changed") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  for (const std::string when : {"BEFORE INSERT ON transfers", "AFTER INSERT ON transfers",
                                 "BEFORE UPDATE ON accounts", "AFTER UPDATE ON accounts"}) {
    CAPTURE(when);
    const trigger broken = fault(app, when);
    check_internal(app, app.transfer(from, to, 10), "/transfers");
  }
  // The update of the receiver alone: the sender's was already done.
  for (const std::int64_t account : {to, from}) {
    const trigger broken = fault(app, "AFTER UPDATE ON accounts", "new.id = " + std::to_string(account));
    check_internal(app, app.transfer(from, to, 10, {{"Idempotency-Key", "again"}}), "/transfers");
  }
  CHECK(app.balance(from) == 100);
  CHECK(app.balance(to) == 0);
  check_json(app.transfer(from, to, 10, {{"Idempotency-Key", "again"}}), 201);
  CHECK(app.balance(to) == 10);
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM transfers") == 1);
}

TEST_CASE("a failure in the middle of a deposit: 500, and no money came in") {
  bank app;
  const auto account = app.add_account();
  const std::string target = "/accounts/" + std::to_string(account) + "/deposits";
  for (const std::string when : {"AFTER INSERT ON deposits", "AFTER UPDATE ON accounts"}) {
    CAPTURE(when);
    const trigger broken = fault(app, when);
    check_internal(app, app.post(target, R"({"amount":5})"), target);
  }
  CHECK(app.balance(account) == 0);
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM deposits") == 0);
}

TEST_CASE("failures on one connection: it stays open and works once the fault is gone") {
  bank app;
  client connection = app.connect();
  {
    const trigger broken = fault(app, "BEFORE INSERT ON users");
    for (int i = 0; i < 5; ++i) {
      check_internal(app, connection.post("/users", json_user("ada@example.com")), "/users");
    }
  }
  check_json(connection.post("/users", json_user("ada@example.com")), 201);
}
