// SPDX-License-Identifier: Apache-2.0
// The test client of services: lifespan, answers, failures of handlers, background work, virtual time, real sockets.

#include <belay/core/all.hpp>
#include <belay/core/sleep.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/service_client.hpp>
#include <doctest/doctest.h>

#include <stdexcept>

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::managed;
using belay::task;
using belay::testing::run_service;
using belay::testing::service_client;
using belay::testing::service_client_options;
using service::app;
using service::request;

namespace {

struct sold_out : belay::error {
  using error::error;
};

// A shop in which orders may be placed for a day.
struct shop {
  int open = 0;
  int mails = 0;
  belay::duration mail_takes = 10min;
  belay::telemetry::logger log{std::make_shared<belay::telemetry::memory_sink>()};
  app of{{.name = "shop", .listen = {"127.0.0.1", 0}, .grace = 1h}, log};

  shop() {
    of.manage("database", [](int& count) -> managed<int> {
      co_await belay::yield();
      ++count;
      co_yield 0;
      co_await belay::yield();
      --count;
    }(open));
    of.on_error<sold_out>(http::status::conflict, "sold_out");
    of.get("/orders/{id}", [this](request& r) -> task<http::response> {
      CHECK(open == 1);
      const std::string id(r.path("id").value());
      if (id == "0") throw std::runtime_error("the database fell over");
      if (id == "9") throw sold_out("nothing is left");
      co_return http::response::json(http::status::ok, R"({"id":)" + id + R"(,"items":[{"name":"a/b"}]})");
    });
    of.get("/slow", [](request&) -> task<http::response> {
      co_await belay::sleep_for(4min);
      co_return http::response::text(http::status::ok, "done");
    });
    of.post("/orders", [this](request& r) -> task<http::response> {
      r.run_after_response("mail", [this]() -> task<> {
        co_await belay::sleep_for(mail_takes);
        ++mails;
      });
      http::response made = http::response::json(http::status::created, r.http().body);
      made.headers.add("Location", "/orders/1");
      co_return made;
    });
    of.put("/orders/{id}", [](request& r) -> task<http::response> {
      co_return http::response::json(http::status::ok, r.http().body);
    });
    of.route(http::method::delete_, "/orders/{id}",
             [](request&) -> task<http::response> { co_return http::response::empty(); });
  }
};

}  // namespace

TEST_CASE("service client: runs the lifespan round the test, speaks to the routes, and gives the exit code") {
  shop s;
  CHECK(run_service(s.of, [](service_client& client) -> task<> {
          const auto got = co_await client.get("/orders/7?full=1");
          CHECK(got.status() == 200);
          CHECK(got.header("content-type") == "application/json");
          CHECK(got.integer("/id") == 7);
          CHECK(got.text("/items/0/name") == "a/b");
          CHECK(got.json("/items") == R"([{"name":"a/b"}])");
          CHECK(got.has("/items/0"));
          CHECK_FALSE(got.has("/items/1"));
          const auto made = co_await client.post_json("/orders", R"({"item":7})");
          CHECK(made.status() == 201);
          CHECK(made.json() == R"({"item":7})");
          CHECK((co_await client.get(made.header("Location"))).integer("/id") == 1);
          CHECK((co_await client.put_json("/orders/1", "{}")).status() == 200);
          CHECK((co_await client.del("/orders/1")).status() == 204);
          CHECK((co_await client.get("/nowhere")).status() == 404);
          CHECK((co_await client.send(http::method::post, "/orders", {}, "a=b")).status() == 415);
        }) == service::exit_clean);
  CHECK(s.open == 0);
}

TEST_CASE("service client: an answer that is asked for what it does not hold says what is there") {
  shop s;
  run_service(s.of, [](service_client& client) -> task<> {
    const auto got = co_await client.get("/orders/7");
    CHECK_THROWS_WITH_AS(static_cast<void>(got.text("/nme")),
                         doctest::Contains("'/nme': there is nothing; the body is: {\"id\":7"), belay::error);
    CHECK_THROWS_WITH_AS(static_cast<void>(got.text("/id")), doctest::Contains("no text"), belay::error);
    CHECK_THROWS_WITH_AS(static_cast<void>(got.integer("/items")), doctest::Contains("no whole number"),
                         belay::error);
    const auto plain = co_await client.get("/slow");
    CHECK(plain.body() == "done");
    CHECK_THROWS_WITH_AS(static_cast<void>(plain.json()), doctest::Contains("no JSON"), belay::error);
  });
}

TEST_CASE(
    "service client: a handler that breaks fails the request with its own error; one with an answer is answered [row 426]") {
  shop s;
  run_service(s.of, [](service_client& client) -> task<> {
    bool seen = false;
    try {
      static_cast<void>(co_await client.get("/orders/0"));
    } catch (const std::runtime_error& e) {
      seen = std::string_view(e.what()) == "the database fell over";
    }
    CHECK(seen);
    const auto refused = co_await client.get("/orders/9");
    CHECK(refused.status() == 409);
    CHECK(refused.text("/code") == "sold_out");
  });
  shop other;
  run_service(
      other.of,
      [](service_client& client) -> task<> { CHECK((co_await client.get("/orders/0")).status() == 500); },
      {.handler_failures = service_client_options::on_failure::answer});
}

TEST_CASE(
    "service client: time is virtual, requests run side by side, background work is waited for where the test says so") {
  shop s;
  run_service(s.of, [&s](service_client& client) -> task<> {
    const belay::time_point begin = belay::now();
    co_await belay::all(client.get("/slow"), client.get("/slow"));
    CHECK(belay::now() - begin == 4min);
    static_cast<void>(co_await client.post_json("/orders", "{}"));
    CHECK(s.mails == 0);
    co_await client.background();
    CHECK(s.mails == 1);
    CHECK(belay::now() - begin == 4min + 10min);
    co_await client.background();
  });
}

TEST_CASE("service client: the same test over real sockets") {
  shop s;
  CHECK(run_service(s.of,
                    [](service_client& client) -> task<> {
                      CHECK(client.address().port != 0);
                      CHECK((co_await client.get("/orders/7")).integer("/id") == 7);
                      CHECK_THROWS_AS(co_await client.get("/orders/0"), std::runtime_error);
                    },
                    {.network = service_client_options::over::sockets}) == service::exit_clean);
  CHECK(s.open == 0);
}

TEST_CASE("service client: what the test throws comes out, after the app has stopped") {
  shop s;
  CHECK_THROWS_WITH_AS(run_service(s.of,
                                   [](service_client&) -> task<> {
                                     co_await belay::yield();
                                     throw std::logic_error("a check failed");
                                   }),
                       "a check failed", std::logic_error);
  CHECK(s.open == 0);
}

TEST_CASE("service client: an app that does not start fails the test, with its exit code") {
  shop s;
  s.of.step("migrate", []() -> task<> {
    co_await belay::yield();
    throw belay::error("no table");
  });
  CHECK_THROWS_WITH_AS(run_service(s.of, [](service_client&) -> task<> { co_return; }),
                       doctest::Contains("ended with 1 before it served"), belay::error);
  CHECK(s.open == 0);
}

TEST_CASE("service client: the test may stop the app itself, and sees it drain") {
  shop s;
  CHECK(run_service(s.of, [](service_client& client) -> task<> {
          co_await belay::yield();
          client.stop();
          co_await belay::sleep_for(1s);
          CHECK_THROWS_AS(co_await client.get("/orders/7"), http::request_error);
        }) == service::exit_clean);
}

TEST_CASE("service client: what a service leaves behind fails the test") {
  shop s;
  s.of.get("/lose", [](request&) -> task<http::response> {
    const belay::failure lost = belay::failure::of(std::make_exception_ptr(belay::error("dropped")));
    co_return http::response::empty();
  });
  CHECK_THROWS_WITH_AS(run_service(s.of,
                                   [](service_client& client) -> task<> {
                                     CHECK((co_await client.get("/lose")).status() == 204);
                                   }),
                       doctest::Contains("nobody looked at: "), belay::error);
}

TEST_CASE("service client: a service and its test, cancelled at any await, leave nothing behind") {
  struct world {
    belay::testing::fake_network net;
    belay::io::network_override here{net};
    shop s;
  };
  const belay::testing::report found =
      belay::testing::cancel_everywhere([](belay::testing::stage& s) -> task<> {
        world& w = s.make<world>();
        w.s.mail_takes = 1s;
        s.expect("all is closed", [&w] { return w.net.nothing_left() && w.s.open == 0; });
        static_cast<void>(co_await belay::testing::with_service(w.s.of, [](service_client& client) -> task<> {
          static_cast<void>(co_await client.post_json("/orders", "{}"));
          co_await client.background();
        }));
      });
  CHECK_MESSAGE(found.ok(), found.text());
}
