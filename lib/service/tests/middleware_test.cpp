// SPDX-License-Identifier: Apache-2.0
// Middleware, groups of routes, deadlines, answers to errors, and background work of handlers that fail.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/service/typed.hpp>
#include <doctest/doctest.h>

#include <thread>

#include "support.hpp"

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::task;
using service::app;
using service::next;
using service::request;
using support::answer;
using support::client;
using support::contains;
using words = std::vector<std::string>;

namespace {

struct gone_wrong : belay::error {
  gone_wrong() : error(belay::error_kind::conflict, "gone_wrong", "it went wrong") {}
};

struct world {
  words seen;
  support::record_keeper records;
  app of{support::options(), records.log};

  std::vector<answer> ask(words requests) {
    std::vector<answer> got;
    CHECK(support::serve(of, [&](app& to) -> task<> {
            client one = co_await support::connect(to);
            for (std::string& text : requests) got.push_back(co_await one.ask(std::move(text)));
          }) == service::exit_clean);
    return got;
  }
  // A middleware that notes what it sees.
  service::middleware noting(std::string name) {
    return [this, name](request&, next inner) -> task<http::response> {
      seen.push_back(name + " in");
      belay::outcome<http::response> how = co_await belay::as_outcome(inner());
      if (how.failed()) {
        seen.push_back(name + " failed: " + std::string(how.failure().message()));
        co_await belay::fail(how.failure());
      }
      seen.push_back(name + " out");
      http::response made = how.value();
      made.headers.add("X-Through", name);
      co_return made;
    };
  }
};

task<> nap() { co_await belay::sleep_for(1s); }

task<int> fails() {
  co_await belay::sleep_for(1ms);
  throw gone_wrong();
}

}  // namespace

TEST_CASE("middleware: outermost first, those of a group within those of the app") {
  world w;
  w.of.get("/a", []() -> task<int> { co_return 1; });
  service::routes admin = w.of.group("/admin");
  admin.get("/b", []() -> task<int> { co_return 2; });
  admin.use(w.noting("admin"));
  w.of.use(w.noting("first"));
  w.of.use(w.noting("second"));
  const auto got = w.ask({support::get("/admin/b"), support::get("/a")});
  CHECK(got.at(0).body == "2");
  CHECK(contains(got.at(0).head, "X-Through: admin\r\nX-Through: second\r\nX-Through: first"));
  CHECK(w.seen == words{"first in", "second in", "admin in", "admin out", "second out", "first out",  //
                        "first in", "second in", "second out", "first out"});
}

TEST_CASE("middleware: sees the original error, whose rule makes the answer outside [row 434]") {
  world w;
  w.of.on_error<gone_wrong>(http::status::gone, "gone");
  w.of.get("/", &fails);
  w.of.use(w.noting("outer"));
  w.of.use(w.noting("inner"));
  const auto got = w.ask({support::get("/")});
  CHECK(got.at(0).status() == 410);
  CHECK(w.seen ==
        words{"outer in", "inner in", "inner failed: it went wrong", "outer failed: it went wrong"});
  CHECK(w.records.events("request_failed").size() == 1);
}

TEST_CASE("middleware: one that throws before and one that throws after the handler [row 434]") {
  world w;
  int handled = 0;
  w.of.use(w.noting("outer"));
  w.of.get("/a", [&handled]() -> task<int> { co_return ++handled; });
  w.of.use([](request& r, next inner) -> task<http::response> {
    if (r.query("before")) throw gone_wrong();
    http::response made = co_await inner();
    if (r.query("after")) throw gone_wrong();
    co_return made;
  });
  const auto got = w.ask({support::get("/a?before"), support::get("/a?after"), support::get("/a")});
  CHECK(got.at(0).status() == 409);
  CHECK(got.at(1).status() == 409);
  CHECK(got.at(2).status() == 200);
  CHECK(handled == 2);
  CHECK(w.seen.at(1) == "outer failed: it went wrong");
  CHECK(w.records.events("request_failed").size() == 2);
}

TEST_CASE(
    "middleware: catches the error and answers itself: only this response, nothing is raised again [row 435]") {
  world w;
  w.of.get("/", &fails);
  w.of.use([](request&, next inner) -> task<http::response> {
    auto how = co_await belay::as_outcome(inner());
    if (!how.failed()) co_return how.value();
    how.failure().observe();
    co_return http::response::text(http::status::not_implemented, "not yet");
  });
  const auto got = w.ask({support::get("/")});
  CHECK(got.at(0).status() == 501);
  CHECK(got.at(0).body == "not yet");
  CHECK(w.records.errors() == 0);
}

TEST_CASE("middleware: may ask for the answer instead of the error, to change every answer") {
  world w;
  w.of.get("/", &fails);
  w.of.use([](request&, next inner) -> task<http::response> {
    http::response made = co_await inner.answer();
    made.headers.add("Access-Control-Allow-Origin", "*");
    co_return made;
  });
  const auto got = w.ask({support::get("/")});
  CHECK(got.at(0).status() == 409);
  CHECK(got.at(0).field("Access-Control-Allow-Origin") == "*");
  CHECK(w.records.events("request_failed").size() == 1);
}

TEST_CASE("middleware: may answer without going on, and may not go on twice") {
  world w;
  w.of.get("/", []() -> task<int> { co_return 1; });
  w.of.use([](request& r, next inner) -> task<http::response> {
    if (r.query("no")) co_return http::response::empty(http::status::forbidden);
    http::response made = co_await inner();
    if (r.query("twice")) made = co_await inner();
    co_return made;
  });
  const auto got = w.ask({support::get("/?no"), support::get("/?twice"), support::get("/")});
  CHECK(got.at(0).status() == 403);
  CHECK(got.at(1).status() == 500);
  CHECK(got.at(2).status() == 200);
  CHECK(w.records.all("next: called a second time for GET /").size() == 1);
}

TEST_CASE("groups: prefixes nest, error rules of the innermost group are asked first") {
  world w;
  w.of.on_error<gone_wrong>(http::status::gone, "outer");
  w.of.get("/x", &fails);
  service::routes admin = w.of.group("/admin");
  admin.on_error<gone_wrong>(http::status::conflict, "inner");
  service::routes users = admin.group("/users");
  users.get("/{id}", [](int) -> task<int> { co_return co_await fails(); });
  const auto got = w.ask({support::get("/x"), support::get("/admin/users/1")});
  CHECK(contains(got.at(0).body, "\"code\":\"outer\""));
  CHECK(contains(got.at(1).body, "\"code\":\"inner\""));
  CHECK_THROWS_AS(static_cast<void>(w.of.group("admin")), belay::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(w.of.group("/admin/")), belay::misuse_error);
  CHECK_THROWS_AS(w.of.use(w.noting("late")), belay::misuse_error);
}

TEST_CASE(
    "deadlines: the earliest of the route's, its groups' and the client's; 504, and the handler is cancelled [row 426]") {
  world w;
  int cancelled = 0;
  const auto slow = [&cancelled]() -> task<int> {
    struct end {
      int& count;
      ~end() { ++count; }
    } const at_end{cancelled};
    co_await belay::sleep_for(10s);
    co_return 1;
  };
  w.of.get("/route", slow, {.deadline = 20ms});
  service::routes bounded = w.of.group("/bounded", {.deadline = 25ms});
  bounded.get("/a", slow, {.deadline = 5s});
  bounded.get("/fast", []() -> task<int> { co_return 1; });
  const auto got = w.ask({support::get("/route"), support::get("/bounded/a"),
                          support::get("/route", "Belay-Deadline-Ms: 5\r\n"), support::get("/bounded/fast")});
  CHECK(got.at(0).status() == 504);
  CHECK(contains(got.at(0).body, "the deadline of this route, 20 ms passed"));
  CHECK(contains(got.at(1).body, "25 ms"));
  CHECK(contains(got.at(2).body, "the client's deadline of 5 ms"));
  CHECK(got.at(3).status() == 200);
  CHECK(cancelled == 3);
}

TEST_CASE("errors: a timeout of something that the handler called is a 504 [row 426]") {
  world w;
  w.of.get("/", []() -> task<int> {
    co_await belay::with_timeout(1ms, nap());
    co_return 1;
  });
  CHECK(w.ask({support::get("/")}).at(0).status() == 504);
}

TEST_CASE("errors: a catch-all answers, and the error is one record all the same [row 421]") {
  world w;
  w.of.get("/", []() -> task<int> {
    throw std::runtime_error("secret");
    co_return 0;
  });
  w.of.get("/known", []() -> task<int> {
    throw http::problem_error(http::status::conflict, "known", "known");
    co_return 0;
  });
  w.of.on_any_error([](request& r, const belay::failure& why) {
    return http::response::text(http::status::internal_server_error,
                                r.http().path + (why.find<std::runtime_error>() ? " sorry" : "?"));
  });
  const auto got = w.ask({support::get("/"), support::get("/known")});
  CHECK(got.at(0).status() == 500);
  CHECK(got.at(0).body == "/ sorry");
  CHECK(got.at(1).status() == 409);
  CHECK(w.records.events("request_failed").size() == 2);
  CHECK(w.records.all("secret").size() == 1);
}

TEST_CASE("errors: a handler of errors reads the body again [row 440]") {
  world w;
  w.of.post("/", [](request& r) -> task<http::response> {
    CHECK(r.http().body == R"({"a":1})");
    throw gone_wrong();
    co_return http::response();
  });
  w.of.on_error<gone_wrong>([](request& r, const gone_wrong& e) -> task<http::response> {
    co_await belay::sleep_for(1ms);
    co_return http::response::text(http::status::conflict, std::string(e.what()) + ": " + r.http().body);
  });
  const auto got = w.ask({support::post("/", R"({"a":1})")});
  CHECK(got.at(0).status() == 409);
  CHECK(got.at(0).body == R"(it went wrong: {"a":1})");
  CHECK(got.at(0).field("traceparent").size() == 55);
}

TEST_CASE(
    "errors: a handler of errors that fails itself is a record of its own; the client gets the plain answer") {
  world w;
  w.of.get("/", &fails);
  w.of.on_error<gone_wrong>(
      [](request&, const gone_wrong&) -> http::problem { throw std::runtime_error("second"); });
  const auto got = w.ask({support::get("/")});
  CHECK(got.at(0).status() == 409);
  CHECK(w.records.events("error_handler_failed").size() == 1);
  CHECK(w.records.events("request_failed").size() == 1);
}

TEST_CASE(
    "errors: an answer given on purpose keeps its fields and is no alarm with a story [row 422] [row 423]") {
  world w;
  w.of.get("/busy", []() -> task<int> {
    http::headers extra;
    extra.add("Retry-After", "7");
    extra.add("X-Why", "tired");
    throw http::problem_error(
        {.status = http::status::service_unavailable, .code = "busy", .detail = "later"}, extra);
    co_return 0;
  });
  w.of.get("/bug", []() -> task<int> {
    throw std::runtime_error("a bug");
    co_return 0;
  });
  const auto got = w.ask({support::get("/busy"), support::get("/bug")});
  CHECK(got.at(0).status() == 503);
  CHECK(got.at(0).field("Retry-After") == "7");
  CHECK(got.at(0).field("X-Why") == "tired");
  const words told = w.records.events("request_failed");
  REQUIRE(told.size() == 2);
  CHECK(contains(told[0], "\"code\":\"busy\""));
  CHECK_FALSE(contains(told[0], "dispatch.cpp"));
  CHECK(contains(told[1], "dispatch.cpp"));
}

TEST_CASE("errors: there is no debug mode that could be left on: a bug shows nothing of itself [row 425]") {
  world w;
  w.of.get("/", []() -> task<int> {
    throw std::runtime_error("SELECT secret FROM table");
    co_return 0;
  });
  const auto got = w.ask({support::get("/", "X-Debug: 1\r\nAccept: text/html\r\n")});
  CHECK(got.at(0).status() == 500);
  CHECK_FALSE(contains(got.at(0).body, "SELECT"));
  CHECK_FALSE(contains(got.at(0).body, ".cpp"));
}

TEST_CASE(
    "problems: the detail is about this occurrence and helps; instance and trace id tell which it was [row 461] [row 462]") {
  world w;
  w.of.get("/users/{id}", [](int id) -> task<int> {
    throw http::problem_error(http::status::not_found, "user_not_found",
                              "there is no user " + std::to_string(id));
    co_return 0;
  });
  w.of.get("/bug", []() -> task<int> {
    throw std::runtime_error("/etc/passwd");
    co_return 0;
  });
  const auto got = w.ask({support::get("/users/7"), support::get("/users/8"), support::get("/bug")});
  CHECK(contains(got.at(0).body, "\"detail\":\"there is no user 7\""));
  CHECK(contains(got.at(1).body, "\"detail\":\"there is no user 8\""));
  CHECK_FALSE(contains(got.at(2).body, "passwd"));
  CHECK(contains(got.at(0).body, "\"instance\":\"/users/7\""));
  for (const answer& one : got) {
    const std::string trace = one.field("traceparent").substr(3, 32);
    CHECK(contains(one.body, "\"trace_id\":\"" + trace + "\""));
    CHECK(w.records.all(trace).size() >= 1);
  }
}

TEST_CASE("request id: well-formed, it is echoed and in the records; otherwise it is not there") {
  world w;
  w.of.get("/", [](request& r) -> task<http::response> {
    r.log().info("handled");
    co_return http::response::text(http::status::ok, std::string(r.id()));
  });
  w.of.get("/bug", []() -> task<int> {
    throw std::runtime_error("a bug");
    co_return 0;
  });
  const std::string longest(128, 'x');
  const auto got = w.ask(
      {support::get("/", "X-Request-Id: order-7.a_b~c:/+=@\r\n"),
       support::get("/bug", "X-Request-Id: b7\r\n"), support::get("/", "X-Request-Id: a b\r\n"),
       support::get("/", "X-Request-Id: \"\r\n"), support::get("/", "X-Request-Id: " + longest + "\r\n"),
       support::get("/", "X-Request-Id: " + longest + "x\r\n"),
       support::get("/", "X-Request-Id: a\r\nX-Request-Id: b\r\n"), support::get("/"),
       support::get("/nowhere", "X-Request-Id: n1\r\n")});
  CHECK(got.at(0).body == "order-7.a_b~c:/+=@");
  CHECK(got.at(0).field("X-Request-Id") == "order-7.a_b~c:/+=@");
  CHECK(got.at(1).field("X-Request-Id") == "b7");
  CHECK(got.at(4).body == longest);
  for (const std::size_t none : {2U, 3U, 5U, 6U, 7U}) {
    CHECK(got.at(none).body.empty());
    CHECK(got.at(none).field("X-Request-Id").empty());
  }
  CHECK(got.at(8).field("X-Request-Id") == "n1");
  CHECK(w.records.all("\"request_id\":\"order-7.a_b~c:/+=@\"").size() == 2);  // "handled", "request"
  CHECK(contains(w.records.events("request_failed").at(0), "\"request_id\":\"b7\""));
}

TEST_CASE("background: work of a handler that failed is done only if it is marked so [row 448]") {
  world w;
  const auto note = [&w](std::string what) -> belay::task_function<task<>()> {
    return [&w, what]() -> task<> {
      w.seen.push_back(what);
      co_return;
    };
  };
  w.of.get("/", [note](request& r) -> task<http::response> {
    r.run_after_response("mail", note("mail"));
    r.run_after_response("audit", note("audit"), service::run_when::always);
    if (r.query("fail")) throw gone_wrong();
    co_return http::response::empty();
  });
  w.of.get("/slow", [note](request& r) -> task<http::response> {
    r.run_after_response("mail", note("mail"));
    r.run_after_response("audit", note("cancelled audit"), service::run_when::always);
    co_await belay::sleep_for(10s);
    co_return http::response::empty();
  });
  CHECK(support::serve(w.of, [&](app& to) -> task<> {
          client one = co_await support::connect(to);
          co_await one.ask(support::get("/?fail"));
          while (w.seen.size() != 1) co_await belay::sleep_for(1ms);
          co_await one.ask(support::get("/"));
          while (w.seen.size() != 3) co_await belay::sleep_for(1ms);
          co_await one.send(support::get("/slow"));
          co_await belay::sleep_for(5ms);
          one.close();
          while (w.seen.size() != 4) co_await belay::sleep_for(1ms);
        }) == service::exit_clean);
  CHECK(w.seen == words{"audit", "mail", "audit", "cancelled audit"});
}

TEST_CASE("background: a blocking function runs in the thread pool; the next one waits for it [row 452]") {
  world w;
  const auto here = std::this_thread::get_id();
  bool elsewhere = false;
  w.of.get("/", [&](request& r) -> task<http::response> {
    r.run_after_response("blocking", [&] { elsewhere = std::this_thread::get_id() != here; });
    r.run_after_response("after it", [&]() -> task<> {
      w.seen.emplace_back(elsewhere ? "after" : "before");
      co_return;
    });
    co_return http::response::empty();
  });
  w.ask({support::get("/")});
  CHECK(w.seen == words{"after"});
}

TEST_CASE(
    "background: a task that ends by somebody's cancellation fails like any other; the next one runs [row 456]") {
  world w;
  w.of.get("/", [&](request& r) -> task<http::response> {
    r.run_after_response("cancels itself", []() -> task<> {
      co_await belay::with_group([](belay::group& g) -> task<> {
        auto one = g.spawn([]() -> task<> { co_await belay::sleep_for(10s); });
        one.cancel();
        co_await one;
      });
    });
    r.run_after_response("next", [&]() -> task<> {
      w.seen.emplace_back("next");
      co_return;
    });
    co_return http::response::empty();
  });
  w.ask({support::get("/")});
  CHECK(w.seen == words{"next"});
  CHECK(w.records.events("background_task_failed").size() == 1);
}
