// SPDX-License-Identifier: Apache-2.0
// Workers of an app: owned by it, restarted when they fail, and never a reason for silence.

#include "support.hpp"

#include <belay/core/finally.hpp>
#include <belay/core/periodic.hpp>
#include <belay/http/problem.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::request;
using support::client;
using support::contains;
using support::get;
using support::record_keeper;
using words = std::vector<std::string>;

namespace {

struct boom : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// In virtual time: `of` serves for so long, then is stopped; gives its exit code.
int serve_for(belay::testing::test_loop& loop, belay::duration length, app& of) {
  return loop.run(belay::with_group([length, &of](belay::group& g) -> task<int> {
    belay::child<int> code =
        g.spawn([](app& a) -> task<int> { co_return co_await a.run_within(); }, std::ref(of));
    co_await belay::sleep_for(length);
    of.stop("test over");
    co_return co_await code;
  }));
}

}  // namespace

TEST_CASE("app: a worker with a schedule runs while the program serves, and is stopped with it [row 314]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  int runs = 0;
  a.worker("purge", belay::every(1min), [&runs]() -> task<> {
    co_await belay::yield();
    ++runs;
  });
  CHECK(serve_for(loop, 10min + 30s, a) == service::exit_clean);
  CHECK(runs == 10);
  REQUIRE(records.events("shutdown_report").size() == 1);
  CHECK(contains(records.events("shutdown_report")[0], "\"name\":\"workers\""));
  CHECK(records.errors() == 0);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "app: workers are cancelled and awaited, the last one first, after requests have been answered [row 314]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  words order;
  app a(support::options(), records.log);
  for (const char* name : {"first", "second"}) {
    a.worker(name, [&order, name]() -> task<> {
      co_await belay::finally([]() -> task<> { co_await belay::sleep_until(belay::time_point::max()); },
                              [&order, name]() -> task<> {
                                co_await belay::sleep_for(1s);
                                order.push_back(name);
                              });
    });
  }
  a.get("/slow", [&order](request&) -> task<http::response> {
    co_await belay::sleep_for(3s);
    order.push_back("answered");
    co_return http::response::json(http::status::ok, "{}");
  });
  loop.run(belay::with_group([&](belay::group& g) -> task<> {
    belay::child<int> code =
        g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
    client c = co_await support::connect(a);
    co_await c.send(get("/slow"));
    co_await belay::sleep_for(1s);
    a.stop("test over");
    CHECK((co_await c.read()).status() == 200);
    CHECK(co_await code == service::exit_clean);
  }));
  CHECK(order == words{"answered", "second", "first"});
}

TEST_CASE("app: a worker that fails is told with its error, and restarted [row 314]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  int starts = 0;
  a.worker("feed", [&starts]() -> task<> {
    ++starts;
    co_await belay::sleep_for(1s);
    if (starts <= 2) throw boom("the feed broke");
    co_await belay::sleep_until(belay::time_point::max());
  });
  CHECK(serve_for(loop, 1min, a) == service::exit_clean);
  CHECK(starts == 3);
  const words told = records.events("worker_restarted");
  REQUIRE(told.size() == 2);
  CHECK(contains(told[0], "the feed broke"));
  CHECK(contains(told[0], "\"worker\":\"feed\""));
  CHECK(contains(told[1], "\"restarts\":2"));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "app: a worker that fails too often ends the program, which drains first; its error is told once [row 314]") {
  for (const std::size_t most : {std::size_t{0}, std::size_t{2}}) {
    CAPTURE(most);
    belay::testing::test_loop loop;
    belay::testing::fake_network net;
    const belay::io::network_override here{net};
    record_keeper records;
    app a(support::options(), records.log);
    int starts = 0;
    bool answered = false;
    a.worker("feed",
             [&starts]() -> task<> {
               ++starts;
               co_await belay::sleep_for(1s);
               throw boom("the feed broke");
             },
             {.most_restarts = most, .first_delay = 0s});
    a.get("/slow", [](request&) -> task<http::response> {
      co_await belay::sleep_for(4s);
      co_return http::response::json(http::status::ok, "{}");
    });
    loop.run(belay::with_group([&](belay::group& g) -> task<> {
      belay::child<int> code =
          g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
      client c = co_await support::connect(a);
      answered = (co_await c.ask(get("/slow"))).status() == 200;
      CHECK(co_await code == service::exit_start_failed);
    }));
    CHECK(answered);
    CHECK(starts == static_cast<int>(most) + 1);
    CHECK(records.events("worker_restarted").size() == most);
    REQUIRE(records.events("service_failed").size() == 1);
    CHECK(contains(records.events("service_failed")[0], "the feed broke"));
    CHECK(records.events("worker_failed").empty());
    REQUIRE(records.events("shutdown_report").size() == 1);
    CHECK(contains(records.events("shutdown_report")[0], "\"reason\":\"a worker failed\""));
    CHECK(loop.lost_errors().empty());
    CHECK(loop.nothing_left());
  }
}

TEST_CASE("app: a worker that fails for good before the program serves ends it as well [row 314]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  a.worker("feed",
           []() -> task<> {
             throw boom("no feed");
             co_return;
           },
           {.most_restarts = 0});
  CHECK(loop.run(a.run_within()) == service::exit_start_failed);
  REQUIRE(records.events("service_failed").size() == 1);
  CHECK(contains(records.events("service_failed")[0], "no feed"));
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "app: cancelled while it drains because a worker failed, the error of the worker is told all the same") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  {
    app a(support::options(), records.log);
    a.worker("feed",
             []() -> task<> {
               throw boom("no feed");
               co_return;
             },
             {.most_restarts = 0});
    a.get("/start", [](request& r) -> task<http::response> {
      r.run_after_response("endless", []() -> task<> { co_await belay::sleep_for(1h); });
      co_return http::response::json(http::status::ok, "{}");
    });
    a.manage("slow", []() -> belay::managed<int> {
      co_yield 0;
      co_await belay::sleep_for(3s);
    }());
    loop.run(belay::with_group([&](belay::group& g) -> task<> {
      g.spawn([](app& of) -> task<> { static_cast<void>(co_await of.run_within()); }, std::ref(a));
      co_await belay::sleep_for(1s);
      g.cancel();
    }));
  }
  CHECK(records.all("no feed").size() == 1);
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("app: a worker that fails while it is stopped makes the shutdown unclean") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  a.worker("feed", []() -> task<> {
    co_await belay::finally([]() -> task<> { co_await belay::sleep_until(belay::time_point::max()); },
                            []() -> task<> {
                              co_await belay::yield();
                              throw boom("cannot close the feed");
                            });
  });
  CHECK(serve_for(loop, 1s, a) == service::exit_unclean_shutdown);
  REQUIRE(records.events("worker_failed").size() == 1);
  CHECK(contains(records.events("worker_failed")[0], "cannot close the feed"));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("app: a worker that does not heed its cancellation overruns, and is named [row 314]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  a.worker("deaf", []() -> task<> {
    co_await belay::shielded(1h, []() -> task<> { co_await belay::sleep_for(1min); }());
  });
  CHECK(serve_for(loop, 1s, a) == service::exit_unclean_shutdown);
  CHECK(records.events("worker_overran").size() == 1);
  CHECK(contains(records.events("shutdown_report")[0], "\"overran\":[\"worker deaf\"]"));
}

TEST_CASE("app: workers, misuse") {
  record_keeper records;
  app a(support::options(), records.log);
  const auto nothing = []() -> task<> { co_return; };
  a.worker("w", nothing);
  CHECK_THROWS_AS(a.worker("w", nothing), belay::misuse_error);
  CHECK_THROWS_AS(a.worker("", nothing), belay::misuse_error);
  CHECK_THROWS_AS(a.worker("x", nothing, {.window = 0s}), belay::misuse_error);
}

TEST_CASE("app: ready tells how often each worker was restarted; one that returns has done its work") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  record_keeper records;
  app a(support::options(), records.log);
  int starts = 0;
  a.worker("once", [&starts]() -> task<> {
    if (++starts == 1) throw boom("not yet");
    co_return;
  });
  loop.run(belay::with_group([&](belay::group& g) -> task<> {
    belay::child<int> code =
        g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
    client c = co_await support::connect(a);
    co_await belay::sleep_for(10s);
    CHECK(contains((co_await c.ask(get("/health/ready"))).body, "\"worker_restarts\":{\"once\":1}"));
    a.stop("test over");
    CHECK(co_await code == service::exit_clean);
  }));
  CHECK(starts == 2);
}
