// SPDX-License-Identifier: Apache-2.0
// /health/live and /health/ready, and what is in use while requests wait.
#include <doctest/doctest.h>

#include "support/bank.hpp"

using namespace accounts_test;

TEST_CASE("/health/live: says ok") {
  bank app;
  const auto answer = app.get("/health/live");
  check_json(answer, 200);
  CHECK(answer.json() == boost::json::value{{"status", "ok"}});
}

TEST_CASE("/health/ready: says ready and that an idle service uses nothing") {
  bank app;
  REQUIRE(app.wait_for_idle());
  const auto answer = app.get("/health/ready");
  check_json(answer, 200);
  const boost::json::value nothing{{"requests", 0},   {"connections", 0},       {"transactions", 0},
                                   {"background", 0}, {"upstream_requests", 0}, {"reports", 0},
                                   {"subscribers", 0}};
  const boost::json::value workers{{"reports", 0}};
  CHECK(answer.json() ==
        boost::json::value{{"status", "ready"}, {"in_use", nothing}, {"worker_restarts", workers}});
}

TEST_CASE("/health/ready: counts what waits for the database, and goes back to nothing") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client waiting = app.connect();
  {
    const write_lock lock = app.lock_writes();
    waiting.send(make_post("/transfers", json_transfer(from, to, 10)));
    CHECK(app.wait_for_requests(1));
    CHECK(app.wait_for_in_use("connections", 1, milliseconds{2'000}));
    CHECK(!waiting.has_bytes(milliseconds{20}));
  }
  check_json(waiting.read(), 201);
  CHECK(app.wait_for_idle());
}

TEST_CASE("a held write lock: delays writes only, the loop never blocks") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  std::vector<client> waiting;
  {
    const write_lock lock = app.lock_writes();
    for (int i = 0; i < 8; ++i) {
      waiting.push_back(app.connect());
      waiting.back().send(make_post("/transfers", json_transfer(from, to, 1)));
    }
    CHECK(app.wait_for_requests(8));
    const auto before = std::chrono::steady_clock::now();
    client reader = app.connect();
    for (int i = 0; i < 5; ++i) {
      check_json(reader.get("/health/live"), 200);
      check_json(reader.get("/accounts/" + std::to_string(from)), 200);
      check_json(reader.get("/users?limit=5"), 200);
      check_json(reader.get("/users/1/dashboard"), 200);
    }
    // Far below the busy timeout, far above what 20 reads take even with sanitizers.
    CHECK(std::chrono::steady_clock::now() - before < milliseconds{2'000});
  }
  for (client& connection : waiting) check_json(connection.read(), 201);
  CHECK(app.balance(to) == 8);
}
