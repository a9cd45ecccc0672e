// SPDX-License-Identifier: Apache-2.0
// kill -9 under load and start again: what a client saw confirmed is there, the money is conserved.
#include <doctest/doctest.h>

#include "support/load.hpp"

using namespace accounts_test;

TEST_CASE("kill -9 under load, three times: every confirmed transfer is there and the books balance") {
  bank app;
  const auto accounts = open_accounts(app, 20, 100'000);
  load_result all;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    load clients(app, accounts, {.clients = 20, .requests = 1'000'000, .ends_with_service = true});
    CHECK(clients.wait_for_confirmed(200, milliseconds{60'000}));
    app.kill();
    const auto result = clients.finish();
    CHECK(result.lost + static_cast<std::int64_t>(result.wrong.size()) == 20);
    CHECK(result.confirmed.size() >= 200);
    all.confirmed.insert(all.confirmed.end(), result.confirmed.begin(), result.confirmed.end());
    for (const auto& wrong : result.wrong) {
      // A killed service may leave half an answer behind: nobody saw that one confirmed.
      CHECK_MESSAGE(wrong.find("the connection ended within") != std::string::npos, wrong);
    }
    app.start();
    const auto transfers = check_books(app, all);
    // At most one request of each client was under way, and may have been done without its answer.
    CHECK(transfers >= static_cast<std::int64_t>(all.confirmed.size()));
    CHECK(transfers <= static_cast<std::int64_t>(all.confirmed.size()) + 20 * (round + 1));
    CHECK(app.wait_for_idle());
  }
  std::int64_t sum = 0;
  for (const auto account : accounts) sum += app.balance(account);
  CHECK(sum == 20 * 100'000);
}

TEST_CASE("kill -9: users, deposits and idempotency keys that were confirmed are there") {
  bank app;
  const auto from = app.add_account_with(500);
  const auto to = app.add_account();
  const fields key{{"Idempotency-Key", "across the crash"}};
  const fields good_key{{"Idempotency-Key", "across-the-crash"}};
  require(app.transfer(from, to, 20, key), 422);
  const auto transfer = require(app.transfer(from, to, 20, good_key), 201);
  const auto user = require(app.post("/users", json_user("last@example.com")), 201);
  app.kill();
  app.start();
  CHECK(app.get("/users/" + std::to_string(id_of(user))).json() == user.json());
  CHECK(app.transfer(from, to, 20, good_key).json() == transfer.json());
  CHECK(app.balance(from) == 480);
  CHECK(app.balance(to) == 20);
}

TEST_CASE("kill -9 while transfers wait for the lock: none of them happened") {
  bank app;
  const auto from = app.add_account_with(500);
  const auto to = app.add_account();
  std::vector<client> waiting;
  {
    const write_lock lock = app.lock_writes();
    for (int i = 0; i < 5; ++i) {
      waiting.push_back(app.connect());
      waiting.back().send(make_post("/transfers", json_transfer(from, to, 1)));
    }
    REQUIRE(app.wait_for_requests(5));
    app.kill();
  }
  for (client& connection : waiting) CHECK(!connection.try_read());
  app.start();
  CHECK(app.balance(from) == 500);
  CHECK(app.balance(to) == 0);
}
