// SPDX-License-Identifier: Apache-2.0
// Dependencies: opened once for a request, told how the handler ended, closed in reverse, before or after the response.

#include <belay/core/sleep.hpp>
#include <belay/service/typed.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::dep;
using service::header;
using service::request;
using service::scope;
using support::answer;
using support::client;
using support::contains;
using words = std::vector<std::string>;

namespace {

// What happened, in order.
struct diary {
  words lines;
  void add(std::string line) { lines.push_back(std::move(line)); }
};

struct session {
  diary* of;
  int number = 0;
};
struct user {
  std::string name;
};
struct audit {
  int n = 0;
};

struct world {
  diary seen;
  support::record_keeper records;
  app of{support::options(), records.log};

  world() {
    of.provide<session>([this]() -> managed<session> {
      seen.add("begin");
      session one{&seen};
      const belay::exit_status how = co_yield one;
      co_await belay::sleep_for(1ms);
      seen.add(how.succeeded() ? "commit" : how.failed() ? "rollback" : "cancelled");
    });
  }
  // Asks, one after the other, and gives the answers.
  std::vector<answer> ask(words requests) {
    std::vector<answer> got;
    CHECK(support::serve(of, [&](app& to) -> task<> {
            client one = co_await support::connect(to);
            for (std::string& text : requests) {
              got.push_back(co_await one.ask(std::move(text)));
              seen.add("answered");
            }
          }) == service::exit_clean);
    return got;
  }
};

struct gone_wrong : belay::error {
  gone_wrong() : error(belay::error_kind::conflict, "gone_wrong", "it went wrong") {}
};

}  // namespace

TEST_CASE("dependencies: a session commits before the response when the handler succeeds [row 437]") {
  world w;
  w.of.get("/{id}", [](dep<session> db, int id) -> task<int> {
    db->of->add("handler");
    co_return id;
  });
  const auto got = w.ask({support::get("/7")});
  CHECK(got.at(0).body == "7");
  CHECK(w.seen.lines == words{"begin", "handler", "commit", "answered"});
}

TEST_CASE("dependencies: a session rolls back when the handler fails, or its result cannot be sent") {
  world w;
  w.of.on_error<gone_wrong>(http::status::conflict, "gone_wrong");
  w.of.get("/fails", [](dep<session>) -> task<int> {
    co_await belay::sleep_for(1ms);
    throw gone_wrong();
  });
  w.of.get("/nan", [](dep<session>) -> task<double> { co_return 0.0 / 0.0; });
  const auto got = w.ask({support::get("/fails"), support::get("/nan")});
  CHECK(got.at(0).status() == 409);
  CHECK(got.at(1).status() == 500);
  CHECK(w.seen.lines == words{"begin", "rollback", "answered", "begin", "rollback", "answered"});
}

TEST_CASE("dependencies: one that fails to close turns the response into an error, and has one record") {
  world w;
  w.of.provide<audit>([&w](request& r) -> managed<audit> {
    audit one;
    co_yield one;
    r.response_headers().set("X-Late", "yes");
    w.seen.add("closing");
    throw gone_wrong();
  });
  w.of.get("/", [](dep<audit>, dep<session>) -> task<int> { co_return 1; });
  const auto got = w.ask({support::get("/")});
  CHECK(got.at(0).status() == 409);
  CHECK(got.at(0).field("X-Late").empty());
  // Each is told how the handler ended: the session had committed before.
  CHECK(w.seen.lines == words{"begin", "commit", "closing", "answered"});
  CHECK(w.records.events("request_failed").size() == 1);
}

TEST_CASE("dependencies: one before the response can still change it [row 437]") {
  world w;
  w.of.provide<audit>([](request& r) -> managed<audit> {
    audit one;
    co_yield one;
    r.response_headers().set("X-Cost", std::to_string(one.n));
  });
  w.of.get("/", [](dep<audit> a) -> task<int> { co_return a->n = 3; });
  CHECK(w.ask({support::get("/")}).at(0).field("X-Cost") == "3");
}

TEST_CASE("dependencies: opened once, in the order of need, shared, closed in reverse") {
  world w;
  w.of.provide<user>([&w](dep<session> db, header<"X-User", std::string> name) -> managed<user> {
    ++db->number;
    w.seen.add("user " + *name);
    user one{*name};
    co_yield one;
    w.seen.add("user closed");
  });
  w.of.provide<audit>(
      [](dep<session> db, dep<user> who) { return audit{db->number + int(who->name.size())}; });
  w.of.get("/", [](dep<audit> a, dep<user> who, dep<session> db) -> task<std::string> {
    co_return who->name + std::to_string(a->n) + std::to_string(db->number);
  });
  const auto got = w.ask({support::get("/", "X-User: ann\r\n")});
  CHECK(got.at(0).body == "\"ann41\"");
  CHECK(w.seen.lines == words{"begin", "user ann", "user closed", "commit", "answered"});
}

TEST_CASE("dependencies: what is wrong with their parameters is found with all else, before anything opens") {
  world w;
  w.of.provide<user>(
      [](dep<session>, header<"X-User", std::string> name) -> task<user> { co_return user{*name}; });
  w.of.get("/{id}", [](int id, dep<user>) -> task<int> { co_return id; });
  const auto got = w.ask({support::get("/x")});
  CHECK(got.at(0).status() == 422);
  CHECK(contains(got.at(0).body, "/path/id"));
  CHECK(contains(got.at(0).body, "/header/X-User"));
  CHECK(w.seen.lines == words{"answered"});
}

TEST_CASE("dependencies: one that refuses ends the request; what was open is told") {
  world w;
  w.of.provide<user>([](dep<session>) -> task<user> {
    co_await belay::fail(http::problem_error(http::status::unauthorized, "who", "who are you?"));
    __builtin_unreachable();
  });
  w.of.get("/", [](dep<user>) -> task<int> { co_return 1; });
  CHECK(w.ask({support::get("/")}).at(0).status() == 401);
  CHECK(w.seen.lines == words{"begin", "rollback", "answered"});
}

TEST_CASE("dependencies: request scope closes after the response and the background work [row 437]") {
  world w;
  w.of.provide<audit>(
      [&w](request& r) -> managed<audit> {
        audit one;
        const belay::exit_status how = co_yield one;
        w.seen.add(std::string(how.succeeded() ? "audit ok " : "audit failed ") + r.http().path +
                   std::string(r.path("id").value_or("?")));
      },
      scope::request);
  w.of.get("/x/{id}", [&w](request& r, dep<audit> a, dep<session>) -> task<int> {
    r.run_after_response("mail", [&w, a]() -> task<> {
      co_await belay::sleep_for(20ms);
      w.seen.add("mail " + std::to_string(++a->n));
    });
    co_return 1;
  });
  CHECK(w.ask({support::get("/x/7")}).at(0).status() == 200);
  CHECK(w.seen.lines == words{"begin", "commit", "answered", "mail 1", "audit ok /x/77"});
}

TEST_CASE("dependencies: what stays open after responses is bounded, and is named after its route") {
  service::app_options options = support::options();
  options.most_background_tasks = 2;
  support::record_keeper records;
  app of(options, records.log);
  of.provide<audit>(
      []() -> managed<audit> {
        audit one;
        co_yield one;
        co_await belay::sleep_for(1s);
      },
      scope::request);
  std::vector<int> statuses;
  words open;
  of.get("/x/{id}", [](dep<audit>) -> task<int> { co_return 1; });
  of.get("/plain", [](request&) -> task<http::response> { co_return http::response::empty(); });
  support::serve(of, [&](app& to) -> task<> {
    client one = co_await support::connect(to);
    for (const char* path : {"/x/1", "/x/2", "/x/3", "/plain"})
      statuses.push_back((co_await one.ask(support::get(path))).status());
    co_await belay::sleep_for(3s);
    statuses.push_back((co_await one.ask(support::get("/x/4"))).status());
  });
  CHECK(statuses == std::vector<int>{200, 200, 503, 204, 200});
  CHECK(contains(records.events("request_failed").at(0), "background_overload"));
}

TEST_CASE("dependencies: the report names what stays open by its route") {
  service::app_options options = support::options();
  options.grace = 1s;
  support::record_keeper records;
  app of(options, records.log);
  of.provide<audit>(
      []() -> managed<audit> {
        audit one;
        co_yield one;
        co_await belay::sleep_for(1min);
      },
      scope::request);
  of.get("/x/{id}", [](dep<audit>) -> task<int> { co_return 1; });
  support::serve(of, [&](app& to) -> task<> {
    client one = co_await support::connect(to);
    for (const char* path : {"/x/1", "/x/2"}) co_await one.ask(support::get(path));
  });
  const words told = records.events("shutdown_report");
  REQUIRE(told.size() == 1);
  CHECK(contains(told[0], "dependencies of GET /x/{id} (2)"));
}

TEST_CASE("dependencies: request scope closes at once, with the failure, when the handler fails") {
  world w;
  w.of.provide<audit>(
      [&w]() -> managed<audit> {
        audit one;
        const belay::exit_status how = co_yield one;
        w.seen.add(how.failed() ? "audit failed" : "audit ok");
      },
      scope::request);
  w.of.get("/", [](dep<audit>) -> task<int> {
    co_await belay::sleep_for(1ms);
    throw gone_wrong();
  });
  CHECK(w.ask({support::get("/")}).at(0).status() == 409);
  CHECK(w.seen.lines == words{"audit failed", "answered"});
}

TEST_CASE(
    "dependencies: background work added when it is too late is an error in the log, not silent [row 455]") {
  world w;
  w.of.provide<audit>(
      [&w](request& r) -> managed<audit> {
        audit one;
        co_yield one;
        r.run_after_response("late", [&w]() -> task<> {
          w.seen.add("never");
          co_return;
        });
      },
      scope::request);
  w.of.get("/", [](dep<audit>) -> task<int> { co_return 1; });
  CHECK(w.ask({support::get("/")}).at(0).status() == 200);
  CHECK(w.seen.lines == words{"answered"});
  CHECK(w.records.events("dependency_close_failed").size() == 1);
  CHECK(w.records.all("\\\"late\\\" comes too late").size() == 1);
}

TEST_CASE("dependencies: background work added by one that closes before the response is done") {
  world w;
  w.of.provide<audit>([&w](request& r) -> managed<audit> {
    audit one;
    co_yield one;
    r.run_after_response("in time", [&w]() -> task<> {
      w.seen.add("done");
      co_return;
    });
  });
  w.of.get("/", [](dep<audit>) -> task<int> { co_return 1; });
  w.ask({support::get("/")});
  // The answer is on its way before the work begins; who of the two is quicker is open.
  std::sort(w.seen.lines.begin(), w.seen.lines.end());
  CHECK(w.seen.lines == words{"answered", "done"});
}

TEST_CASE("dependencies: a client that leaves cancels the handler; the session is told") {
  world w;
  w.of.get("/", [](dep<session>) -> task<int> {
    co_await belay::sleep_for(10s);
    co_return 1;
  });
  CHECK(support::serve(w.of, [&](app& to) -> task<> {
          client one = co_await support::connect(to);
          co_await one.send(support::get("/"));
          while (w.seen.lines.empty()) co_await belay::sleep_for(1ms);
          one.close();
          while (w.seen.lines.size() < 2) co_await belay::sleep_for(1ms);
        }) == service::exit_clean);
  CHECK(w.seen.lines == words{"begin", "cancelled"});
  CHECK(w.records.errors() == 0);
}

TEST_CASE("dependencies: overridden in tests") {
  world w;
  w.of.get("/", [](dep<session> db) -> task<int> { co_return db->number; });
  w.of.override_dependency<session>([&w]() { return session{&w.seen, 42}; });
  CHECK(w.ask({support::get("/")}).at(0).body == "42");
  CHECK_THROWS_AS(w.of.override_dependency<session>([&w]() { return session{&w.seen}; }),
                  belay::misuse_error);
}

TEST_CASE("dependencies: what cannot work is refused before the app serves, by name") {
  const auto message = [](void (*add)(app&)) -> std::string {
    world w;
    add(w.of);
    try {
      static_cast<void>(w.of.run());
    } catch (const belay::misuse_error& refused) {
      return refused.what();
    }
    return "none";
  };
  CHECK(contains(message([](app& to) { to.get("/a", [](dep<audit>) -> task<int> { co_return 1; }); }),
                 "GET /a depends on "));
  CHECK(contains(message([](app& to) {
                   to.provide<audit>([](dep<user>) { return audit(); });
                   to.provide<user>([](dep<audit>) { return user(); });
                   to.get("/a", [](dep<audit>) -> task<int> { co_return 1; });
                 }),
                 "in a circle"));
  CHECK(contains(message([](app& to) {
                   to.provide<audit>([](dep<session>) { return audit(); }, scope::request);
                   to.get("/a", [](dep<audit>) -> task<int> { co_return 1; });
                 }),
                 "which is closed earlier"));
  world w;
  CHECK_THROWS_AS(w.of.provide<session>([&w]() { return session{&w.seen}; }), belay::misuse_error);
  CHECK_THROWS_AS(w.of.override_dependency<user>([]() { return user(); }), belay::misuse_error);
}
