// SPDX-License-Identifier: Apache-2.0
// Request bodies that the handler reads while they come: back-pressure, limits, clients that drip or go, what is left unread.

#include "support_site.hpp"

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

http::server_hooks streaming(std::optional<std::uint64_t> limit = std::nullopt) {
  http::server_hooks hooks;
  hooks.plan_body = [limit](const http::request& head, const belay::io::endpoint&) {
    return http::body_plan{
        .how = head.path == "/whole" ? http::body_plan::way::whole : http::body_plan::way::streamed,
        .limit = limit};
  };
  return hooks;
}

std::string post(std::string_view body, std::string_view more = "", std::string_view path = "/up") {
  return test::ask(path, "Content-Length: " + std::to_string(body.size()) + "\r\n" + std::string(more),
                   "POST") +
         std::string(body);
}
constexpr std::string_view chunked = "Transfer-Encoding: chunked\r\n";

task<std::string> read_all(http::exchange& e) {
  std::string all;
  co_await belay::for_each(e.body_stream(), [&](const std::string& piece) { all += piece; });
  co_return all;
}
task<http::response> echo(http::exchange& e) {
  co_return http::response::text(http::status::ok, e.request.body + "|" + co_await read_all(e));
}
task<http::response> ignore(http::exchange&) { co_return http::response::text(http::status::ok, "ignored"); }

}  // namespace

TEST_CASE(
    "body stream: what the client sends, by length and chunked, cut anywhere, one request after the other") {
  for (const std::size_t piece : {0U, 1U, 7U}) {
    test::run_site(echo,
                   [](http::server&) -> task<> {
                     visitor v = co_await visitor::arrive();
                     co_await v.send(post("hello") + test::ask("/up", chunked, "POST") +
                                     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + post("") + test::ask("/up") +
                                     post("all", "", "/whole"));
                     CHECK(co_await v.body() == "|hello");
                     CHECK(co_await v.body() == "|abcde");
                     CHECK(co_await v.body() == "|");
                     CHECK(co_await v.body() == "|");
                     CHECK(co_await v.body() == "all|all");
                   },
                   {}, streaming(), {.read_at_most = piece});
  }
}

TEST_CASE(
    "body stream: the handler begins before the body is here; it is read no faster than it is asked for") {
  std::size_t got = 0;
  http::server_options limits;
  limits.read_ahead_limit = 20'000;
  test::run_site(
      [&](http::exchange& e) -> task<http::response> {
        co_await belay::sleep_for(10s);
        co_await belay::for_each(e.body_stream(), [&](const std::string& piece) -> task<> {
          CHECK(piece.size() < 30'000);
          got += piece.size();
          co_await belay::sleep_for(1s);
        });
        co_return http::response::text(http::status::ok, std::to_string(got));
      },
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        const auto upload = [](visitor& by) -> task<> {
          co_await by.send(test::ask("/up", "Content-Length: 500000\r\n", "POST"));
          for (int i = 0; i != 50; ++i) co_await by.send(std::string(10'000, 'x'));
        };
        const auto in_time = co_await belay::move_on_after(9s, upload(v));
        CHECK_FALSE(in_time);  // held back: 20,000 bytes ahead, and what the network holds
        CHECK(got == 0);
      },
      limits, streaming(), {.buffer = 10'000});
  std::size_t sent_at = 0;
  test::run_site(
      [&](http::exchange& e) -> task<http::response> {
        std::size_t sum = 0;
        co_await belay::for_each(e.body_stream(), [&](const std::string& piece) -> task<> {
          sum += piece.size();
          co_await belay::sleep_for(1s);
        });
        co_return http::response::text(http::status::ok, std::to_string(sum));
      },
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 500000\r\n", "POST"));
        for (int i = 0; i != 50; ++i) co_await v.send(std::string(10'000, 'x'));
        ++sent_at;
        CHECK(co_await v.body() == "500000");
      },
      limits, streaming(), {.buffer = 10'000});
  CHECK(sent_at == 1);
}

TEST_CASE("body stream: 100 Continue goes out when the body is first asked for, and not after the answer") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        co_await belay::sleep_for(5s);
        if (e.request.path == "/no") co_return http::response::text(http::status::ok, "no");
        co_return http::response::text(http::status::ok, co_await read_all(e));
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 2\r\nExpect: 100-continue\r\n", "POST"));
        CHECK(co_await v.head() == "HTTP/1.1 100 Continue\r\n\r\n");
        co_await v.send("ab");
        CHECK(co_await v.body() == "ab");
        co_await v.send(test::ask("/no", "Content-Length: 2\r\nExpect: 100-continue\r\n", "POST"));
        const std::string head = co_await v.head();  // whether the body comes cannot be known
        CHECK(holds(head, "200 OK"));
        CHECK(holds(head, "Connection: close"));
        CHECK(co_await v.rest() == "no");
      },
      {}, streaming());
}

TEST_CASE("body stream: too large is a 413, at once if it is announced, later if not [row 431]") {
  int called = 0;
  const auto end = test::run_site(
      [&](http::exchange& e) -> task<http::response> {
        ++called;
        co_return http::response::text(http::status::ok, co_await read_all(e));
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(post("12345"));
        CHECK(co_await v.body() == "12345");
        co_await v.send(post("123456"));
        CHECK(holds(co_await v.rest(), "HTTP/1.1 413 "));
        visitor w = co_await visitor::arrive();
        co_await w.send(test::ask("/up", chunked, "POST") + "3\r\nabc\r\n");
        co_await belay::sleep_for(1s);
        co_await w.send("3\r\ndef\r\n0\r\n\r\n");
        const std::string answer = co_await w.rest();
        CHECK(holds(answer, "HTTP/1.1 413 "));
        CHECK(holds(answer, "Connection: close"));
      },
      {}, streaming(5));
  CHECK(called == 2);
  CHECK(end.lost.empty());
}

TEST_CASE("body stream: a malformed one is a 400 in the middle, a handler that minds answers as it likes") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        const auto how = co_await belay::as_outcome(read_all(e));
        REQUIRE(how.failed());
        how.failure().observe();
        if (e.request.path == "/own") co_return http::response::text(http::status::conflict, "mine");
        how.failure().rethrow();
      },
      [](http::server&) -> task<> {
        for (const auto& [path, status] :
             {std::pair{"/up", "HTTP/1.1 400 "}, std::pair{"/own", "HTTP/1.1 409 "}}) {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask(path, chunked, "POST") + "3\r\nabc\r\n");
          co_await belay::sleep_for(1s);
          co_await v.send("nonsense\r\n" + test::ask("/next"));
          const std::string answer = co_await v.rest();
          CHECK(answer.starts_with(status));
          CHECK(holds(answer, "Connection: close"));
        }
      },
      {}, streaming());
}

TEST_CASE("body stream: one that stops, or drips, is a 408") {
  http::server_options limits;
  limits.body_timeout = 5s;
  limits.min_body_rate = 100;
  for (const bool drips : {false, true}) {
    const auto end = test::run_site(
        echo,
        [&](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask("/up", "Content-Length: 1000\r\n", "POST") + "x");
          for (int i = 0; drips && i != 8; ++i) {
            co_await belay::sleep_for(1s);
            const auto sent = co_await belay::as_outcome(v.send("y"));
            if (sent.failed()) sent.failure().observe();  // the server has gone
          }
          CHECK(holds(co_await v.rest(), "HTTP/1.1 408 "));
        },
        limits, streaming());
    CHECK(end.lost.empty());
    CHECK(end.elapsed < 12s);
  }
}

TEST_CASE("body stream: one that is slow but fast enough, or whose handler is slow, is read to its end") {
  http::server_options limits;
  limits.body_timeout = 5s;
  limits.min_body_rate = 100;
  test::run_site(
      echo,
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 3000\r\n", "POST"));
        for (int i = 0; i != 10; ++i) {
          co_await belay::sleep_for(2s);
          co_await v.send(std::string(300, 'x'));
        }
        CHECK((co_await v.body()).size() == 3001);
      },
      limits, streaming());
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        co_await belay::for_each(e.body_stream(),
                                 [](const std::string&) -> task<> { co_await belay::sleep_for(1h); });
        co_return http::response::text(http::status::ok, "read");
      },
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(post("abc"));
        CHECK(co_await v.body() == "read");
      },
      limits, streaming());
}

TEST_CASE("body stream: a client that goes cancels the handler, whether it reads or not [row 428]") {
  for (const bool reads : {true, false}) {
    int cleaned = 0;
    http::delivery how = http::delivery::sent;
    http::server_hooks hooks = streaming();
    hooks.ended = [&](http::exchange&, const http::response* what, http::delivery ended) {
      CHECK(what == nullptr);
      how = ended;
    };
    const auto end = test::run_site(
        [&](http::exchange& e) -> task<http::response> {
          struct guard {
            int& of;
            ~guard() { ++of; }
          };
          const guard at_the_end{cleaned};
          if (!reads) co_await belay::sleep_for(24h);
          co_return http::response::text(http::status::ok, co_await read_all(e));
        },
        [&](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask("/up", "Content-Length: 1000\r\n", "POST") + "half");
          co_await belay::sleep_for(1s);
          v.close();
          co_await belay::sleep_for(1s);
          CHECK(cleaned == 1);
        },
        {}, std::move(hooks));
    CHECK(how == http::delivery::disconnected);
    CHECK(end.lost.empty());
  }
}

TEST_CASE("body stream: where disconnects are ignored, a body cut off is an error, never a short body") {
  http::server_options limits;
  limits.disconnect = http::server_options::on_disconnect::ignore;
  std::string said;
  http::server_hooks hooks = streaming();
  hooks.failed = [&](const http::exchange&, const belay::failure& why) {
    said = why.message();
    why.observe();
    return http::response::text(http::status::bad_request, "cut off");
  };
  test::run_site(
      echo,
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 1000\r\n", "POST") + "half");
        v.end_writing();
        CHECK(holds(co_await v.rest(), "cut off"));
      },
      limits, std::move(hooks));
  CHECK(holds(said, "before the end of its body"));
}

TEST_CASE("body stream: what is left unread is dropped if it is short, or the connection ends [row 430]") {
  http::server_options limits;
  limits.early_answer_drain_limit = 100;
  test::run_site(
      ignore,
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 100\r\n", "POST"));
        CHECK(co_await v.body() == "ignored");
        co_await v.send(std::string(100, 'x') + post("y"));
        CHECK(co_await v.body() == "ignored");
        co_await v.send(post("GET /evil HTTP/1.1\r\nHost: x\r\n\r\n") + post("z"));
        CHECK(co_await v.body() == "ignored");
        CHECK(co_await v.body() == "ignored");
        co_await v.send(test::ask("/up", "Content-Length: 101\r\n", "POST"));
        CHECK(holds(co_await v.head(), "Connection: close"));
        CHECK(co_await v.rest() == "ignored");
        visitor w = co_await visitor::arrive();
        co_await w.send(test::ask("/up", chunked, "POST") + "5\r\n");
        CHECK(holds(co_await w.head(), "Connection: close"));
        CHECK(co_await w.rest() == "ignored");
      },
      limits, streaming());
}

TEST_CASE("body stream: half of it read, and the rest dropped") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        std::string first;
        {
          belay::open_stream<std::string>& body = co_await belay::use(e.body_stream());
          first = *co_await body.next();
        }
        co_return http::response::text(http::status::ok, first);
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 6\r\n", "POST") + "abc");
        CHECK(co_await v.body() == "abc");
        co_await v.send("def" + post("ghi"));
        CHECK(co_await v.body() == "ghi");
      },
      {}, streaming());
}

TEST_CASE("body stream: from the request into the response, both at once") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        const auto shout = [](http::exchange& of) -> belay::stream<std::string> {
          belay::open_stream<std::string>& in = co_await belay::use(of.body_stream());
          while (std::string* piece = co_await in.next()) co_yield *piece + "!";
        };
        co_return http::response::streamed(http::status::ok, "text/plain", shout(e));
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", chunked, "POST") + "3\r\none\r\n");
        static_cast<void>(co_await v.head());
        CHECK(co_await v.until("!\r\n") == "4\r\none!\r\n");
        co_await v.send("3\r\ntwo\r\n");
        CHECK(co_await v.until("!\r\n") == "4\r\ntwo!\r\n");
        co_await v.send("0\r\n\r\n" + test::ask("/up"));
        CHECK(co_await v.until("\r\n\r\n") == "0\r\n\r\n");
        CHECK(holds(co_await v.head(), "200 OK"));
        CHECK(co_await v.until("\r\n\r\n") == "0\r\n\r\n");
      },
      {}, streaming());
}

TEST_CASE("body stream: a reader that gives up for a while loses nothing; a second one is misuse") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        if (e.request.path == "/whole")
          co_return http::response::text(http::status::ok, co_await read_all(e));
        static_cast<void>(co_await belay::move_on_after(1s, read_all(e)));
        const auto again = [](http::exchange& of) -> task<> {
          co_await belay::for_each(of.body_stream(), [](std::string&) {});
        };
        const auto how = co_await belay::as_outcome(again(e));
        REQUIRE(how.failed());
        CHECK(holds(how.failure().message(), "called twice"));
        how.failure().observe();
        co_return http::response::text(http::status::ok, "fine");
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 3\r\n", "POST"));
        CHECK(co_await v.body() == "fine");
        co_await v.send("abc" + test::ask("/whole"));
        CHECK(holds(co_await v.head(), "200 OK"));
      },
      {}, streaming());
}

TEST_CASE("body stream: a plan that throws is answered, and nothing is read") {
  http::server_hooks hooks;
  hooks.plan_body = [](const http::request&, const belay::io::endpoint&) -> http::body_plan {
    throw http::problem_error(http::status::forbidden, "no_uploads", "no uploads here");
  };
  test::run_site(
      ignore,
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(post("abc"));
        CHECK(holds(co_await v.head(), "HTTP/1.1 403 "));
      },
      {}, std::move(hooks));
}

TEST_CASE(
    "body stream: a streamed answer that asks in vain for a body held back by its client ends the connection") {
  http::server_options limits;
  limits.body_timeout = 5s;
  for (const bool refused : {false, true}) {
    CAPTURE(refused);
    int victims = 0;
    test::run_site(
        [&](http::exchange& e) -> task<http::response> {
          if (e.request.path == "/victim") ++victims;
          const auto late = [](http::exchange& of, bool until_refused) -> belay::stream<std::string> {
            const auto ask = [](http::exchange& about) -> task<std::string> {
              co_return co_await read_all(about);
            };
            const auto how = co_await belay::as_outcome(
                belay::move_on_after(until_refused ? belay::duration(1min) : 1s, ask(of)));
            if (how.failed()) how.failure().observe();
            CHECK(how.failed() == until_refused);
            co_yield "done";
          };
          co_return http::response::streamed(http::status::ok, "text/plain", late(e, refused));
        },
        [&](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          const std::string next = test::ask("/victim");
          const std::string length = "Content-Length: " + std::to_string(next.size()) + "\r\n";
          co_await v.send(test::ask("/up", length + (refused ? "" : "Expect: 100-continue\r\n"), "POST"));
          const std::string head = co_await v.head();
          CHECK(holds(head, "200 OK"));
          CHECK(holds(head, "Connection: close") == !refused);  // what was not asked for yet will not come
          CHECK(test::dechunk(co_await v.until("0\r\n\r\n")).content == "done");
          const belay::time_point end = belay::now();
          co_await v.send(next);
          CHECK(co_await v.rest() == "");
          CHECK(belay::now() == end);  // the client learns at once that this was not read
          CHECK(victims == 0);
        },
        limits, streaming());
  }
}

TEST_CASE("body stream: a client that does not take the 100 Continue it asked for is one that left") {
  http::server_options limits;
  limits.write_timeout = 3s;
  std::string code;
  const auto end = test::run_site(
      [&code](http::exchange& e) -> task<http::response> {
        const auto how = co_await belay::as_outcome(read_all(e));
        if (how.failed()) {
          const belay::failure why = how.failure();
          why.observe();
          code = why.find<belay::io::disconnected_error>() != nullptr ? "left" : why.message();
        }
        co_return http::response::text(http::status::ok, "late");
      },
      [](http::server& web) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/up", "Content-Length: 5\r\nExpect: 100-continue\r\n", "POST"));
        co_await belay::sleep_for(5s);
        CHECK(web.statistics().connections == 0);
        CHECK_FALSE(holds(co_await v.rest(), "200 OK"));
      },
      limits, streaming(), {.buffer = 10});
  CHECK((code == "left" || code.empty()));  // told, or cancelled
  CHECK(end.lost.empty());
}
