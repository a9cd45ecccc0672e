// SPDX-License-Identifier: Apache-2.0
// An app over loopback: answers, errors, traces, background work, deadlines, health.

#include "support.hpp"

#include <belay/core/all.hpp>
#include <belay/errors/error_router.hpp>
#include <belay/http/problem.hpp>
#include <boost/system/system_error.hpp>
#include <doctest/doctest.h>

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

struct animal_error : belay::error {
  using error::error;
};
struct dog_error : animal_error {
  using animal_error::animal_error;
};
struct puppy_error : dog_error {
  using dog_error::dog_error;
};
struct teapot_problem : http::problem_error {
  using problem_error::problem_error;
};

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

// Asks once, on a connection of its own.
answer ask_once(app& of, std::string text) {
  answer got;
  CHECK(support::serve(of, [&](app& a) -> task<> {
          client c = co_await support::connect(a);
          got = co_await c.ask(text);
        }) == service::exit_clean);
  return got;
}

task<> fail_with(std::exception_ptr what) {
  co_await belay::yield();
  std::rethrow_exception(what);
}

}  // namespace

TEST_CASE(
    "app: errors of Boost and of libraries that it was told of are classified, where it looks and where handlers do") {
  struct foreign_error : std::runtime_error {
    using runtime_error::runtime_error;
  };
  record_keeper records;
  service::app_options options = support::options();
  options.errors.add<foreign_error>(
      [](const foreign_error&) { return belay::classification::of(belay::error_kind::overloaded, "busy"); });
  app a(options, records.log);
  a.get("/classified", [](request&) -> task<http::response> {
    const auto refused = std::make_exception_ptr(boost::system::system_error(
        boost::system::errc::make_error_code(boost::system::errc::connection_refused)));
    const belay::classification known = belay::classify(refused);
    const belay::classification told = belay::classify(std::make_exception_ptr(foreign_error("x")));
    CHECK(known.retryable);
    co_return http::response::text(http::status::ok, known.code + " " + told.code);
  });
  CHECK(ask_once(a, get("/classified")).body == "connection_refused busy");
}

TEST_CASE(
    "app: every answer carries traceparent; one of 400 or more is one record with the trace id of header and body [row 416]") {
  record_keeper records;
  app a(support::options(), records.log);
  a.get("/ok", ok);
  a.post("/ok", ok);
  a.get("/bug", throws(std::runtime_error("password=hunter2 at db:5432")));
  struct expectation {
    std::string text;
    int status;
    std::string code;
  };
  const std::vector<expectation> all = {
      {get("/ok", traced), 200, ""},
      {get("/health/live", traced), 200, ""},
      {"OPTIONS /ok HTTP/1.1\r\nHost: test\r\n" + traced + "\r\n", 204, ""},
      {get("/none", traced), 404, "not_found"},
      {"DELETE /ok HTTP/1.1\r\nHost: test\r\n" + traced + "\r\n", 405, "method_not_allowed"},
      {"POST /ok HTTP/1.1\r\nHost: test\r\n" + traced + "Content-Length: 2\r\n\r\n{}", 415,
       "unsupported_media_type"},
      {get("/bug", traced), 500, "internal"},
      {"GET /ok HTTP/1.1\r\n" + traced + "\r\n", 400, "bad_request"},
      {"GET /ok HTTP/9.9\r\nHost: test\r\n" + traced + "\r\n", 505, "http_version_not_supported"},
  };
  CHECK(support::serve(a, [&](app& of) -> task<> {
          for (const expectation& one : all) {
            CAPTURE(one.text);
            records.sink->clear();
            client c = co_await support::connect(of);
            const answer got = co_await c.ask(one.text);
            CHECK(got.status() == one.status);
            const std::string parent = got.field("traceparent");
            REQUIRE(parent.size() == 55);
            const std::string id = parent.substr(3, 32);
            // Of a malformed request, the head may not be known.
            if (one.status < 500 || one.status == 500) CHECK((id == trace || one.status == 400));
            CHECK_FALSE(contains(parent, "b7ad6b7169203331"));
            const words failed = records.events("request_failed");
            if (one.status < 400) {
              CHECK(failed.empty());
              continue;
            }
            REQUIRE(failed.size() == 1);
            CHECK(contains(failed[0], id));
            CHECK(contains(failed[0], one.status >= 500 ? "\"level\":\"error\"" : "\"level\":\"warn\""));
            CHECK(got.field("Content-Type") == "application/problem+json");
            CHECK(contains(got.body, "\"trace_id\":\"" + id + "\""));
            CHECK(contains(got.body, "\"code\":\"" + one.code + "\""));
            CHECK_FALSE(contains(got.body, "hunter2"));
          }
        }) == service::exit_clean);
}

TEST_CASE(
    "app: an unknown error is 500 with no internals; the whole failure is logged, once [row 414] [row 416] [row 421]") {
  record_keeper records;
  app a(support::options(), records.log);
  a.get("/std", throws(std::runtime_error("secret of std")));
  a.get("/int", throws(42));
  a.get("/early", belay::task_function<task<http::response>(request&)>());
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          for (const char* path : {"/std", "/int", "/early"}) {
            CAPTURE(path);
            records.sink->clear();
            const answer got = co_await c.ask(get(path));  // the connection is kept
            CHECK(got.status() == 500);
            CHECK(contains(got.body, "\"detail\":\"internal error\""));
            CHECK_FALSE(contains(got.body, "secret"));
            CHECK(records.events("request_failed").size() == 1);
            CHECK(records.errors() == 1);
          }
          CHECK(records.all("secret of std").empty());
          const answer again = co_await c.ask(get("/std"));
          CHECK(again.status() == 500);
          CHECK(records.all("secret of std").size() == 1);
        }) == service::exit_clean);
}

TEST_CASE(
    "app: the most derived rule wins, in whatever order they were registered; the last one of a type replaces [row 411]") {
  for (int order = 0; order != 6; ++order) {
    CAPTURE(order);
    record_keeper records;
    app a(support::options(), records.log);
    const auto animal = [&] { a.on_error<animal_error>(http::status::conflict, "animal"); };
    const auto dog = [&] { a.on_error<dog_error>(http::status::not_found, "dog"); };
    const auto puppy = [&] { a.on_error<puppy_error>(http::status::gone, "puppy"); };
    switch (order) {
      case 0: animal(), dog(), puppy(); break;
      case 1: animal(), puppy(), dog(); break;
      case 2: dog(), animal(), puppy(); break;
      case 3: dog(), puppy(), animal(); break;
      case 4: puppy(), animal(), dog(); break;
      default: puppy(), dog(), animal(); break;
    }
    a.on_error<animal_error>(http::status::forbidden, "beast");
    a.get("/animal", throws(animal_error("a")));
    a.get("/dog", throws(dog_error("d")));
    a.get("/puppy", throws(puppy_error("the detail")));
    a.get("/std", throws(std::logic_error("other")));
    CHECK(support::serve(a, [&](app& of) -> task<> {
            client c = co_await support::connect(of);
            CHECK(contains((co_await c.ask(get("/animal"))).body, "\"code\":\"beast\""));
            CHECK(contains((co_await c.ask(get("/dog"))).body, "\"code\":\"dog\""));
            const answer got = co_await c.ask(get("/puppy"));
            CHECK(got.status() == 410);
            CHECK(contains(got.body, "\"code\":\"puppy\""));
            CHECK(contains(got.body, "\"detail\":\"the detail\""));
            CHECK((co_await c.ask(get("/std"))).status() == 500);
          }) == service::exit_clean);
  }
}

TEST_CASE("app: rules are those of one app [row 412]") {
  record_keeper records;
  app a(support::options(), records.log);
  app b(support::options(), records.log);
  a.on_error<animal_error>(http::status::conflict, "animal");
  b.get("/", throws(animal_error("text")));
  CHECK(ask_once(b, get("/")).status() == 500);
}

TEST_CASE(
    "app: problem_error is answered as it says, also when there is a rule for its base; a rule for a derived one wins [row 422]") {
  record_keeper records;
  app a(support::options(), records.log);
  a.on_error<teapot_problem>(http::status::conflict, "teapot");
  a.on_error<belay::error>(http::status::bad_gateway, "any");
  a.on_error<std::exception>(http::status::bad_gateway, "std");
  http::headers extra;
  extra.add("WWW-Authenticate", "Basic");
  a.get("/problem",
        throws(http::problem_error(
            http::problem{.status = http::status::unauthorized, .code = "who", .detail = "log in"}, extra)));
  a.get("/teapot", throws(teapot_problem(http::status::gone, "x", "y")));
  a.get("/error", throws(animal_error("text")));
  a.get("/std", throws(std::runtime_error("text")));
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          const answer got = co_await c.ask(get("/problem"));
          CHECK(got.status() == 401);
          CHECK(got.field("WWW-Authenticate") == "Basic");
          CHECK(contains(got.body, "\"code\":\"who\""));
          CHECK(contains((co_await c.ask(get("/teapot"))).body, "\"code\":\"teapot\""));
          CHECK(contains((co_await c.ask(get("/error"))).body, "\"code\":\"any\""));
          CHECK(contains((co_await c.ask(get("/std"))).body, "\"code\":\"std\""));
        }) == service::exit_clean);
}

TEST_CASE("app: what is attached to an unknown error is looked at; what it replaced is not") {
  record_keeper records;
  app a(support::options(), records.log);
  a.on_error<dog_error>(http::status::not_found, "dog");
  a.get("/attached", [](request&) -> task<http::response> {
    co_await belay::with_group([](belay::group& both) -> task<> {
      both.spawn(
          []() -> task<> { co_await fail_with(std::make_exception_ptr(std::runtime_error("first"))); });
      both.spawn([]() -> task<> { co_await fail_with(std::make_exception_ptr(dog_error("second"))); });
      co_return;
    });
    co_return http::response{};
  });
  a.get("/replaced", [](request&) -> task<http::response> {
    try {
      throw dog_error("the lookup says no");
    } catch (const dog_error&) {
      throw animal_error("and so the program is wrong");
    }
    co_return http::response{};
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          CHECK((co_await c.ask(get("/attached"))).status() == 404);
          CHECK(records.events("request_failed").size() == 1);
          const answer got = co_await c.ask(get("/replaced"));
          CHECK(got.status() == 500);
          CHECK_FALSE(contains(got.body, "lookup"));
        }) == service::exit_clean);
  CHECK(records.all("the lookup says no").size() == 1);
}

TEST_CASE("app: without a rule the kind decides, and the text stays inside [row 426] [row 466]") {
  record_keeper records;
  app a(support::options(), records.log);
  const auto kind = [&](const char* path, belay::error_kind of) {
    a.get(path, throws(belay::error(of, "code", "inner text")));
  };
  kind("/unavailable", belay::error_kind::unavailable);
  kind("/overloaded", belay::error_kind::overloaded);
  kind("/not_found", belay::error_kind::not_found);
  kind("/data_format", belay::error_kind::data_format);
  a.get("/timeout", [](request&) -> task<http::response> {
    co_await belay::with_timeout(1ms, []() -> task<> { co_await belay::sleep_for(1h); }());
    co_return http::response{};
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          for (const auto& [path, status] : std::vector<std::pair<const char*, int>>{{"/unavailable", 503},
                                                                                     {"/overloaded", 503},
                                                                                     {"/not_found", 404},
                                                                                     {"/data_format", 500},
                                                                                     {"/timeout", 504}}) {
            CAPTURE(path);
            const answer got = co_await c.ask(get(path));
            CHECK(got.status() == status);
            CHECK((got.field("Retry-After") == "1") == (status == 503));
            CHECK_FALSE(contains(got.body, "inner text"));
            CHECK_FALSE(contains(got.body, ".cpp"));
          }
        }) == service::exit_clean);
}

TEST_CASE(
    "app: an error_router around a handler: its handlers, which may await, before the rules of the app [row 413]") {
  record_keeper records;
  belay::error_router<http::response, request&> routes;
  routes.on<dog_error>([](const dog_error& e, request& asked) -> task<http::response> {
    co_await belay::yield();
    co_return http::response::text(http::status::ok, std::string(*asked.path("id")) + e.what());
  });
  app a(support::options(), records.log);
  a.on_error<animal_error>(http::status::conflict, "animal");
  const auto add = [&](const char* path, auto fails) {
    a.get(path, [&routes, fails](request& asked) -> task<http::response> {
      co_return co_await routes.handle(fails(asked), asked);
    });
  };
  add("/dogs/{id}", throws(puppy_error(" barks")));
  add("/animals/{id}", throws(animal_error("text")));
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          const answer dog = co_await c.ask(get("/dogs/7"));
          CHECK(dog.status() == 200);
          CHECK(dog.body == "7 barks");
          const answer animal = co_await c.ask(get("/animals/7"));
          CHECK(animal.status() == 409);
          CHECK(contains(animal.body, "\"code\":\"animal\""));
        }) == service::exit_clean);
  CHECK(records.events("request_failed").size() == 1);
}

TEST_CASE("app: retry_after of an error becomes Retry-After, with and without a rule [row 466]") {
  record_keeper records;
  app a(support::options(), records.log);
  a.on_error<animal_error>(http::status::too_many_requests, "animal");
  const auto waits = [](auto error) {
    error.set_retry_after(std::chrono::milliseconds(2500));
    return throws(error);
  };
  a.get("/kind", waits(belay::error(belay::error_kind::overloaded, "code", "text")));
  a.get("/rule", waits(animal_error("text")));
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          const answer by_kind = co_await c.ask(get("/kind"));
          CHECK(by_kind.status() == 503);
          CHECK(by_kind.field("Retry-After") == "3");
          const answer by_rule = co_await c.ask(get("/rule"));
          CHECK(by_rule.status() == 429);
          CHECK(by_rule.field("Retry-After") == "3");
        }) == service::exit_clean);
}

TEST_CASE(
    "app: an impossible status from a handler is a 500, told in the log, and its background work does not run [row 419]") {
  record_keeper records;
  bool ran = false;
  app a(support::options(), records.log);
  a.get("/", [&ran](request& r) -> task<http::response> {
    r.run_after_response("work", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    co_return http::response::empty(static_cast<http::status>(99));
  });
  CHECK(ask_once(a, get("/")).status() == 500);
  CHECK(records.events("request_failed").size() == 1);
  CHECK(records.events("lost_failure").empty());
  CHECK_FALSE(ran);
}

TEST_CASE("app: the head is judged before the body is sent: 404, 405 with Allow, 415, in this order") {
  record_keeper records;
  app a(support::options(), records.log);
  a.post("/users", ok);
  CHECK(support::serve(a, [&](app& of) -> task<> {
          const std::string rest =
              " HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n";
          const std::string json_rest =
              " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
              "Expect: 100-continue\r\n\r\n";
          for (const auto& [line, status] :
               std::vector<std::pair<std::string, int>>{{"POST /none" + rest, 404},
                                                        {"PUT /users" + rest, 405},
                                                        {"POST /users" + rest, 415},
                                                        {"POST /users" + json_rest, 100}}) {
            client c = co_await support::connect(of);
            const answer got = co_await c.ask(line);
            CHECK(got.status() == status);
            if (status == 405) CHECK(contains(got.field("Allow"), "POST"));
          }
        }) == service::exit_clean);
}

TEST_CASE("app: routes doubled or malformed are misuse, and leave no trace") {
  record_keeper records;
  app a(support::options(), records.log);
  a.get("/users/{id}", throws(std::runtime_error("wrong handler")));
  CHECK_THROWS_AS(a.get("/users/{name}", ok), belay::misuse_error);
  CHECK_THROWS_AS(a.get("users", ok), belay::misuse_error);
  a.get("/ok", ok);
  CHECK(ask_once(a, get("/ok")).status() == 200);
}

TEST_CASE(
    "app: background work starts after the response, in order, with the request's trace; the connection goes on [row 439] [row 445] [row 451]") {
  record_keeper records;
  words said;
  belay::event go;
  app a(support::options(), records.log);
  a.get("/start", [&](request& r) -> task<http::response> {
    r.run_after_response("one", [&said, &go]() -> task<> {
      said.push_back("one");
      co_await go.wait();
      throw std::runtime_error("one fails");
    });
    r.run_after_response("two", [&said, log = r.log()]() -> task<> {
      log.info("in_two");
      said.push_back("two");
      co_return;
    });
    said.push_back("handler");
    co_return http::response::json(http::status::accepted, "{}");
  });
  a.get("/ok", ok);
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          CHECK((co_await c.ask(get("/start", traced))).status() == 202);
          CHECK((co_await c.ask(get("/ok"))).status() == 200);
          CHECK(said == words{"handler", "one"});
          CHECK(contains((co_await c.ask(get("/health/ready"))).body, "\"background\":2"));
          go.set();
        }) == service::exit_clean);  // stopping drains it
  CHECK(said == words{"handler", "one", "two"});
  const words failed = records.events("background_task_failed");
  REQUIRE(failed.size() == 1);
  CHECK(contains(failed[0], trace));
  CHECK(contains(records.events("in_two").at(0), trace));
}

TEST_CASE(
    "app: the background work of a failed request does not run, and its places are given back [row 448]") {
  record_keeper records;
  bool ran = false;
  auto options = support::options();
  options.most_background_tasks = 1;
  app a(options, records.log);
  a.get("/fails", [&ran](request& r) -> task<http::response> {
    r.run_after_response("work", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    co_await belay::yield();
    throw std::runtime_error("after adding it");
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          for (int i = 0; i != 3; ++i) CHECK((co_await c.ask(get("/fails"))).status() == 500);
        }) == service::exit_clean);
  CHECK_FALSE(ran);
}

TEST_CASE(
    "app: more background work than there is room for is refused with 503, requests under way counted [row 433] [row 454]") {
  record_keeper records;
  belay::event go;
  auto options = support::options();
  options.most_background_tasks = 1;
  app a(options, records.log);
  a.get("/slow", [&go](request& r) -> task<http::response> {
    r.run_after_response("work", []() -> task<> { co_return; });
    co_await go.wait();
    co_return http::response::json(http::status::ok, "{}");
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client first = co_await support::connect(of);
          client second = co_await support::connect(of);
          co_await first.send(get("/slow"));
          for (int i = 0;
               i != 200 && !contains((co_await second.ask(get("/health/ready"))).body, "\"requests\":1");
               ++i) {
          }
          const answer refused = co_await second.ask(get("/slow"));
          CHECK(refused.status() == 503);
          CHECK(refused.field("Retry-After") == "1");
          go.set();
          CHECK((co_await first.read()).status() == 200);
        }) == service::exit_clean);
}

TEST_CASE(
    "app: a client that leaves cancels its request; that is no failure, and no background work of it runs [row 428]") {
  record_keeper records;
  belay::event started;
  belay::event gone;
  struct guard {
    belay::event& what;
    ~guard() { what.set(); }
  };
  bool ran = false;
  app a(support::options(), records.log);
  a.get("/hang", [&](request& r) -> task<http::response> {
    const guard tells{gone};
    r.run_after_response("work", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    started.set();
    co_await belay::sleep_for(1h);
    co_return http::response{};
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          co_await c.send(get("/hang"));
          co_await started.wait();
          c.close();
          co_await gone.wait();
        }) == service::exit_clean);
  CHECK(records.all("\"level\":\"warn\"").empty());
  CHECK(records.errors() == 0);
  CHECK_FALSE(ran);
}

TEST_CASE(
    "app: the client's deadline cancels the handler and is 504; a bad one is 400; a quick answer is not touched [row 427]") {
  record_keeper records;
  bool cleaned = false;
  bool ran = false;
  struct guard {
    bool& what;
    ~guard() { what = true; }
  };
  app a(support::options(), records.log);
  a.get("/slow", [&](request& r) -> task<http::response> {
    const guard tells{cleaned};
    r.run_after_response("work", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    co_await belay::sleep_for(1h);
    co_return http::response{};
  });
  a.get("/ok", ok);
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          const answer late = co_await c.ask(get("/slow", "Belay-Deadline-Ms: 20\r\n"));
          CHECK(late.status() == 504);
          CHECK(contains(late.body, "\"code\":\"deadline_exceeded\""));
          CHECK(cleaned);
          for (const char* bad : {"0", "-1", "1.5", "abc", "250ms", "3600001", "18446744073709551616"}) {
            CAPTURE(bad);
            const answer refused =
                co_await c.ask(get("/ok", "Belay-Deadline-Ms: " + std::string(bad) + "\r\n"));
            CHECK(refused.status() == 400);
            CHECK(contains(refused.body, "\"code\":\"invalid_deadline\""));
          }
          CHECK((co_await c.ask(get("/ok", "Belay-Deadline-Ms: 3600000\r\n"))).status() == 200);
        }) == service::exit_clean);
  CHECK_FALSE(ran);
}

TEST_CASE("app: health tells what is in use; the request that asks is not counted") {
  record_keeper records;
  app a(support::options(), records.log);
  a.gauge("connections", [] { return std::size_t{4}; });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          const answer live = co_await c.ask(get("/health/live"));
          CHECK(live.status() == 200);
          CHECK(live.body == R"({"status":"ok"})");
          const answer ready = co_await c.ask(get("/health/ready"));
          CHECK(ready.status() == 200);
          CHECK(ready.body == R"({"status":"ready","in_use":{"requests":0,"connections":4,"background":0}})");
        }) == service::exit_clean);
}

TEST_CASE(
    "app: stopping lets requests and background work finish, then closes the steps in reverse [row 297] [row 303]") {
  record_keeper records;
  words said;
  app a(support::options(), records.log);
  a.manage("database", [](words& to) -> managed<int> {
    co_yield 0;
    to.push_back("closed");
  }(said));
  belay::event started;
  a.get("/slow", [&](request& r) -> task<http::response> {
    r.run_after_response("mail", [&said]() -> task<> {
      co_await belay::sleep_for(20ms);
      said.push_back("mail");
    });
    started.set();
    co_await belay::sleep_for(20ms);
    said.push_back("request");
    co_return http::response::json(http::status::ok, "{}");
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client idle = co_await support::connect(of);
          CHECK((co_await idle.ask(get("/health/live"))).status() == 200);
          client c = co_await support::connect(of);
          co_await c.send(get("/slow"));
          co_await started.wait();
          of.stop("first");
          of.stop("second");
          CHECK(co_await idle.ended());
          const answer got = co_await c.read();
          CHECK(got.status() == 200);
          CHECK(got.field("Connection") == "close");
          bool refused = false;
          try {
            client late = co_await support::connect(of);
          } catch (const belay::io::network_error&) {
            refused = true;
          }
          CHECK(refused);
        }) == service::exit_clean);
  CHECK(said == words{"request", "mail", "closed"});
  const words report = records.events("shutdown_report");
  REQUIRE(report.size() == 1);
  CHECK(contains(report[0], "\"reason\":\"first\""));
  CHECK(contains(report[0], "\"overran\":[]"));
  const auto at = [&](const char* name) { return report[0].find("\"name\":\"" + std::string(name) + "\""); };
  CHECK(at("listen") < at("requests"));
  CHECK(at("requests") < at("background tasks"));
  CHECK(at("background tasks") < at("database"));
  CHECK(at("database") != std::string::npos);
}

TEST_CASE(
    "app: a request that outlasts the grace is cancelled, named in the report, and the exit code is 3") {
  record_keeper records;
  auto options = support::options();
  options.grace = 30ms;
  app a(options, records.log);
  belay::event started;
  bool ran = false;
  a.get("/hang", [&](request& r) -> task<http::response> {
    r.run_after_response("work", [&ran]() -> task<> {
      ran = true;
      co_return;
    });
    started.set();
    co_await belay::sleep_for(1h);
    co_return http::response{};
  });
  CHECK(support::serve(a, [&](app& of) -> task<> {
          client c = co_await support::connect(of);
          co_await c.send(get("/hang"));
          co_await started.wait();
          of.stop();
          CHECK((co_await c.read()).status() == 0);  // closed without an answer
        }) == service::exit_unclean_shutdown);
  CHECK_FALSE(ran);
  const words report = records.events("shutdown_report");
  REQUIRE(report.size() == 1);
  CHECK(contains(report[0], "\"overran\":[\"requests\"]"));
  CHECK(contains(report[0], "1 was cancelled"));
}
