// SPDX-License-Identifier: Apache-2.0
// SIGTERM under load: what was accepted is answered, what was not answered did not happen.
#include <doctest/doctest.h>

#include <csignal>

#include "support/load.hpp"

using namespace accounts_test;

TEST_CASE("SIGTERM under load, three times: each transfer that was done was answered, exit 0") {
  bank app;
  const auto accounts = open_accounts(app, 20, 100'000);
  load_result all;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    load clients(app, accounts, {.clients = 30, .requests = 1'000'000, .ends_with_service = true});
    CHECK(clients.wait_for_confirmed(150, milliseconds{60'000}));
    app.service().signal(SIGTERM);
    CHECK(app.service().exit_status(milliseconds{15'000}) == 0);
    const auto result = clients.finish();
    CHECK(result.lost == 30);
    CHECK(result.wrong.empty());  // no half answers, no other status
    all.confirmed.insert(all.confirmed.end(), result.confirmed.begin(), result.confirmed.end());
    all.wrong.insert(all.wrong.end(), result.wrong.begin(), result.wrong.end());
    // Accepted means done or refused, and every accepted request had its answer: so the counts are the same.
    CHECK(check_books(app, all) == static_cast<std::int64_t>(all.confirmed.size()));
    app.start();
  }
}

TEST_CASE("SIGTERM with requests waiting for the database: all are answered once it is free") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  std::vector<client> waiting;
  {
    const write_lock lock = app.lock_writes();
    for (int i = 0; i < 30; ++i) {
      waiting.push_back(app.connect());
      waiting.back().send(make_post("/transfers", json_transfer(from, to, 1)));
    }
    REQUIRE(app.wait_for_requests(30));
    app.service().signal(SIGTERM);
    std::this_thread::sleep_for(milliseconds{300});
    CHECK(app.service().running());
  }
  for (client& connection : waiting) {
    check_json(connection.read(), 201);
    CHECK(connection.ends());
  }
  CHECK(app.service().exit_status(milliseconds{15'000}) == 0);
  database direct(app.database_url());
  CHECK(direct.number("SELECT balance FROM accounts WHERE id = " + std::to_string(to)) == 30);
}

TEST_CASE("welcome mail: on SIGTERM those of all answered users are written before the end") {
  bank app;
  database direct(app.database_url());
  // So that most are still due when the signal comes.
  const trigger slow_mail(app.database_url(), "BEFORE INSERT ON outbox", trigger::effect::slow);
  std::vector<client> connections;
  for (int i = 0; i < 10; ++i) {
    connections.push_back(app.connect());
    connections.back().send(make_post("/users", json_user("drain" + std::to_string(i) + "@example.com")));
  }
  for (client& connection : connections) check_json(connection.read(), 201);
  app.service().signal(SIGTERM);
  CHECK(app.service().exit_status(milliseconds{15'000}) == 0);
  CHECK(direct.number("SELECT count(*) FROM users") == 10);
  CHECK(direct.number(
            "SELECT count(*) FROM users WHERE (SELECT count(*) FROM outbox WHERE recipient = email) <> 1") ==
        0);
}
