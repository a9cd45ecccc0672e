// SPDX-License-Identifier: Apache-2.0
// Steps that open together, limits of their own, and how far a start has come.

#include "support.hpp"

#include <belay/core/finally.hpp>
#include <belay/service/lifespan.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::lifespan;
using service::shutdown_report;
using support::contains;
using words = std::vector<std::string>;

namespace {

struct open_error : belay::error {
  using error::error;
};

// Takes so long to open and to close, and writes it down.
managed<int> slow(words& said, std::string name, belay::duration opens = 1s, belay::duration closes = 1s) {
  co_await belay::sleep_for(opens);
  said.push_back("open " + name);
  const belay::exit_status how = co_yield 0;
  co_await belay::sleep_for(closes);
  said.push_back("close " + name + (how.failed() ? " failed" : how.cancelled() ? " cancelled" : ""));
}

managed<int> fails_after(belay::duration time, std::string text) {
  co_await belay::sleep_for(time);
  throw open_error(text);
  co_yield 0;
}

struct fixture {
  belay::testing::test_loop loop;
  lifespan steps;
  shutdown_report report;
  std::string failed_step;
  words said;

  belay::outcome<void> run() {
    return loop.run([](fixture& f) -> task<belay::outcome<void>> {
      co_return co_await belay::as_outcome(f.steps.run(
          [&f]() -> task<> {
            f.said.push_back("body");
            co_return;
          },
          f.report, f.failed_step));
    }(*this));
  }
  fixture() {}
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() {
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(report.open.empty());
  }
};

}  // namespace

TEST_CASE("lifespan: steps added together open at the same time and close at the same time, in their place") {
  fixture f;
  f.steps.manage("first", slow(f.said, "first"));
  auto stores = f.steps.together();
  stores.manage("database", slow(f.said, "database", 3s, 2s));
  stores.manage("cache", slow(f.said, "cache", 2s, 3s));
  f.steps.manage("last", slow(f.said, "last"));
  stores.step("warm", [&f]() -> task<> {  // added later, opened in its place
    f.said.push_back("warm");
    co_return;
  });
  CHECK(f.steps.size() == 5);
  CHECK(f.run().succeeded());
  CHECK(f.said == words{"open first", "warm", "open cache", "open database", "open last", "body",
                        "close last", "close database", "close cache", "close first"});
  CHECK(f.loop.elapsed() == (1s + 3s + 1s) + (1s + 3s + 1s));
  CHECK(f.report.clean());
  CHECK(f.report.took == 5s);
  CHECK(f.steps.longest_close(10s) == 30s);
}

TEST_CASE(
    "lifespan: of steps together one fails: those under way are cancelled, those open are closed, all errors are kept, the first names the step [row 316]") {
  fixture f;
  f.steps.manage("before", slow(f.said, "before"));
  auto all = f.steps.together();
  all.manage("quick", slow(f.said, "quick", 1s));
  all.manage("never", slow(f.said, "never", 1h));
  all.manage("bad", fails_after(2s, "no such host"));
  all.manage("worse", []() -> managed<int> {
    co_await belay::finally([]() -> task<> { co_await belay::sleep_for(1h); },
                            []() -> task<> {
                              co_await belay::sleep_for(1s);
                              throw open_error("and cannot be undone");
                            });
    co_yield 0;
  }());
  f.steps.manage("after", slow(f.said, "after"));
  const auto how = f.run();
  REQUIRE(how.failed());
  CHECK(how.failure().message() == "no such host");
  REQUIRE(how.failure().attached().size() == 1);
  CHECK(how.failure().attached()[0].message() == "and cannot be undone");
  CHECK(f.failed_step == "bad");
  CHECK(f.said == words{"open before", "open quick", "close quick failed", "close before failed"});
}

TEST_CASE(
    "lifespan: a step that hangs in the start fails at its own limit, and the error names it, the limit and the await [row 295]") {
  fixture f;
  f.steps.manage("before", slow(f.said, "before"));
  f.steps.manage("database", slow(f.said, "database", 1h), {.start_limit = 3s});
  const auto how = f.run();
  REQUIRE(how.failed());
  CHECK(how.failure().find<belay::timeout_error>() != nullptr);
  const std::string message = how.failure().message();
  CHECK(contains(message, "start of database"));
  CHECK(contains(message, "3000 ms"));
  CHECK(contains(message, "lifespan_limits_test.cpp"));
  CHECK(f.failed_step == "database");
  CHECK(f.loop.elapsed() == 1s + 3s + 1s);
}

TEST_CASE("lifespan: without a limit of its own a step has a minute to open") {
  fixture f;
  f.steps.manage("database", slow(f.said, "database", 1h));
  CHECK(f.run().failure());
  CHECK(f.loop.elapsed() == 1min);
}

TEST_CASE("lifespan: each close has its own limit, longer or shorter than the loop's [row 87]") {
  fixture f;
  f.steps.manage("slow", slow(f.said, "slow", 0s, 30s), {.close_limit = 40s});
  f.steps.manage("stuck", slow(f.said, "stuck", 0s, 1h), {.close_limit = 2s});
  const auto how = f.run();
  REQUIRE(how.failed());
  CHECK(how.failure().find<belay::timeout_error>() != nullptr);
  CHECK(f.said == words{"open slow", "open stuck", "body", "close slow failed"});
  CHECK(f.loop.elapsed() == 32s);
  CHECK(f.report.overran == words{"stuck"});
  CHECK(f.report.steps[0].limit == 2s);
  CHECK(f.report.steps[0].trouble == "did not close within 2000 ms, and was cancelled");
  CHECK(f.report.steps[1].limit == 40s);
  CHECK(f.report.steps[1].began == 2s);
  CHECK(f.report.steps[1].took == 30s);
}

TEST_CASE("lifespan: of those that close together one hangs: the others are not kept from closing") {
  fixture f;
  auto all = f.steps.together();
  all.manage("stuck", slow(f.said, "stuck", 0s, 1h));
  all.manage("fine", slow(f.said, "fine", 0s, 1s));
  CHECK(f.run().failure());
  CHECK(f.said == words{"open stuck", "open fine", "body", "close fine"});
  CHECK(f.loop.elapsed() == 10s);
  CHECK(f.report.overran == words{"stuck"});
}

TEST_CASE("lifespan: a place that is added after the start is misuse, and leaves the steps as they are") {
  fixture f;
  f.steps.step("adds others", [&f]() -> task<> {
    CHECK_THROWS_AS(static_cast<void>(f.steps.together()), belay::misuse_error);
    for (int i = 0; i != 100; ++i) {
      CHECK_THROWS_WITH_AS(f.steps.step("late", []() -> task<> { co_return; }), doctest::Contains("'late'"),
                           belay::misuse_error);
    }
    co_return;
  });
  f.steps.manage("after", slow(f.said, "after"));
  CHECK(f.run().succeeded());
  CHECK(f.steps.size() == 2);
}

TEST_CASE("lifespan: a step without a name, or with a limit of zero, is misuse where it is added") {
  lifespan steps;
  const auto nothing = []() -> task<> { co_return; };
  CHECK_THROWS_AS(steps.step("", nothing), belay::misuse_error);
  CHECK_THROWS_WITH_AS(steps.step("a", nothing, {.start_limit = 0s}), doctest::Contains("'a'"),
                       belay::misuse_error);
  CHECK_THROWS_AS(steps.step("a", nothing, {.close_limit = -1s}), belay::misuse_error);
  CHECK(steps.size() == 0);
}

TEST_CASE(
    "lifespan: steps together, cancelled or failed at any await, or in other orders: all is let go of") {
  struct held {
    int& count;
    explicit held(int& of) : count(of) { ++count; }
    held(const held&) = delete;
    held& operator=(const held&) = delete;
    ~held() { --count; }
  };
  const auto thing = [](int& count, belay::duration time) -> managed<int> {
    co_await belay::sleep_for(time);
    const held guard(count);
    co_yield 1;
    co_await belay::sleep_for(time);
  };
  const auto scenario = [&](belay::testing::stage& s) -> task<> {
    int& open = s.make<int>(0);
    s.expect("nothing is open", [&open] { return open == 0; });
    auto& report = s.make<shutdown_report>();
    auto& failed_step = s.make<std::string>();
    auto& steps = s.make<lifespan>();
    auto all = steps.together();
    all.manage("a", thing(open, 1s));
    all.manage("b", thing(open, 2s));
    all.step("c", []() -> task<> { co_await belay::yield(); });
    steps.manage("d", thing(open, 1s));
    co_await steps.run([]() -> task<> { co_await belay::sleep_for(1s); }, report, failed_step);
  };
  const belay::testing::report found = belay::testing::everywhere(scenario);
  CHECK_MESSAGE(found.ok(), found.text());
  const belay::testing::report orders = belay::testing::explore(scenario, 100, {.inject = false});
  CHECK_MESSAGE(orders.ok(), orders.text());
}

// ---- in an app

namespace {

struct world {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here{net};
  support::record_keeper records;
};

task<support::answer> ask(app& of, std::string what) {
  support::client c(co_await belay::io::connect(co_await of.wait_listening()));
  co_return co_await c.ask(std::move(what));
}

}  // namespace

TEST_CASE(
    "app: while it starts, it is alive, not ready, says which steps are under way, and takes no other request [row 291]") {
  world w;
  words said;
  app a(support::options(), w.records.log);
  const auto db = a.manage("database", slow(said, "database", 1s));
  auto stores = a.together();
  stores.manage("cache", slow(said, "cache", 2s));
  stores.manage("index", slow(said, "index", 3s));
  a.gauge("rows",
          [db] { return static_cast<std::size_t>(*db); });  // would be misuse before the database is open
  bool ran = false;
  a.get("/work", [&ran](service::request&) -> task<belay::http::response> {
    ran = true;
    co_return belay::http::response::json(belay::http::status::ok, "{}");
  });
  w.loop.run(belay::with_group([&](belay::group& g) -> task<> {
    const belay::child<int> code =
        g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
    support::client kept(co_await belay::io::connect(co_await a.wait_listening()));
    CHECK((co_await kept.ask(support::get("/health/live"))).status() == 200);
    const support::answer ready = co_await kept.ask(support::get("/health/ready"));
    CHECK(ready.status() == 503);
    CHECK(contains(ready.body, R"("status":"starting")"));
    CHECK(contains(ready.body, R"("steps":{"open":0,"of":3,"under_way":["database"]})"));
    const support::answer refused = co_await ask(a, support::get("/work"));
    CHECK(refused.status() == 503);
    CHECK(contains(refused.body, R"("code":"starting")"));
    CHECK(refused.field("Retry-After") == "1");
    CHECK_FALSE(ran);
    CHECK(w.records.errors() == 0);  // nothing is wrong
    CHECK(contains(w.records.events("request_failed").at(0), R"("level":"info")"));
    co_await belay::sleep_for(2s);
    CHECK(contains((co_await kept.ask(support::get("/health/ready"))).body,
                   R"("steps":{"open":1,"of":3,"under_way":["cache","index"]})"));
    co_await a.wait_serving();
    CHECK((co_await kept.ask(support::get("/health/ready"))).status() == 200);
    CHECK((co_await kept.ask(support::get("/work"))).status() == 200);
    a.stop();
  }));
  CHECK(w.net.nothing_left());
  CHECK(w.loop.lost_errors().empty());
}

TEST_CASE(
    "app: a step that hangs in the start is one readable record with its limit; exit code 1 [row 295]") {
  world w;
  words said;
  app a(support::options(), w.records.log);
  a.manage("database", slow(said, "database", 1h), {.start_limit = 5s});
  CHECK(w.loop.run(a.run_within()) == service::exit_start_failed);
  const words failed = w.records.events("start_failed");
  REQUIRE(failed.size() == 1);
  CHECK(contains(failed[0], "cannot start: database: timed out after 5000 ms"));
  CHECK(w.net.nothing_left());
}

TEST_CASE("app: in its lame duck time it serves on, and is not ready; then it drains") {
  world w;
  auto options = support::options();
  options.lame_duck = 3s;
  app a(options, w.records.log);
  a.get("/work", [](service::request&) -> task<belay::http::response> {
    co_return belay::http::response::json(belay::http::status::ok, "{}");
  });
  w.loop.run(belay::with_group([&](belay::group& g) -> task<> {
    belay::child<int> code =
        g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
    co_await a.wait_serving();
    a.stop();
    co_await belay::sleep_for(2s);
    const support::answer ready = co_await ask(a, support::get("/health/ready"));
    CHECK(ready.status() == 503);
    CHECK(contains(ready.body, R"("status":"draining")"));
    CHECK((co_await ask(a, support::get("/work"))).status() == 200);
    CHECK(co_await code == service::exit_clean);
  }));
  CHECK(w.loop.elapsed() == 3s);
  CHECK(contains(w.records.events("shutdown_report").at(0), R"({"name":"lame duck","phase":"requests")"));
}
