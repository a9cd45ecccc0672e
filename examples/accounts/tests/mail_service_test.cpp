// SPDX-License-Identifier: Apache-2.0
// The welcome mail with --mail-url: POSTed after the response, tried again, and never the client's affair.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <csignal>
#include <thread>

#include "support/bank.hpp"
#include "support/upstream.hpp"

using namespace accounts_test;

namespace {

bool wait_for_requests(const upstream& other, int count) {
  const auto until = std::chrono::steady_clock::now() + milliseconds{10'000};
  while (other.requests() < count) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds{2});
  }
  return true;
}

std::int64_t rows_of_outbox(bank& app) {
  return database(app.database_url()).number("SELECT count(*) FROM outbox");
}

}  // namespace

TEST_CASE("--mail-url: the mail is POSTed as JSON, with the trace of the request, and not in the outbox") {
  upstream other;
  bank app({"--mail-url", other.url()});
  const response made = app.post("/users", json_user("ada@example.com", "Ada \"L\""));
  check_json(made, 201);
  REQUIRE(wait_for_requests(other, 1));
  REQUIRE(app.wait_for_idle());
  CHECK(other.last().starts_with("POST /v1/quotes HTTP/1.1\r\n"));
  CHECK(other.last().find("Content-Type: application/json") != std::string::npos);
  CHECK(other.last().find("traceparent: 00-" + made.trace_id()) != std::string::npos);
  CHECK(other.last().find("Idempotency-Key: welcome-" + std::to_string(id_of(made))) != std::string::npos);
  REQUIRE(other.bodies().size() == 1);
  const auto mail = boost::json::parse(other.bodies()[0]);
  CHECK(has_members(mail, {"to", "subject", "body"}));
  CHECK(mail.at("to") == "ada@example.com");
  CHECK(!mail.at("subject").as_string().empty());
  CHECK(std::string(mail.at("body").as_string()).find("Ada \"L\"") != std::string::npos);
  CHECK(rows_of_outbox(app) == 0);
}

TEST_CASE("--mail-url: a service that is away for a moment gets the mail, and the log has no failure") {
  upstream other;
  other.set(mood::busy);
  bank app({"--mail-url", other.url()});
  require(app.post("/users", json_user("ada@example.com")), 201);
  REQUIRE(wait_for_requests(other, 1));
  other.set(mood::good);
  REQUIRE(wait_for_requests(other, 2));
  CHECK(app.wait_for_idle());
  const auto bodies = other.bodies();
  CHECK(bodies[0] == bodies[1]);
}

TEST_CASE("--mail-url: when it stays away the client has their 201 at once, and the log has it once") {
  upstream other;
  other.set(mood::resetting);
  bank app({"--mail-url", other.url()});
  const response made = app.post("/users", json_user("ada@example.com"));
  check_json(made, 201);
  app.expect_record("background_task_failed");
  const auto record = app.service().wait_for_event("background_task_failed", milliseconds{10'000});
  REQUIRE(record);
  CHECK(text_of(*record, "trace_id") == made.trace_id());
  CHECK(text_of(*record, "task") == "welcome_mail");
  CHECK(other.requests() == 4);
  CHECK(rows_of_outbox(app) == 0);
}

TEST_CASE("--mail-url: what will not do is not tried again") {
  upstream other;
  other.set(mood::unknown);
  bank app({"--mail-url", other.url()});
  check_json(app.post("/users", json_user("ada@example.com")), 201);
  app.expect_record("background_task_failed");
  REQUIRE(app.service().wait_for_event("background_task_failed", milliseconds{10'000}));
  CHECK(other.requests() == 1);
}

TEST_CASE("--mail-url: at the end the mails under way are waited for") {
  upstream other;
  other.set(mood::busy);  // a second of patience is asked for
  bank app({"--mail-url", other.url()});
  require(app.post("/users", json_user("ada@example.com")), 201);
  REQUIRE(wait_for_requests(other, 1));
  app.service().signal(SIGTERM);
  other.set(mood::good);
  CHECK(app.service().exit_status(milliseconds{10'000}) == 0);
  CHECK(other.requests() == 2);
}
