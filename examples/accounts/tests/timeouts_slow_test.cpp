// SPDX-License-Identifier: Apache-2.0
// What takes seconds by contract: slow request heads, and a database that stays locked.
#include <doctest/doctest.h>

#include <future>
#include <thread>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {
using clock = std::chrono::steady_clock;
}

TEST_CASE("slow request head: 408 after 10 s, though bytes keep dripping, and the others are served") {
  bank app;
  client stalled = app.connect();
  client dripping = app.connect();
  const auto before = clock::now();
  stalled.send("GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow");
  dripping.send("GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  while (clock::now() - before < milliseconds{9'000}) {
    CHECK(app.get("/health/live").status == 200);
    dripping.send("x");
    std::this_thread::sleep_for(milliseconds{300});
  }
  CHECK(!stalled.has_bytes(milliseconds{0}));
  CHECK(!dripping.has_bytes(milliseconds{0}));
  for (client* connection : {&stalled, &dripping}) {
    const auto answer = connection->read();
    CHECK(clock::now() - before >= milliseconds{9'900});
    CHECK(clock::now() - before < milliseconds{13'000});
    CHECK(answer.status == 408);
    CHECK(answer.json().at("code") == "request_timeout");
    CHECK(answer.closes());
    CHECK(connection->ends());
  }
  CHECK(app.wait_for_idle());
}

TEST_CASE("a database that stays locked: 503 with Retry-After, and the transfer does not happen") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  {
    const write_lock lock = app.lock_writes();
    const auto before = clock::now();
    const auto answer = app.transfer(from, to, 10, {{"Idempotency-Key", "busy"}});
    CHECK(clock::now() - before >= milliseconds{4'500});  // the busy timeout of 5 s
    CHECK(clock::now() - before < milliseconds{9'000});
    check_problem(answer, 503, "unavailable", "/transfers");
    CHECK(!answer.header("Retry-After").value_or("").empty());
  }
  CHECK(app.balance(from) == 100);
  check_json(app.transfer(from, to, 10, {{"Idempotency-Key", "busy"}}), 201);
  CHECK(app.balance(to) == 10);
}
