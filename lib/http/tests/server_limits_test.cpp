// SPDX-License-Identifier: Apache-2.0
// The limits of a connection and of a request, and the methods that are the server's own affair.

#include "support_site.hpp"

#include <belay/core/finally.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
using namespace std::chrono_literals;
using belay::task;
using test::holds;
using test::visitor;

namespace {

task<http::response> hello(http::exchange&) { co_return http::response::text(http::status::ok, "hello"); }

}  // namespace

TEST_CASE("server: a connection without a first byte is closed, sooner than an idle one") {
  http::server_options limits;
  limits.first_byte_timeout = 5s;
  limits.idle_timeout = 60s;
  const auto end = test::run_site(
      hello,
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        CHECK(co_await v.rest() == "");
        visitor w = co_await visitor::arrive();
        co_await w.send(test::ask("/"));
        CHECK(co_await w.body() == "hello");
        CHECK(co_await w.rest() == "");
      },
      limits);
  CHECK(end.elapsed == 65s);
  CHECK(end.statistics.refusals == 0);
}

TEST_CASE("server: after so many requests a connection ends, and says so with the last answer") {
  http::server_options limits;
  limits.requests_per_connection = 2;
  http::server_hooks hooks;
  hooks.judge_head = [](const http::request& head,
                        const belay::io::endpoint&) -> std::optional<http::response> {
    if (head.path == "/judged") return http::response::empty(http::status::not_found);
    return std::nullopt;
  };
  for (const char* first : {"/", "/judged"}) {
    const auto end = test::run_site(
        hello,
        [first](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask(first) + test::ask("/") + test::ask("/"));
          CHECK_FALSE(holds(co_await v.until("\r\n\r\n"), "Connection: close"));
          if (first == std::string_view("/")) CHECK(co_await v.take(5) == "hello");
          CHECK(holds(co_await v.head(), "Connection: close"));
          CHECK(co_await v.rest() == "hello");
        },
        limits, hooks);
  }
}

TEST_CASE("server: a handler that takes too long is cancelled, and the answer is 503 [row 427]") {
  http::server_options limits;
  limits.request_timeout = 10s;
  bool cleaned = false;
  belay::cancel_reason why = belay::cancel_reason::caller;
  const auto end = test::run_site(
      [&](http::exchange& e) -> task<http::response> {
        if (e.request.path == "/slow") {
          co_await belay::finally([]() -> task<> { co_await belay::sleep_for(1h); },
                                  [&](belay::exit_status how) -> task<> {
                                    co_await belay::sleep_for(1s);
                                    cleaned = how.cancelled();
                                    why = how.cancellation().reason();
                                  });
        }
        const auto left = belay::current_deadline() - belay::now();
        co_return http::response::text(
            http::status::ok, std::to_string(std::chrono::duration_cast<std::chrono::seconds>(left).count()));
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/slow"));
        const std::string head = co_await v.head();
        CHECK(holds(head, "HTTP/1.1 503 "));
        CHECK(holds(head, "Retry-After: 1\r\n"));
        CHECK_FALSE(holds(head, "Connection: close"));
        CHECK(holds(co_await v.until("}"), "\"code\":\"handler_timeout\""));
        co_await v.send(test::ask("/fast"));
        CHECK(co_await v.body() == "10");  // the limit flows into what the handler calls
      },
      limits);
  CHECK(cleaned);
  CHECK(why == belay::cancel_reason::deadline);
  CHECK(end.elapsed == 11s);
  CHECK(end.statistics.overruns == 1);
  CHECK(end.lost.empty());
}

TEST_CASE("server: of a streamed response, the limit of a request is for its beginning [row 427]") {
  http::server_options limits;
  limits.request_timeout = 10s;
  test::run_site(
      [](http::exchange&) -> task<http::response> {
        const auto slow = []() -> belay::stream<std::string> {
          co_await belay::sleep_for(1min);
          co_yield "late";
        };
        co_return http::response::streamed(http::status::ok, "text/plain", slow());
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        CHECK(holds(co_await v.until("\r\n0\r\n\r\n"), "late"));
      },
      limits);
}

TEST_CASE("server: OPTIONS * is answered for the server, TRACE and CONNECT are refused") {
  const auto end = test::run_site(hello, [](http::server&) -> task<> {
    visitor v = co_await visitor::arrive();
    co_await v.send(test::ask("*", "", "OPTIONS") + test::ask("/x", "", "OPTIONS"));
    const std::string head = co_await v.head();
    CHECK(holds(head, "HTTP/1.1 204 "));
    CHECK(holds(head, "Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"));
    CHECK(co_await v.body() == "hello");  // the handler's
    for (const char* verb : {"TRACE", "CONNECT"}) {
      visitor w = co_await visitor::arrive();
      co_await w.send(test::ask("/", "Cookie: secret\r\n", verb));
      const std::string answer = co_await w.rest();
      CHECK(holds(answer, "HTTP/1.1 501 "));
      CHECK_FALSE(holds(answer, "secret"));
    }
  });
  CHECK(end.statistics.requests == 1);
  CHECK(end.statistics.refusals == 2);
}

TEST_CASE("server: HEAD of what fails, is refused or judged has no body [row 441]") {
  http::server_hooks hooks;
  hooks.judge_head = [](const http::request& head,
                        const belay::io::endpoint&) -> std::optional<http::response> {
    if (head.path == "/judged") return http::response::text(http::status::not_found, "no");
    return std::nullopt;
  };
  test::run_site(
      [](http::exchange&) -> task<http::response> {
        throw http::problem_error(http::status::conflict, "conflict", "as it is");
        co_return http::response();
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/judged", "", "HEAD") + test::ask("/", "", "HEAD") +
                        test::ask("/", "Expect: magic\r\n", "HEAD"));
        CHECK(holds(co_await v.head(), "HTTP/1.1 404 "));
        CHECK(holds(co_await v.head(), "HTTP/1.1 409 "));
        CHECK(holds(co_await v.head(), "HTTP/1.1 417 "));
        CHECK(co_await v.rest() == "");
      },
      {}, std::move(hooks));
}

TEST_CASE("server: the Date is that of the second, and goes on with the clock") {
  http::server_options options;
  options.wall_clock = [] { return std::chrono::system_clock::time_point(belay::now().time_since_epoch()); };
  test::run_site(
      hello,
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        std::vector<std::string> dates;
        for (int i = 0; i != 3; ++i) {
          co_await v.send(test::ask("/"));
          const std::string head = co_await v.head();
          dates.push_back(head.substr(head.find("Date: "), 35));
          CHECK(co_await v.take(5) == "hello");
          if (i == 1) co_await belay::sleep_for(1s);
        }
        CHECK(dates[0] == dates[1]);
        CHECK(dates[2] != dates[1]);
      },
      options);
}

TEST_CASE("server: wrong limits are misuse") {
  http::server_options limits;
  limits.request_timeout = 0s;
  CHECK_THROWS_AS(http::server(hello, {}, limits), belay::misuse_error);
  limits = {};
  limits.first_byte_timeout = 0s;
  CHECK_THROWS_AS(http::server(hello, {}, limits), belay::misuse_error);
}

TEST_CASE(
    "server: who answers for a failed handler has the body that the handler had, and as often as it likes [row 440]") {
  http::server_hooks hooks;
  hooks.failed = [](const http::exchange& of, const belay::failure& why) {
    why.observe();
    return http::response::text(http::status::internal_server_error, "about " + of.request.body);
  };
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        for (int i = 0; i != 2; ++i) {
          std::string body;
          co_await belay::for_each(e.body_stream(), [&](const std::string& piece) { body += piece; });
          CHECK(body == "words");
        }
        throw std::runtime_error("no");
        co_return http::response();
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/", "Content-Length: 5\r\n", "POST") + "words");
        CHECK(co_await v.body() == "about words");
      },
      {}, std::move(hooks));
}

TEST_CASE(
    "server: a listener that fails for good ends serving with that error, and nothing is left [row 442]") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here(net);
  bool cleaned = false;
  http::server web([&](http::exchange&) -> task<http::response> {
    struct guard {
      bool& of;
      ~guard() { of = true; }
    };
    const guard at_the_end{cleaned};
    co_await belay::sleep_for(24h);
    co_return http::response();
  });
  const auto run = [&]() -> task<> {
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.adopt(web.serve(belay::io::tcp_listener::bind(test::site_address)));
      visitor v = co_await visitor::arrive();
      co_await v.send(test::ask("/"));
      co_await belay::sleep_for(1s);
      net.fail_accepts(std::errc::permission_denied);
      const visitor next = co_await visitor::arrive();
      static_cast<void>(co_await v.rest());
      co_await belay::sleep_for(1h);
    });
  };
  CHECK_THROWS_AS(loop.run(run()), belay::io::network_error);
  CHECK(cleaned);
  CHECK(web.statistics().accept_failures == 0);
  CHECK_MESSAGE(net.nothing_left(), net.describe());
}

TEST_CASE("server: empty lines now and then keep no connection open") {
  http::server_options limits;
  limits.first_byte_timeout = limits.idle_timeout = limits.head_timeout = 5s;
  const auto end = test::run_site(
      hello,
      [](http::server& web) -> task<> {
        const auto drip = [](http::server& of, visitor& by) -> task<> {
          for (int i = 0; i == 0 || (i != 10 && of.statistics().connections != 0); ++i) {
            co_await by.send("\r\n");
            co_await belay::sleep_for(4s);
          }
        };
        visitor v = co_await visitor::arrive();
        co_await drip(web, v);
        CHECK(web.statistics().connections == 0);
        visitor w = co_await visitor::arrive();
        co_await w.send(test::ask("/"));
        CHECK(co_await w.body() == "hello");
        co_await drip(web, w);
        CHECK(web.statistics().connections == 0);
      },
      limits);
  CHECK(end.elapsed == 16s);
}

TEST_CASE(
    "server: a hook's answer that is streamed, or ends no request, is a 500, and the connection goes on") {
  for (const bool streamed : {true, false}) {
    CAPTURE(streamed);
    const auto wrong = [streamed]() -> http::response {
      if (!streamed) return http::response::empty(static_cast<http::status>(103));
      const auto body = []() -> belay::stream<std::string> { co_yield "x"; };
      return http::response::streamed(http::status::ok, "text/plain", body());
    };
    http::server_hooks hooks;
    hooks.judge_head = [wrong](const http::request& head,
                               const belay::io::endpoint&) -> std::optional<http::response> {
      if (head.path == "/judged") return wrong();
      return std::nullopt;
    };
    hooks.refused = [wrong](const http::protocol_error&, const http::request&, const belay::io::endpoint&) {
      return wrong();
    };
    http::server_options limits;
    limits.max_connections = 1;
    const auto end = test::run_site(
        hello,
        [](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask("/judged") + test::ask("/"));
          const std::string head = co_await v.head();
          CHECK(holds(head, "HTTP/1.1 500 "));
          REQUIRE(holds(head, "Content-Length: "));
          CHECK(holds(co_await v.until("}"), "\"code\":\"internal\""));
          CHECK(co_await v.body() == "hello");
          visitor second = co_await visitor::arrive();
          CHECK(holds(co_await second.rest(), "HTTP/1.1 500 "));
          co_await v.send("nonsense\r\n\r\n");
          CHECK(holds(co_await v.rest(), "HTTP/1.1 500 "));
        },
        limits, hooks);
    REQUIRE(end.lost.size() == 3);
    for (const std::string& one : end.lost) CHECK(holds(one, "server_hooks"));
  }
}

TEST_CASE("server: what `failed` answers has a status that can be sent") {
  http::server_hooks hooks;
  hooks.failed = [](const http::exchange&, const belay::failure& why) {
    why.observe();
    return http::response::empty(static_cast<http::status>(100));
  };
  const auto end = test::run_site(
      [](http::exchange&) -> task<http::response> {
        throw http::problem_error(http::status::conflict, "no", "no");
        co_return http::response::empty();
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        CHECK(holds(co_await v.head(), "HTTP/1.1 500 "));
      },
      {}, hooks);
  REQUIRE(end.lost.size() == 1);
  CHECK(holds(end.lost.front(), "100"));
}

TEST_CASE("server: a network that cannot be reached for a while does not end it") {
  for (const std::errc reason :
       {std::errc::network_down, std::errc::network_unreachable, std::errc::host_unreachable,
        std::errc::protocol_error, std::errc::operation_not_permitted}) {
    belay::testing::test_loop loop;
    belay::testing::fake_network net;
    belay::io::network_override here(net);
    http::server_hooks hooks;
    hooks.accept_failed = [](const belay::failure& why) { why.observe(); };
    http::server web(hello, hooks);
    const auto run = [&]() -> task<> {
      co_await belay::with_group([&](belay::group& tasks) -> task<> {
        tasks.adopt(web.serve(belay::io::tcp_listener::bind(test::site_address)));
        co_await belay::sleep_for(1s);
        net.fail_accepts(reason);
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        co_await belay::sleep_for(1s);
        CHECK(web.statistics().accept_failures != 0);
        CHECK(co_await v.body() == "hello");
        web.drain();
      });
    };
    loop.run(run());
    CHECK_MESSAGE(net.nothing_left(), net.describe());
  }
}
