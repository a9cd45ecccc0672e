// SPDX-License-Identifier: Apache-2.0
// How an app starts and ends: grace, failing steps, stopping at any moment.

#include "support.hpp"

#include <belay/core/all.hpp>
#include <belay/core/thread.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

#include <latch>
#include <thread>

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::request;
using support::answer;
using support::client;
using support::contains;
using support::get;
using support::post;
using support::record_keeper;
using words = std::vector<std::string>;

namespace {

constexpr std::string_view trace = "0af7651916cd43dd8448eb211c80319c";
const std::string traced = "traceparent: 00-" + std::string(trace) + "-b7ad6b7169203331-01\r\n";

task<http::response> ok(request&) { co_return http::response::json(http::status::ok, "{}"); }

template <class E>
auto throws(E error) {
  return [error](request&) -> task<http::response> {
    co_await belay::yield();
    throw error;
  };
}

}  // namespace

TEST_CASE("app: background work that outlasts the grace is cancelled and told by name [row 450]") {
  record_keeper records;
  auto options = support::options();
  options.grace = 30ms;
  app a(options, records.log);
  a.get("/start", [](request& r) -> task<http::response> {
    r.run_after_response("endless", []() -> task<> { co_await belay::sleep_for(1h); });
    co_return http::response::json(http::status::ok, "{}");
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          CHECK((co_await c.ask(get("/start", traced))).status() == 200);
        }) == service::exit_unclean_shutdown);
  const words report = records.events("shutdown_report");
  REQUIRE(report.size() == 1);
  CHECK(contains(report[0], "\"overran\":[\"background tasks\"]"));
  CHECK(contains(report[0], "endless"));
  REQUIRE(records.events("background_task_cancelled").size() == 1);
  CHECK(contains(records.events("background_task_cancelled")[0], trace));
}

TEST_CASE("app: a call on a thread that was abandoned, and still runs, is told by name [row 214]") {
  struct gate {
    std::latch begun{1};
    std::latch go{1};
  };
  const auto at = std::make_shared<gate>();
  record_keeper records;
  app a(support::options(), records.log);
  a.get("/slow", [at](request&) -> task<http::response> {
    const auto calls = [](std::shared_ptr<gate> in) -> task<> {
      const auto blocks = [](const std::shared_ptr<gate>& inside) {
        inside->begun.count_down();
        inside->go.wait();
      };
      co_await belay::to_thread(belay::abandon("old library"), blocks, in);
    };
    co_await belay::with_group([&](belay::group& g) -> task<> {
      g.spawn(calls, at);
      co_await belay::yield();
      at->begun.wait();
      g.cancel();
    });
    co_return http::response::json(http::status::ok, "{}");
  });
  std::thread releases;
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          CHECK((co_await c.ask(get("/slow"))).status() == 200);
          // The report is written before the loop's end waits for the thread.
          releases = std::thread([&records, at] {
            while (records.events("shutdown_report").empty()) std::this_thread::sleep_for(1ms);
            at->go.count_down();
          });
        }) == service::exit_unclean_shutdown);
  releases.join();
  CHECK(contains(records.events("shutdown_report").at(0),
                 "\"overran\":[\"abandoned call 'old library' at app_end_test.cpp:"));
}

TEST_CASE(
    "app: with nothing to wait for, a grace of zero is clean; a request that is not complete is nothing to wait for") {
  for (const bool with_clients : {false, true}) {
    CAPTURE(with_clients);
    record_keeper records;
    auto options = support::options();
    options.grace = 0s;
    app a(options, records.log);
    a.get("/ok", ok);
    CHECK(support::serve(a, [&](app& of) -> task<> {
            co_await of.wait_serving();
            if (!with_clients) co_return;
            client idle = co_await support::connect(of);
            CHECK((co_await idle.ask(get("/ok"))).status() == 200);
            client half = co_await support::connect(of);
            co_await half.send("GET /ok HTTP/1.1\r\nHo");
            CHECK((co_await idle.ask(get("/ok"))).status() == 200);
            of.stop();
            CHECK(co_await half.ended());
          }) == service::exit_clean);
    CHECK(records.events("shutdown_report").size() == 1);
  }
}

TEST_CASE(
    "app: a start that fails is one record that names step and reason; what was open is closed; exit code 1 [row 296] [row 316]") {
  record_keeper records;
  bool closed = false;
  app a(support::options(), records.log);
  a.manage("database", [](bool& tell) -> managed<int> {
    co_yield 0;
    tell = true;
  }(closed));
  a.step("migrate", []() -> task<> {
    co_await belay::yield();
    throw belay::error("table users is missing");
  });
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_start_failed);
  CHECK(closed);
  REQUIRE(records.events("start_failed").size() == 1);
  CHECK(contains(records.events("start_failed")[0], "\"step\":\"migrate\""));
  CHECK(contains(records.events("start_failed")[0], "table users is missing"));
  CHECK(records.errors() == 1);
  CHECK(records.events("shutdown_report").empty());
  CHECK(loop.statistics().lost_failures == 0);
}

TEST_CASE("app: a port in use fails the step listen, before any other is opened [row 296]") {
  record_keeper records;
  app first(support::options(), records.log);
  CHECK(support::serve(first, [&](app& of) -> task<> {
          auto options = support::options();
          options.listen = co_await of.wait_serving();
          app second(options, records.log);
          bool opened = false;
          second.manage("database", [](bool& tell) -> managed<int> {
            tell = true;
            co_yield 0;
          }(opened));
          CHECK(co_await second.run_within() == service::exit_start_failed);
          CHECK_FALSE(opened);
          const words failed = records.events("start_failed");
          REQUIRE(failed.size() == 1);
          CHECK(contains(failed[0], "\"step\":\"listen\""));
          CHECK(contains(failed[0], options.listen.to_string()));
          CHECK(contains(failed[0], "in use"));
        }) == service::exit_clean);
}

TEST_CASE("app: a start that fails, and a step that then fails to close: both are told, nothing is lost") {
  record_keeper records;
  app a(support::options(), records.log);
  a.manage("cache", []() -> managed<int> {
    co_yield 0;
    throw belay::error("the cache does not close");
  }());
  a.step("migrate", []() -> task<> {
    throw belay::error("table users is missing");
    co_return;
  });
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_start_failed);
  CHECK(contains(records.events("start_failed").at(0), "\"step\":\"migrate\""));
  CHECK(contains(records.events("shutdown_report").at(0), "the cache does not close"));
  CHECK(loop.statistics().lost_failures == 0);
}

TEST_CASE("app: stopped while it starts, it closes what is open and never listens; that is a clean end") {
  record_keeper records;
  words said;
  app a(support::options(), records.log);
  a.manage("database", [](words& to) -> managed<int> {
    to.push_back("open");
    belay::exit_status how = co_yield 0;
    to.push_back(how.cancelled() ? "cancelled" : "other");
  }(said));
  a.step("slow", [&a]() -> task<> {
    a.stop("changed my mind");
    co_await belay::sleep_for(1h);
  });
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_clean);
  CHECK(said == words{"open", "cancelled"});
  CHECK(records.events("listening").empty());
  CHECK(contains(records.events("shutdown_report").at(0), "changed my mind"));
}

TEST_CASE(
    "app: stopped while it starts, and a step fails to close: exit code 3, and no step failed to open") {
  record_keeper records;
  app a(support::options(), records.log);
  a.manage("cache", []() -> managed<int> {
    co_yield 0;
    throw belay::error("the cache does not close");
  }());
  a.step("slow", [&a]() -> task<> {
    a.stop();
    co_await belay::sleep_for(1h);
  });
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_unclean_shutdown);
  CHECK(records.events("start_failed").empty());
  CHECK(contains(records.events("shutdown_report").at(0), "the cache does not close"));
}

TEST_CASE("app: stopped before it runs, it opens nothing; it runs once") {
  record_keeper records;
  bool opened = false;
  app a(support::options(), records.log);
  a.step("open", [&opened]() -> task<> {
    opened = true;
    co_return;
  });
  a.stop();
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_clean);
  CHECK_FALSE(opened);
  CHECK_THROWS_AS(loop.run(a.run_within()), belay::misuse_error);
}

TEST_CASE(
    "app: a step that fails or overruns while closing: the others are closed, the report names it, exit code 3") {
  for (const bool hangs : {false, true}) {
    CAPTURE(hangs);
    record_keeper records;
    bool closed = false;
    app a(support::options(), records.log);
    a.manage("first", [](bool& tell) -> managed<int> {
      co_yield 0;
      tell = true;
    }(closed));
    a.manage("second", [](bool hang) -> managed<int> {
      co_yield 0;
      if (hang) co_await belay::sleep_for(1h);
      throw belay::error("cannot flush");
    }(hangs));
    belay::loop_options quick;
    quick.cleanup_limit = 20ms;
    CHECK(support::serve(
              a, [](app& of) -> task<> { co_await of.wait_serving(); }, quick) ==
          service::exit_unclean_shutdown);
    CHECK(closed);
    const words report = records.events("shutdown_report");
    REQUIRE(report.size() == 1);
    CHECK(contains(report[0], hangs ? "\"overran\":[\"second\"]" : "cannot flush"));
    CHECK(records.events("shutdown_failed").size() == 1);
  }
}

TEST_CASE("app: when it cannot serve, it says so, opens nothing, and exits with 1") {
  record_keeper records;
  bool opened = false;
  auto options = support::options();
  options.http.max_connections = 0;
  app a(options, records.log);
  a.manage("first", [](bool& tell) -> managed<int> {
    tell = true;
    co_yield 0;
  }(opened));
  belay::loop loop;
  CHECK(loop.run(a.run_within()) == service::exit_start_failed);
  CHECK_FALSE(opened);
  CHECK(records.events("service_failed").size() == 1);
  CHECK(contains(records.events("shutdown_report").at(0), "\"reason\":\"failure\""));
}

TEST_CASE(
    "app: cancelled from outside while it serves: requests and background work are cancelled, steps closed") {
  record_keeper records;
  words said;
  app a(support::options(), records.log);
  a.manage("database", [](words& to) -> managed<int> {
    belay::exit_status how = co_yield 0;
    to.push_back(how.cancelled() ? "cancelled" : "other");
  }(said));
  belay::event started;
  a.get("/background", [](request& r) -> task<http::response> {
    r.run_after_response("endless", []() -> task<> { co_await belay::sleep_for(1h); });
    co_return http::response::json(http::status::ok, "{}");
  });
  a.get("/hang", [&started](request&) -> task<http::response> {
    started.set();
    co_await belay::sleep_for(1h);
    co_return http::response{};
  });
  belay::loop loop;
  loop.run([](app& of, belay::event& begun) -> task<> {
    co_await belay::with_group([&](belay::group& both) -> task<> {
      both.spawn([](app& runs) -> task<> { static_cast<void>(co_await runs.run_within()); }, std::ref(of));
      client c = co_await support::connect(of);
      CHECK((co_await c.ask(get("/background"))).status() == 200);
      co_await c.send(get("/hang"));
      co_await begun.wait();
      both.cancel();
    });
  }(a, started));
  CHECK(said == words{"cancelled"});
  CHECK(loop.statistics().live_tasks == 0);
  CHECK(loop.statistics().lost_failures == 0);
  CHECK(records.events("background_task_cancelled").size() == 1);
}

TEST_CASE(
    "app: stopped at any turn of the loop, a request is either answered or was not executed, and nothing is left") {
  int answered_in_all = 0;
  // A busy loop looks for I/O every 256 turns or so.
  for (int turns = 0; turns < 6000; turns += turns < 40 ? 1 : 97) {
    CAPTURE(turns);
    record_keeper records;
    int executed = 0;
    int mails = 0;
    int answered = 0;
    bool connects = false;
    app a(support::options(), records.log);
    a.manage("database", []() -> managed<int> {
      co_await belay::yield();
      co_yield 0;
      co_await belay::yield();
    }());
    a.get("/work", [&executed, &mails](request& r) -> task<http::response> {
      r.run_after_response("mail", [&mails]() -> task<> {
        co_await belay::yield();
        ++mails;
      });
      co_await belay::yield();
      ++executed;
      co_return http::response::json(http::status::ok, "{}");
    });
    const auto talk = [&answered, &connects](app& of) -> task<> {
      try {
        const belay::io::endpoint at = co_await of.wait_serving();
        connects = true;
        client c(co_await belay::io::connect(at));
        for (;;) {
          if ((co_await c.ask(get("/work"))).status() != 200) co_return;
          ++answered;
        }
      } catch (const belay::io::network_error&) {
        co_return;  // stopped before it came
      }
    };
    belay::loop loop;
    const int code = loop.run([](app& of, auto& client_side, int after, const bool& connected) -> task<int> {
      co_return co_await belay::with_group([&](belay::group& both) -> task<int> {
        auto ends =
            both.spawn([](app& runs) -> task<int> { co_return co_await runs.run_within(); }, std::ref(of));
        auto reads = both.spawn(client_side, std::ref(of));
        for (int i = 0; i != after; ++i) co_await belay::yield();
        of.stop();
        const int ended = co_await ends;
        // Answers may still be on their way; but if the app never served, the client would wait for ever.
        if (!connected) reads.cancel();
        co_return ended;
      });
    }(a, talk, turns, connects));
    CHECK(code == service::exit_clean);
    CHECK(executed == answered);
    CHECK(mails == answered);
    CHECK(loop.statistics().live_tasks == 0);
    CHECK(loop.statistics().lost_failures == 0);
    CHECK(records.errors() == 0);
    CHECK(records.events("shutdown_report").size() == 1);
    answered_in_all += answered;
  }
  CHECK(answered_in_all > 0);
}

TEST_CASE("app: cancelled at any turn of the loop, its steps are closed and nothing is left") {
  for (int turns = 0; turns < 6000; turns += turns < 40 ? 1 : 97) {
    CAPTURE(turns);
    record_keeper records;
    int open = 0;
    app a(support::options(), records.log);
    for (const char* name : {"one", "two"}) {
      a.manage(name, [](int& count) -> managed<int> {
        co_await belay::yield();
        ++count;
        co_yield 0;
        co_await belay::yield();
        --count;
      }(open));
    }
    a.get("/work", [](request& r) -> task<http::response> {
      r.run_after_response("mail", []() -> task<> { co_await belay::yield(); });
      co_await belay::yield();
      co_return http::response::json(http::status::ok, "{}");
    });
    belay::loop loop;
    loop.run([](app& of, int after) -> task<> {
      co_await belay::with_group([&](belay::group& both) -> task<> {
        both.spawn([](app& runs) -> task<> { static_cast<void>(co_await runs.run_within()); }, std::ref(of));
        both.spawn(
            [](app& to) -> task<> {
              client c = co_await support::connect(to);
              while ((co_await c.ask(get("/work"))).status() == 200) {
              }
            },
            std::ref(of));
        for (int i = 0; i != after; ++i) co_await belay::yield();
        both.cancel();
      });
    }(a, turns));
    CHECK(open == 0);
    CHECK(loop.statistics().live_tasks == 0);
    CHECK(loop.statistics().timers == 0);
    CHECK(loop.statistics().lost_failures == 0);
    CHECK(records.events("background_task_failed").empty());
  }
}
