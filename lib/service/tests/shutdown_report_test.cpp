// SPDX-License-Identifier: Apache-2.0
// The shutdown report: phases with budgets, what was cancelled and overran, as text and as a record.

#include "support.hpp"

#include <belay/service/shutdown_report.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::shutdown_report;
using support::contains;
using words = std::vector<std::string>;

namespace {

managed<int> closes_in(belay::duration time) {
  co_yield 0;
  co_await belay::sleep_for(time);
}

// An app in virtual time that is stopped while a request, background work and a worker are under way.
struct busy_day {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here{net};
  support::record_keeper records;
  shutdown_report report;
  std::optional<app> of;

  explicit busy_day(belay::duration request_takes) {
    auto options = support::options();
    options.name = "shop";
    options.on_shutdown_report = [this](const shutdown_report& told) { report = told; };
    of.emplace(options, records.log);
    of->manage("database", closes_in(500ms));
    of->manage("cache", closes_in(20ms), {.close_limit = 2s});
    of->worker("tidy", []() -> task<> { co_await belay::sleep_until(belay::time_point::max()); });
    of->get("/work", [request_takes](service::request& r) -> task<belay::http::response> {
      r.run_after_response("mail", []() -> task<> { co_await belay::sleep_for(1h); });
      co_await belay::sleep_for(request_takes);
      co_return belay::http::response::json(belay::http::status::ok, "{}");
    });
  }
  int run() {
    return loop.run(belay::with_group([this](belay::group& g) -> task<int> {
      belay::child<int> code =
          g.spawn([](app& runs) -> task<int> { co_return co_await runs.run_within(); }, std::ref(*of));
      support::client c = co_await support::connect(*of);
      co_await c.send(support::get("/work"));
      co_await belay::sleep_for(1s);
      of->stop("test over");
      co_return co_await code;
    }));
  }
};

}  // namespace

TEST_CASE(
    "shutdown report: one screen says what stopped when, against which limit, what was cancelled and overran [row 297] [row 450]") {
  busy_day day(3s);
  CHECK(day.run() == service::exit_unclean_shutdown);
  CHECK(day.report.text() ==
        "shop: shutdown (test over) NOT clean, 5520 ms\n"
        "  phase       what              began    took     limit\n"
        "  requests    listen            0 ms     0 ms     -\n"
        "  requests    requests          0 ms     2000 ms  5000 ms\n"
        "  background  background tasks  2000 ms  3000 ms  3000 ms  cancelled after the grace: mail\n"
        "  workers     workers           5000 ms  0 ms     10 s\n"
        "  steps       cache             5000 ms  20 ms    2000 ms\n"
        "  steps       database          5020 ms  500 ms   10 s\n"
        "  overran: background tasks\n"
        "  cancelled: background task mail\n");
}

TEST_CASE("shutdown report: the same as one record") {
  busy_day day(1h);
  CHECK(day.run() == service::exit_unclean_shutdown);
  const words told = day.records.events("shutdown_report");
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], R"("reason":"test over","took_ms":5520)"));
  CHECK(contains(
      told[0],
      R"({"name":"requests","phase":"requests","began_ms":0,"took_ms":5000,"limit_ms":5000,"trouble":"1 was cancelled after the grace"})"));
  CHECK(contains(told[0],
                 R"({"name":"database","phase":"steps","began_ms":5020,"took_ms":500,"limit_ms":10000})"));
  CHECK(contains(
      told[0],
      R"("overran":["requests"],"cancelled":["1 request"],"abandoned_calls":0,"lost_failures":0,"forced":false)"));
}

TEST_CASE("shutdown report: failures that nobody looked at are counted") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  support::record_keeper records;
  shutdown_report report;
  auto options = support::options();
  options.on_shutdown_report = [&report](const shutdown_report& told) { report = told; };
  app a(options, records.log);
  a.step("loses one", [&a]() -> task<> {
    const belay::failure lost = belay::failure::of(std::make_exception_ptr(belay::error("lost")));
    a.stop();
    co_return;
  });
  CHECK(loop.run(a.run_within()) == service::exit_clean);
  CHECK(report.lost_failures == 1);
  CHECK(contains(report.text(), "lost failures: 1"));
  CHECK(loop.lost_errors().size() == 1);
  loop.forget_lost_errors();
}

TEST_CASE("shutdown report: a taker that throws is told in the log, and the end goes on") {
  support::record_keeper records;
  auto options = support::options();
  options.on_shutdown_report = [](const shutdown_report&) { throw belay::error("the disk is full"); };
  app a(options, records.log);
  CHECK(support::serve(a, [](app& of) -> task<> { co_await of.wait_serving(); }) == service::exit_clean);
  REQUIRE(records.events("shutdown_report_not_taken").size() == 1);
  CHECK(contains(records.events("shutdown_report_not_taken")[0], "the disk is full"));
}

TEST_CASE("shutdown report: of many rows those with trouble and the slowest are kept: it stays one screen") {
  shutdown_report report;
  report.reason = "SIGTERM";
  belay::time_point at{};
  for (int i = 0; i != 100; ++i) {
    const belay::duration took = i * 1ms;
    at += took;
    report.add({.name = "step " + std::to_string(i), .took = took, .trouble = i == 7 ? "broke" : ""}, at);
  }
  const std::string text = report.text();
  CHECK(std::count(text.begin(), text.end(), '\n') <= 40);
  CHECK(contains(text, "step 7 "));
  CHECK(contains(text, "step 99 "));
  CHECK_FALSE(contains(text, "step 8 "));
  CHECK(contains(text, "and 68 more, faster ones"));
}
