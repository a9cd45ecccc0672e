// SPDX-License-Identifier: Apache-2.0
// POST /reports and GET /reports/{id}: asked for, made in a thread, kept.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>

#include "support/bank.hpp"

using namespace accounts_test;

namespace {

std::string json_report(std::int64_t user) { return R"({"user_id":)" + std::to_string(user) + "}"; }

/// Asks until the report is not pending any more.
boost::json::value wait_for_report(
    bank& app, std::string_view where, const std::function<void()>& meanwhile = [] {}) {
  client connection = app.connect();
  const auto until = std::chrono::steady_clock::now() + milliseconds{20'000};
  for (;;) {
    meanwhile();
    const auto answer = require(connection.get(where), 200);
    const auto body = answer.json();
    if (body.at("state") != "pending") return body;
    CHECK(answer.header("Retry-After") == "1");
    CHECK(body.at("result").is_null());
    CHECK(body.at("finished_at").is_null());
    if (std::chrono::steady_clock::now() >= until) return body;
    std::this_thread::sleep_for(milliseconds{5});
  }
}

std::string asked(bank& app, std::int64_t user) {
  return require(app.post("/reports", json_report(user)), 202).header("Location").value();
}

/// Gives the owner of account 1 so many transfers that a report takes a while.
void add_many_transfers(bank& app, int count) {
  database direct(app.database_url());
  direct.execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
      std::to_string(count / 2) +
      ") INSERT INTO transfers (from_id, to_id, amount) SELECT 1, 2, 5 FROM n UNION ALL SELECT 2, 1, 5 FROM n");
}

}  // namespace

TEST_CASE("reports: 202 with the place where it will be, then what the transfers add up to") {
  bank app;
  const auto one = app.add_account_with(1'000);
  const auto other = app.add_account_with(1'000);
  for (const std::int64_t amount : {10, 30, 20}) require(app.transfer(one, other, amount), 201);
  require(app.transfer(other, one, 5), 201);
  const auto user = app.get("/accounts/" + std::to_string(one)).json().at("user_id").as_int64();

  const auto made = app.post("/reports", json_report(user));
  check_json(made, 202);
  CHECK(has_members(made.json(), {"id", "user_id", "state", "created_at", "finished_at", "result"}));
  CHECK(made.json().at("state") == "pending");
  CHECK(made.json().at("user_id") == user);
  CHECK(made.header("Location") == "/reports/" + std::to_string(id_of(made)));

  const auto body = wait_for_report(app, *made.header("Location"));
  CHECK(has_members(body, {"id", "user_id", "state", "created_at", "finished_at", "result"}));
  CHECK(body.at("state") == "done");
  CHECK(is_time(body.at("finished_at").as_string()));
  const auto& result = body.at("result");
  CHECK(has_members(result, {"transfers", "received", "sent", "median", "largest", "fingerprint"}));
  CHECK(result.at("transfers") == 4);
  CHECK(result.at("received") == 5);
  CHECK(result.at("sent") == 60);
  CHECK(result.at("median") == 10);
  CHECK(result.at("largest") == 30);
  CHECK(result.at("fingerprint").as_string().size() == 16);
  // The same transfers give the same report.
  CHECK(wait_for_report(app, asked(app, user)).at("result") == result);
}

TEST_CASE("reports: of somebody without transfers") {
  bank app;
  const auto body = wait_for_report(app, asked(app, app.add_user()));
  CHECK(body.at("state") == "done");
  for (const char* name : {"transfers", "received", "sent", "median", "largest"})
    CHECK(body.at("result").at(name) == 0);
}

TEST_CASE("reports: who is not there, and what is none") {
  bank app;
  check_problem(app.post("/reports", json_report(9)), 404, "user_not_found", "/reports");
  check_problem(app.get("/reports/9"), 404, "report_not_found", "/reports/9");
  check_invalid(app.post("/reports", R"({"user_id":0})"), "/reports", {"/user_id"});
  check_invalid(app.post("/reports", "{}"), "/reports", {"/user_id"});
  check_invalid(app.get("/reports/x"), "/reports/x", {"/path/id"});
  CHECK(database(app.database_url()).number("SELECT count(*) FROM reports") == 0);
}

TEST_CASE("reports: many at once are all made, two at a time") {
  bank app;
  app.add_account();
  app.add_account();
  add_many_transfers(app, 2'000);
  std::vector<std::string> places;
  for (int i = 0; i < 20; ++i) places.push_back(asked(app, 1));
  client probe(app.port());
  std::int64_t most = 0;
  const auto look = [&] {
    most =
        std::max(most, require(probe.get("/health/ready"), 200).json().at("in_use").at("reports").as_int64());
  };
  for (const std::string& one : places) CHECK(wait_for_report(app, one, look).at("state") == "done");
  CHECK(most == 2);
}

TEST_CASE("reports: when too many wait, 503 with a time to come back") {
  bank app;
  const auto user = app.add_user();
  // Of a report that cannot be written, none is done.
  std::optional<trigger> stuck;
  stuck.emplace(app.database_url(), "BEFORE UPDATE ON reports", trigger::effect::ignored);
  database(app.database_url())
      .execute(
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
          "INSERT INTO reports (user_id) SELECT " +
          std::to_string(user) + " FROM n");
  const auto answer = app.post("/reports", json_report(user));
  check_problem(answer, 503, "too_many_reports", "/reports");
  CHECK(answer.header("Retry-After") == "5");
  database(app.database_url()).execute("DELETE FROM reports");
  stuck.reset();
  CHECK(wait_for_report(app, asked(app, user)).at("state") == "done");
}

TEST_CASE("reports: one that cannot be made says so, without internals, and the log has it once") {
  bank app;
  const auto user = app.add_user();
  database(app.database_url()).execute("ALTER TABLE transfers RENAME TO transfers_away");
  app.expect_record("report_failed");
  const auto body = wait_for_report(app, asked(app, user));
  database(app.database_url()).execute("ALTER TABLE transfers_away RENAME TO transfers");
  CHECK(has_members(body, {"id", "user_id", "state", "created_at", "finished_at", "result", "problem"}));
  CHECK(body.at("state") == "failed");
  CHECK(body.at("result").is_null());
  CHECK(body.at("problem") == "the report could not be made");
  CHECK(wait_for_report(app, asked(app, user)).at("state") == "done");  // one failure skips no other
}

TEST_CASE("reports: of many that cannot be made, each is tried and told of once") {
  bank app;
  const auto user = app.add_user();
  database(app.database_url()).execute("ALTER TABLE transfers RENAME TO transfers_away");
  std::vector<std::string> places;
  for (int i = 0; i < 60; ++i) {
    app.expect_record("report_failed");
    places.push_back(asked(app, user));
  }
  for (const std::string& one : places) CHECK(wait_for_report(app, one).at("state") == "failed");
  database(app.database_url()).execute("ALTER TABLE transfers_away RENAME TO transfers");
}

TEST_CASE("reports: one that is finished is there after a crash, and one that was pending is made then") {
  bank app;
  app.add_account();
  app.add_account();
  const std::string finished = asked(app, 1);
  const auto before = wait_for_report(app, finished);
  add_many_transfers(app, 60'000);
  const std::string under_way = asked(app, 1);
  app.kill();
  app.start();
  CHECK(app.get(finished).json() == before);
  const auto body = wait_for_report(app, under_way);
  CHECK(body.at("state") == "done");
  CHECK(body.at("result").at("transfers") == 60'000);
}

TEST_CASE("reports: SIGTERM does not wait for one under way, which is made after the next start") {
  bank app;
  app.add_account();
  app.add_account();
  add_many_transfers(app, 100'000);
  const std::string under_way = asked(app, 1);
  app.service().signal(SIGTERM);
  CHECK(app.service().exit_status(milliseconds{5'000}) == 0);
  app.start();
  CHECK(wait_for_report(app, under_way).at("state") == "done");
}
