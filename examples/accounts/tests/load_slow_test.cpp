// SPDX-License-Identifier: Apache-2.0
// 200 clients at once, a third of them rude: the money is conserved and nothing stays in use.
#include <doctest/doctest.h>

#include "support/load.hpp"

using namespace accounts_test;

TEST_CASE(
    "200 clients doing random transfers, a third leaving in mid-request: money conserved, nothing in use") {
  bank app;
  app.allow_unread_answers();
  const auto accounts = open_accounts(app, 20, 1'000);
  load clients(app, accounts, {.clients = 200, .requests = 20, .rude = true});
  CHECK(clients.wait_for_confirmed(100, milliseconds{60'000}));
  CHECK(app.get("/health/ready").status == 200);  // also in the middle of it
  const auto result = clients.finish();
  CHECK(result.confirmed.size() + static_cast<std::size_t>(result.refused) == 133 * 20);
  CHECK(result.rude == 67 * 20);
  CHECK(app.wait_for_idle(milliseconds{10'000}));
  const auto transfers = check_books(app, result);
  CHECK(transfers >= static_cast<std::int64_t>(result.confirmed.size()));

  std::int64_t sum = 0;
  for (const auto account : accounts) sum += app.balance(account);
  CHECK(sum == 20 * 1'000);
}

TEST_CASE("200 connections held open: all are served, and closing them leaves nothing") {
  bank app;
  std::vector<client> connections;
  for (int i = 0; i < 200; ++i) connections.push_back(app.connect());
  for (int round = 0; round < 3; ++round) {
    for (client& connection : connections) connection.send(make_request("GET", "/users"));
    for (client& connection : connections) CHECK(connection.read().status == 200);
  }
  connections.clear();
  CHECK(app.wait_for_idle());
}
