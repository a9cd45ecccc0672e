// SPDX-License-Identifier: Apache-2.0
// GET /metrics and GET /_belay/.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>

#include "support/bank.hpp"
#include "support/upstream.hpp"

using namespace accounts_test;

namespace {

bool has_line(const std::string& page, std::string_view line) {
  return ("\n" + page).find("\n" + std::string(line) + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("metrics: requests by route, what is in use, and what the policies did") {
  upstream other;
  other.set(mood::resetting);
  bank app({"--quotes-url", other.url()});
  const auto user = app.add_user();
  CHECK(app.get("/users/" + std::to_string(user)).status == 200);
  CHECK(app.get("/users/999").status == 404);
  CHECK(app.get("/users/secret-path").status == 422);
  CHECK(app.get("/quotes/ABC").status == 502);
  REQUIRE(app.wait_for_idle());
  const response got = app.get("/metrics");
  CHECK(got.status == 200);
  CHECK(got.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {R"(belay_http_requests_total{route="/users",method="POST",status="201"} 1)",
        R"(belay_http_requests_total{route="/users/{id}",method="GET",status="200"} 1)",
        R"(belay_http_requests_total{route="/users/{id}",method="GET",status="404"} 1)",
        R"(belay_http_requests_total{route="/users/{id}",method="GET",status="422"} 1)",
        R"(belay_in_use{what="connections"} 0)", R"(belay_in_use{what="transactions"} 0)",
        R"(belay_worker_restarts_total{worker="reports"} 0)", "belay_lost_failures_total 0",
        "# TYPE belay_http_request_duration_seconds histogram"}) {
    CHECK_MESSAGE(has_line(got.body, line), line);
  }
  CHECK(got.body.find(R"(belay_policy_events_total{policy="quotes",kind="retry",action="gave_up"} 1)") !=
        std::string::npos);
  CHECK(got.body.find("secret-path") == std::string::npos);
  CHECK(got.body.find("/users/999") == std::string::npos);
}

TEST_CASE("inspector: for this machine, with the tasks as JSON; for others 403") {
  bank app;
  const response page = app.get("/_belay/");
  CHECK(page.status == 200);
  CHECK(page.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(page.body.find("reports") != std::string::npos);
  const response tasks = app.get("/_belay/tasks.json");
  check_json(tasks, 200);
  CHECK(!tasks.json().as_array().empty());
  client connection = app.connect();
  connection.send("GET /_belay/ HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  check_problem(connection.read(), 403, "inspector_forbidden", "/_belay/");
  check_problem(app.get("/_belay/", {{"X-Forwarded-For", "127.0.0.1"}}), 403, "inspector_forbidden",
                "/_belay/");
}

TEST_CASE("inspector: with a token for whoever sends it") {
  const std::string token = "correct-horse-battery";
  bank app({"--inspector-token", token});
  CHECK(app.get("/_belay/", {{"Authorization", "Bearer " + token}}).status == 200);
  check_problem(app.get("/_belay/"), 403, "inspector_forbidden", "/_belay/");
  check_problem(app.get("/_belay/tasks.json", {{"Authorization", "Bearer wrong"}}), 403,
                "inspector_forbidden", "/_belay/tasks.json");
}
