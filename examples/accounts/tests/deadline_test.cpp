// SPDX-License-Identifier: Apache-2.0
// Belay-Deadline-Ms: a request that cannot finish in time gets 504 and does not happen.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

using clock = std::chrono::steady_clock;

fields deadline(std::string value) { return {{"Belay-Deadline-Ms", std::move(value)}}; }

}  // namespace

TEST_CASE("Belay-Deadline-Ms: a request that is fast enough is served") {
  bank app;
  client connection = app.connect();
  for (const std::string value : {"5000", "3600000"}) {
    check_json(connection.post("/users", json_user("in" + value + "@example.com"), deadline(value)), 201);
    check_json(connection.get("/users", deadline(value)), 200);
  }
}

TEST_CASE("Belay-Deadline-Ms: when it passes 504 comes at once, and the transfer never happens") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  {
    const write_lock lock = app.lock_writes();
    const auto before = clock::now();
    const auto answer = app.transfer(from, to, 40, deadline("100"));
    const auto took = clock::now() - before;
    check_problem(answer, 504, "deadline_exceeded", "/transfers");
    CHECK(took >= milliseconds{95});
    CHECK(took < milliseconds{2'000});              // not the busy timeout, and the lock is still held
    CHECK(app.wait_for_idle(milliseconds{1'000}));  // the query was cancelled, its connection is back
  }
  check_json(app.transfer(from, to, 1), 201);  // queued behind whatever might be left of the first
  CHECK(app.balance(from) == 99);
  CHECK(app.balance(to) == 1);
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM transfers") == 1);
}

TEST_CASE("Belay-Deadline-Ms: holds for users, accounts and deposits as well") {
  bank app;
  const auto account = app.add_account();
  const std::string deposits = "/accounts/" + std::to_string(account) + "/deposits";
  {
    const write_lock lock = app.lock_writes();
    const auto late = deadline("60");
    check_problem(app.post("/users", json_user("late@example.com"), late), 504, "deadline_exceeded",
                  "/users");
    check_problem(app.post("/accounts", R"({"user_id":1})", late), 504, "deadline_exceeded", "/accounts");
    check_problem(app.post(deposits, R"({"amount":5})", late), 504, "deadline_exceeded", deposits);
  }
  check_json(app.post("/users", json_user("late@example.com")), 201);  // the e-mail is free
  CHECK(app.balance(account) == 0);
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM accounts") == 1);
  CHECK(direct.number("SELECT count(*) FROM deposits") == 0);
}

TEST_CASE("Belay-Deadline-Ms: one late request of many on a connection ends nothing else") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client patient = app.connect();
  client hasty = app.connect();
  {
    const write_lock lock = app.lock_writes();
    patient.send(make_post("/transfers", json_transfer(from, to, 10)));
    CHECK(app.wait_for_requests(1));
    check_problem(hasty.post("/transfers", json_transfer(from, to, 20), deadline("60")), 504,
                  "deadline_exceeded", "/transfers");
    CHECK(hasty.get("/health/live").status == 200);  // still the same connection
    CHECK(!patient.has_bytes(milliseconds{0}));
  }
  check_json(patient.read(), 201);
  CHECK(app.balance(to) == 10);
}

TEST_CASE("Belay-Deadline-Ms: after a 504 the same Idempotency-Key executes once") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  {
    const write_lock lock = app.lock_writes();
    const fields late{{"Belay-Deadline-Ms", "60"}, {"Idempotency-Key", "retry"}};
    check_problem(app.transfer(from, to, 10, late), 504, "deadline_exceeded", "/transfers");
  }
  const fields again{{"Idempotency-Key", "retry"}};
  const auto first = app.transfer(from, to, 10, again);
  check_json(first, 201);
  CHECK(app.transfer(from, to, 10, again).json() == first.json());
  CHECK(app.balance(to) == 10);
}

TEST_CASE("Belay-Deadline-Ms: only whole milliseconds from 1 to 3600000") {
  bank app;
  client connection = app.connect();
  for (const std::string value :
       {"", "0", "-1", "+5", "1.5", "abc", "250ms", "0x10", "1e3", "18446744073709551616", "3600001",
        "99999999999999999999999999", "5, 5", "\xd9\xa1"}) {
    CAPTURE(value);
    check_problem(connection.get("/users", deadline(value)), 400, "invalid_deadline", "/users");
    check_problem(connection.post("/users", json_user("x@example.com"), deadline(value)), 400,
                  "invalid_deadline", "/users");
  }
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM users") == 0);
}
