// SPDX-License-Identifier: Apache-2.0
// What an app counts about itself, and the page with it.

#include <doctest/doctest.h>

#include "support.hpp"

using namespace belay::service;
using namespace std::chrono_literals;
namespace http = belay::http;
using belay::task;
using support::contains;

namespace {

app_options with_page() {
  app_options made = support::options();
  made.metrics_path = "/metrics";
  return made;
}

task<std::string> page_of(support::client& from) {
  const support::answer got = co_await from.ask(support::get("/metrics"));
  CHECK(got.status() == 200);
  co_return got.body;
}

}  // namespace

TEST_CASE("metrics page: requests by the pattern of their route, method and status, never by their path") {
  support::record_keeper told;
  app app(with_page(), told.log);
  app.get("/users/{id}", [](request& r) -> task<http::response> {
    if (r.path("id") == "7") throw http::problem_error(http::status::not_found, "none", "none");
    co_return http::response::json(http::status::ok, "{}");
  });
  app.post("/users", [](request&) -> task<http::response> {
    throw std::runtime_error("secret");
    co_return http::response::empty();
  });
  std::string page;
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    for (const char* path : {"/users/1", "/users/2", "/users/7", "/users/abc?x=y", "/nothing/of/the/kind"})
      co_await c.ask(support::get(path));
    co_await c.ask(support::post("/users", "{}"));
    co_await c.ask(support::post("/users", "{}", "text/plain"));
    co_await c.ask("DELETE /users/1 HTTP/1.1\r\nHost: test\r\n\r\n");
    support::client again = co_await support::connect(a);
    co_await again.ask("BREW /users/1 HTTP/1.1\r\nHost: test\r\n\r\n");
    support::client third = co_await support::connect(a);
    co_await third.ask("nonsense\r\n\r\n");
    support::client last = co_await support::connect(a);
    page = co_await page_of(last);
  });
  const auto has = [&page](std::string_view labels, std::string_view value) {
    const std::string line =
        "belay_http_requests_total{" + std::string(labels) + "} " + std::string(value) + "\n";
    CHECK_MESSAGE(contains(page, line), line << page);
  };
  has(R"(route="/users/{id}",method="GET",status="200")", "3");
  has(R"(route="/users/{id}",method="GET",status="404")", "1");
  has(R"(route="/users",method="POST",status="500")", "1");
  has(R"(route="none",method="GET",status="404")", "1");
  has(R"(route="none",method="POST",status="415")", "1");
  has(R"(route="none",method="DELETE",status="405")", "1");
  has(R"(route="none",method="OTHER",status="405")", "1");
  has(R"(route="none",method="none",status="400")", "1");
  CHECK(contains(page, R"(belay_http_request_duration_seconds_count{route="/users/{id}",method="GET"} 4)"));
  CHECK(contains(page, "belay_http_requests_in_flight 1\n"));
  CHECK(contains(page, "belay_http_connections_accepted_total 4\n"));
  CHECK(contains(page, "belay_ready 1\n"));
  for (const char* secret : {"abc", "nothing", "BREW", "secret", "x=y"}) CHECK_FALSE(contains(page, secret));
}

TEST_CASE("metrics page: a client that leaves is a request without an answer") {
  support::record_keeper told;
  app app(with_page(), told.log);
  belay::event entered;
  app.get("/slow", [&](request&) -> task<http::response> {
    entered.set();
    co_await belay::sleep_for(1h);
    co_return http::response::empty();
  });
  std::string page;
  support::serve(app, [&](belay::service::app& a) -> task<> {
    {
      support::client gone = co_await support::connect(a);
      co_await gone.send(support::get("/slow"));
      co_await entered.wait();
    }
    support::client c = co_await support::connect(a);
    while (!contains(page, "belay_http_undelivered_total{delivery=\"disconnected\"} 1\n")) {
      co_await belay::sleep_for(1ms);
      page = co_await page_of(c);
    }
  });
  CHECK(contains(page, R"(belay_http_requests_total{route="/slow",method="GET",status="none"} 1)"));
}

TEST_CASE("metrics page: gauges, workers, the loop, the process, and numbers of the program's own") {
  support::record_keeper told;
  app app(with_page(), told.log);
  app.gauge("things \"in\" use", [] { return std::size_t{3}; });
  app.worker("purge", [&]() -> task<> { co_await belay::sleep_for(1h); });
  app.metrics().counter("transfers_total", "Transfers.").add(2);
  std::string page;
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    page = co_await page_of(c);
  });
  for (const char* line :
       {"belay_in_use{what=\"things \\\"in\\\" use\"} 3\n",
        "belay_worker_restarts_total{worker=\"purge\"} 0\n", "transfers_total 2\n",
        "belay_background_tasks 0\n", "belay_lost_failures_total 0\n", "# TYPE belay_loop_tasks gauge\n",
        "process_resident_memory_bytes ", "process_open_fds ", "process_cpu_seconds_total ",
        "belay_diagnostics_total{kind=\"loop_blocked\"} 0\n"}) {
    CHECK_MESSAGE(contains(page, line), line << page);
  }
}

TEST_CASE("metrics page: OpenMetrics for who asks for it, and nothing is kept by caches") {
  support::record_keeper told;
  app app(with_page(), told.log);
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    const support::answer plain = co_await c.ask(support::get("/metrics"));
    CHECK(plain.field("Content-Type") == "text/plain; version=0.0.4; charset=utf-8");
    CHECK(plain.field("Cache-Control") == "no-store");
    const support::answer open =
        co_await c.ask(support::get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n"));
    CHECK(open.field("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8");
    CHECK(open.body.ends_with("# EOF\n"));
  });
}

TEST_CASE("metrics page: there is none unless it is asked for") {
  support::record_keeper told;
  app app(support::options(), told.log);
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    CHECK((co_await c.ask(support::get("/metrics"))).status() == 404);
  });
}

TEST_CASE("metrics page: a number that cannot be read is a 500, and the next page is whole") {
  support::record_keeper told;
  app app(with_page(), told.log);
  bool broken = true;
  app.metrics().collect(belay::telemetry::metric_type::gauge, "size", "Size.", [&]() -> double {
    if (broken) throw std::runtime_error("secret");
    return 4;
  });
  support::serve(app, [&](belay::service::app& a) -> task<> {
    support::client c = co_await support::connect(a);
    const support::answer got = co_await c.ask(support::get("/metrics"));
    CHECK(got.status() == 500);
    CHECK_FALSE(contains(got.body, "secret"));
    broken = false;
    CHECK(contains(co_await page_of(c), "size 4\n"));
  });
}
