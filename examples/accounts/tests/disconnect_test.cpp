// SPDX-License-Identifier: Apache-2.0
// Clients that vanish while their request waits: it is cancelled, at once, and never happens.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

TEST_CASE("disconnect while the request waits: it is cancelled while the lock is still held") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  for (const bool reset : {false, true}) {
    CAPTURE(reset);
    const write_lock lock = app.lock_writes();
    client connection = app.connect();
    connection.send(make_post("/transfers", json_transfer(from, to, 40)));
    REQUIRE(app.wait_for_requests(1));
    reset ? connection.abort() : connection.close();
    // Well below the busy timeout of the database, which would end it too.
    CHECK(app.wait_for_idle(milliseconds{2'000}));
  }
  check_json(app.transfer(from, to, 1), 201);
  CHECK(app.balance(from) == 99);
  CHECK(app.balance(to) == 1);
}

TEST_CASE("disconnect of one: the others that wait are served") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client stays = app.connect();
  {
    const write_lock lock = app.lock_writes();
    stays.send(make_post("/transfers", json_transfer(from, to, 1)));
    REQUIRE(app.wait_for_requests(1));
    for (int i = 0; i < 10; ++i) {
      client leaves = app.connect();
      leaves.send(make_post("/transfers", json_transfer(from, to, 5)));
      REQUIRE(app.wait_for_requests(2));
      leaves.close();
      REQUIRE(app.wait_for_requests(1, milliseconds{2'000}));
    }
  }
  check_json(stays.read(), 201);
  CHECK(app.balance(to) == 1);
}

TEST_CASE("disconnect with further requests in the pipe: none of them happens") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  {
    const write_lock lock = app.lock_writes();
    client connection = app.connect();
    const std::string one = make_post("/transfers", json_transfer(from, to, 1));
    connection.send(one + one + one);
    REQUIRE(app.wait_for_requests(1));
    connection.abort();
    CHECK(app.wait_for_idle(milliseconds{2'000}));
  }
  CHECK(app.balance(from) == 100);
}
