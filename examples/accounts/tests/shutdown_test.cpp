// SPDX-License-Identifier: Apache-2.0
// SIGTERM and SIGINT: requests that were read are answered, new ones refused, the end is told and has its
// exit status.
#include <doctest/doctest.h>

#include <csignal>
#include <thread>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

bool waits_until_refused(std::uint16_t port) {
  for (int i = 0; i < 400; ++i) {
    try {
      client probe(port);
    } catch (const connection_lost&) {
      return true;
    }
    std::this_thread::sleep_for(milliseconds{5});
  }
  return false;
}

void check_report(const process& service, std::string_view reason) {
  CHECK(service.err().wait_for_end(milliseconds{5'000}));
  const auto report = service.wait_for_event("shutdown_report", milliseconds{0});
  REQUIRE(report);
  CHECK(text_of(*report, "reason") == reason);
  REQUIRE(report->contains("steps"));
  CHECK(!report->at("steps").as_array().empty());
  for (const auto& step : report->at("steps").as_array()) CHECK(!text_of(step.as_object(), "name").empty());
  REQUIRE(report->contains("overran"));
  CHECK(report->at("overran").as_array().empty());
}

}  // namespace

TEST_CASE("shutdown: one SIGTERM or one SIGINT ends an idle service with 0 and a report") {
  for (const auto& [number, name] : {std::pair{SIGTERM, "SIGTERM"}, std::pair{SIGINT, "SIGINT"}}) {
    bank app;
    app.add_user();
    app.service().signal(number);
    CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
    check_report(app.service(), name);
  }
}

TEST_CASE("shutdown: open idle connections do not delay it") {
  bank app;
  std::vector<client> idle;
  for (int i = 0; i < 10; ++i) idle.push_back(app.connect());
  for (client& connection : idle) CHECK(connection.get("/health/live").status == 200);
  client half = app.connect();
  half.send("GET /health/live HTT");
  const auto before = std::chrono::steady_clock::now();
  app.service().signal(SIGTERM);
  CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
  CHECK(std::chrono::steady_clock::now() - before < milliseconds{5'000});  // half of the default grace
}

TEST_CASE("shutdown: while a request is finished, new connections are refused and readiness is 503") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client waiting = app.connect();
  client idle = app.connect();
  CHECK(idle.get("/health/ready").status == 200);
  {
    const write_lock lock = app.lock_writes();
    waiting.send(make_post("/transfers", json_transfer(from, to, 10)));
    REQUIRE(app.wait_for_requests(1));
    app.service().signal(SIGTERM);
    CHECK(waits_until_refused(app.port()));
    // The idle connection was closed, or it is told.
    if (idle.try_send(make_request("GET", "/health/ready"))) {
      if (const auto answer = idle.try_read()) {
        CHECK(answer->status == 503);
        CHECK(answer->json().at("status") != "ready");
      }
    }
    CHECK(app.service().running());
  }
  const auto answer = waiting.read();
  check_json(answer, 201);
  CHECK(answer.closes());
  CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
  check_report(app.service(), "SIGTERM");
  database direct(app.database_url());
  CHECK(direct.number("SELECT balance FROM accounts WHERE id = " + std::to_string(to)) == 10);
}

TEST_CASE("shutdown: repeated SIGTERM does not force it") {
  bank app;
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client waiting = app.connect();
  {
    const write_lock lock = app.lock_writes();
    waiting.send(make_post("/transfers", json_transfer(from, to, 10)));
    REQUIRE(app.wait_for_requests(1));
    for (int i = 0; i < 5; ++i) {
      app.service().signal(SIGTERM);
      std::this_thread::sleep_for(milliseconds{20});
    }
    CHECK(app.service().running());
  }
  check_json(waiting.read(), 201);
  CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
}

TEST_CASE("shutdown: a second SIGINT forces it, 130 within 3 s, though a request hangs") {
  for (const int signals : {2, 3}) {
    CAPTURE(signals);
    bank app;
    app.allow_unread_answers();
    const auto from = app.add_account_with(100);
    const auto to = app.add_account();
    client waiting = app.connect();
    const write_lock lock = app.lock_writes();
    waiting.send(make_post("/transfers", json_transfer(from, to, 10)));
    REQUIRE(app.wait_for_requests(1));
    app.service().signal(SIGINT);
    REQUIRE(waits_until_refused(app.port()));
    CHECK(app.service().running());
    const auto before = std::chrono::steady_clock::now();
    for (int i = 1; i < signals; ++i) app.service().signal(SIGINT);
    CHECK(app.service().exit_status(milliseconds{10'000}) == 130);
    CHECK(std::chrono::steady_clock::now() - before < milliseconds{3'000});
    database direct(app.database_url());
    CHECK(direct.number("SELECT count(*) FROM transfers") == 0);
    app.ended();
  }
}

TEST_CASE("shutdown: a request that overruns the grace is cancelled, and the exit status is 3") {
  bank app({"--grace", "200ms"});
  const auto from = app.add_account_with(100);
  const auto to = app.add_account();
  client waiting(app.port());
  {
    const write_lock lock = app.lock_writes();
    waiting.send(make_post("/transfers", json_transfer(from, to, 10)));
    REQUIRE(app.wait_for_requests(1));
    const auto before = std::chrono::steady_clock::now();
    app.service().signal(SIGTERM);
    CHECK(app.service().exit_status(milliseconds{10'000}) == 3);
    const auto took = std::chrono::steady_clock::now() - before;
    CHECK(took >= milliseconds{190});
    CHECK(took < milliseconds{3'000});
  }
  if (const auto answer = waiting.try_read()) check_problem(*answer, 503, "shutting_down", "/transfers");
  CHECK(app.service().err().wait_for_end(milliseconds{5'000}));
  const auto report = app.service().wait_for_event("shutdown_report", milliseconds{0});
  REQUIRE(report);
  REQUIRE(report->contains("overran"));
  CHECK(!report->at("overran").as_array().empty());
  database direct(app.database_url());
  CHECK(direct.number("SELECT count(*) FROM transfers") == 0);
  app.ended();
}
