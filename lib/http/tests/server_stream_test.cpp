// SPDX-License-Identifier: Apache-2.0
// Answers that are made while they are sent: framing, back-pressure, clients that go, streams that fail, draining.

#include "support_site.hpp"

#include <belay/core/event.hpp>
#include <belay/core/sleep.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
using namespace std::chrono_literals;
using namespace std::string_literals;
using belay::task;
using test::holds;
using test::visitor;

namespace {

belay::stream<std::string> words(std::vector<std::string> all) {
  for (std::string& one : all) co_yield one;
}
belay::stream<std::string> fails_after(std::string first) {
  co_yield first;
  throw std::runtime_error("the cursor broke");
}
// Counts its items, and itself as long as it lives.
struct watched {
  int items = 0;
  int open = 0;
  int closed = 0;
  belay::cancel_reason why = belay::cancel_reason::caller;
};
struct opened {
  watched& by;
  explicit opened(watched& of) : by(of) { ++by.open; }
  opened(const opened&) = delete;
  opened& operator=(const opened&) = delete;
  ~opened() {
    ++by.closed;
    if (const auto record = belay::current_cancellation()) by.why = record.reason();
  }
};
belay::stream<std::string> endless(watched& by, std::string piece) {
  const opened here(by);
  while (true) {
    ++by.items;
    co_yield piece;
  }
}
belay::stream<std::string> silent(watched& by) {
  const opened here(by);
  co_yield "first";
  co_await belay::sleep_for(24h);
  co_yield "last";
}

// A handler that answers with the stream `make(args...)`, made anew for each request.
template <class F, class... A>
http::handler gives_with(http::stream_options how, F make, A... args) {
  return [=](http::exchange&) -> task<http::response> {
    co_return http::response::streamed(http::status::ok, "text/plain", make(args...), how);
  };
}
template <class F, class... A>
http::handler gives(F make, A... args) {
  return gives_with({}, make, args...);
}

http::server_hooks remember(std::vector<http::delivery>& ends) {
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response*, http::delivery how) { ends.push_back(how); };
  return hooks;
}

}  // namespace

TEST_CASE("stream: chunked for HTTP/1.1, and the connection goes on") {
  std::vector<http::delivery> ends;
  test::run_site(
      gives(words, std::vector<std::string>{"one ", "", "two ", std::string(100'000, 'x')}),
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        for (int i = 0; i != 2; ++i) {
          co_await v.send(test::ask("/"));
          const std::string head = co_await v.head();
          CHECK(holds(head, "HTTP/1.1 200 OK\r\n"));
          CHECK(holds(head, "Transfer-Encoding: chunked\r\n"));
          CHECK_FALSE(holds(head, "Content-Length"));
          CHECK_FALSE(holds(head, "Connection: close"));
          const auto got = test::dechunk(co_await v.until("\r\n0\r\n\r\n"));
          CHECK(got.whole);
          CHECK(got.content == "one two " + std::string(100'000, 'x'));
        }
      },
      {}, remember(ends));
  CHECK(ends == std::vector{http::delivery::sent, http::delivery::sent});
}

TEST_CASE("stream: of a known length, with Content-Length, for HTTP/1.0 too") {
  test::run_site(gives_with({.length = 7}, words, std::vector<std::string>{"one ", "two"}),
                 [](http::server&) -> task<> {
                   visitor v = co_await visitor::arrive();
                   co_await v.send(test::ask("/"));
                   CHECK(co_await v.body() == "one two");
                   co_await v.send(test::ask("/", "Connection: keep-alive\r\n", "GET", "HTTP/1.0"));
                   CHECK(co_await v.body() == "one two");
                   co_await v.send(test::ask("/"));
                   CHECK(co_await v.body() == "one two");
                 });
}

TEST_CASE("stream: for HTTP/1.0 of no known length, up to the end of the connection") {
  test::run_site(gives(words, std::vector<std::string>{"one ", "two"}), [](http::server&) -> task<> {
    visitor v = co_await visitor::arrive();
    co_await v.send(test::ask("/", "Connection: keep-alive\r\n", "GET", "HTTP/1.0"));
    const std::string head = co_await v.head();
    CHECK(holds(head, "Connection: close\r\n"));
    CHECK_FALSE(holds(head, "Transfer-Encoding"));
    CHECK(co_await v.rest() == "one two");
  });
}

TEST_CASE("stream: for HEAD, 204 and 304 it does not run [rows 422, 441]") {
  watched w;
  struct one {
    std::string verb;
    http::status code;
  };
  for (const one& kind : {one{"HEAD", http::status::ok}, one{"GET", http::status::no_content},
                          one{"GET", http::status::not_modified}}) {
    test::run_site(
        [&](http::exchange&) -> task<http::response> {
          co_return http::response::streamed(kind.code, "text/plain", endless(w, "x"));
        },
        [&](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask("/", "", kind.verb) + test::ask("/", "Connection: close\r\n", kind.verb));
          static_cast<void>(co_await v.head());
          CHECK(co_await v.head() != "");
          CHECK(co_await v.rest() == "");
        });
  }
  CHECK(w.open == 0);
}

TEST_CASE("stream: shorter or longer than its length, the connection is closed and it is told [row 420]") {
  struct one {
    std::vector<std::string> pieces;
    std::string told;
  };
  for (const one& bad :
       {one{{"1234"}, "a streamed response ended 3 bytes before its announced length of 7 bytes"},
        one{{"1234", "5678"}, "a streamed response is longer than its announced length of 7 bytes"}}) {
    std::vector<http::delivery> ends;
    std::vector<std::string> told;
    http::server_hooks hooks = remember(ends);
    hooks.body_failed = [&](const http::exchange& of, const belay::failure& why) {
      CHECK(of.request.path == "/x");
      told.push_back(why.message());
      why.observe();
    };
    const auto end = test::run_site(
        gives_with({.length = 7}, words, bad.pieces),
        [](http::server&) -> task<> {
          visitor v = co_await visitor::arrive();
          co_await v.send(test::ask("/x") + test::ask("/next"));
          static_cast<void>(co_await v.head());
          CHECK(co_await v.rest() == "1234");
        },
        {}, std::move(hooks));
    CHECK(ends == std::vector{http::delivery::broken});
    REQUIRE(told.size() == 1);
    CHECK(holds(told[0], bad.told));
    CHECK(end.statistics.requests == 1);
    CHECK(end.statistics.body_failures == 1);
    CHECK(end.lost.empty());
  }
}

TEST_CASE(
    "stream: one that fails closes the connection without the last chunk, and is reported once [row 420]") {
  std::vector<http::delivery> ends;
  const auto end = test::run_site(
      gives(fails_after, "part"s),
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        CHECK(holds(co_await v.head(), "200 OK"));
        const std::string body = co_await v.rest();
        CHECK(body == "4\r\npart\r\n");
        CHECK_FALSE(test::dechunk(body).whole);
      },
      {}, remember(ends));
  CHECK(ends == std::vector{http::delivery::broken});
  REQUIRE(end.lost.size() == 1);
  CHECK(holds(end.lost[0], "the cursor broke"));
}

TEST_CASE("stream: a hook that throws about a failed body is reported, and nothing else happens") {
  http::server_hooks hooks;
  hooks.body_failed = [](const http::exchange&, const belay::failure& why) {
    why.observe();
    throw std::runtime_error("hook");
  };
  const auto end = test::run_site(
      gives(fails_after, "part"s),
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        static_cast<void>(co_await v.rest());
      },
      {}, std::move(hooks));
  REQUIRE(end.lost.size() == 1);
  CHECK(holds(end.lost[0], "hook"));
}

TEST_CASE("stream: a client that does not read holds it back, then loses it to the write timeout [row 429]") {
  watched w;
  std::vector<http::delivery> ends;
  http::server_options limits;
  limits.write_timeout = 5s;
  const auto end = test::run_site(
      gives(endless, std::ref(w), std::string(1000, 'x')),
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        co_await belay::sleep_for(4s);
        CHECK(w.items > 5);
        CHECK(w.items < 20);  // a buffer of 10,000 bytes, one in the writer's hand, one in the maker's
        CHECK(w.closed == 0);
        co_await belay::sleep_for(2s);
        CHECK(w.closed == 1);
      },
      limits, remember(ends), {.buffer = 10'000});
  CHECK(ends == std::vector{http::delivery::lost});
  CHECK(end.lost.empty());
}

TEST_CASE("stream: a client that goes ends it, though it makes nothing [row 428]") {
  watched w;
  std::vector<http::delivery> ends;
  const auto end = test::run_site(
      gives(silent, std::ref(w)),
      [&](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        static_cast<void>(co_await v.until("first"));
        v.close();
        co_await belay::sleep_for(1s);
        CHECK(w.closed == 1);
      },
      {}, remember(ends));
  CHECK(w.why == belay::cancel_reason::disconnect);
  CHECK(ends == std::vector{http::delivery::lost});
  CHECK(end.statistics.disconnects == 1);
  CHECK(end.lost.empty());
}

TEST_CASE("stream: a drain waits for one that has an end, and cuts one short that says so") {
  const auto slow = []() -> belay::stream<std::string> {
    for (int i = 0; i != 3; ++i) {
      co_yield "x";
      co_await belay::sleep_for(10s);
    }
  };
  const auto finishes = test::run_site(gives(slow), [](http::server& web) -> task<> {
    visitor v = co_await visitor::arrive();
    co_await v.send(test::ask("/"));
    static_cast<void>(co_await v.head());
    web.drain();
    const auto body = test::dechunk(co_await v.rest());
    CHECK(body.whole);
    CHECK(body.content == "xxx");
  });
  CHECK(finishes.elapsed == 30s);
  std::vector<http::delivery> ends;
  watched w;
  const auto cut = test::run_site(
      gives_with({.drain = http::stream_options::on_drain::end}, silent, std::ref(w)),
      [](http::server& web) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        static_cast<void>(co_await v.until("first\r\n"));
        web.drain();
        CHECK(co_await v.rest() == "0\r\n\r\n");
      },
      {}, remember(ends));
  CHECK(cut.elapsed < 1s);
  CHECK(w.why == belay::cancel_reason::shutdown);
  CHECK(ends == std::vector{http::delivery::sent});
}

TEST_CASE("stream: one of a length that a drain cuts short does not look complete, and is no failure") {
  watched w;
  std::vector<http::delivery> ends;
  const auto end = test::run_site(
      gives_with({.length = 9, .drain = http::stream_options::on_drain::end}, silent, std::ref(w)),
      [](http::server& web) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        CHECK(co_await v.until("first") != "");
        web.drain();
        CHECK(co_await v.rest() == "");
      },
      {}, remember(ends));
  CHECK(ends == std::vector{http::delivery::stopped});
  CHECK(end.lost.empty());
}

TEST_CASE("stream: a long poll answers when the server drains") {
  test::run_site(
      [](http::exchange& e) -> task<http::response> {
        co_await e.drain->wait();
        co_return http::response::text(http::status::ok, "nothing new");
      },
      [](http::server& web) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        co_await belay::sleep_for(1s);
        web.drain();
        CHECK(co_await v.body() == "nothing new");
      });
}

TEST_CASE("stream: its resources are closed before the next request, and before the request has ended") {
  std::vector<std::string> order;
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response*, http::delivery) { order.push_back("ended"); };
  const auto rows = [&]() -> belay::stream<std::string> {
    const auto cursor = [](std::vector<std::string>& log) -> belay::managed<int> {
      int it = 0;
      log.push_back("open");
      const belay::exit_status how = co_yield it;
      co_await belay::sleep_for(1s);
      log.push_back(how.succeeded() ? "closed" : "cut");
    };
    co_await belay::use(cursor(order));
    co_yield "row";
  };
  test::run_site(
      gives(rows),
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/"));
        static_cast<void>(co_await v.until("\r\n0\r\n\r\n"));
      },
      {}, std::move(hooks));
  CHECK(order == std::vector<std::string>{"open", "closed", "ended"});
}

TEST_CASE("stream: a response that is sent a second time fails, and is told") {
  std::optional<http::response> kept;
  const auto end = test::run_site(
      [&](http::exchange&) -> task<http::response> {
        if (!kept) kept = http::response::streamed(http::status::ok, "text/plain", words({"x"}));
        co_return *kept;
      },
      [](http::server&) -> task<> {
        visitor v = co_await visitor::arrive();
        co_await v.send(test::ask("/") + test::ask("/"));
        static_cast<void>(co_await v.until("\r\n0\r\n\r\n"));
        CHECK_FALSE(holds(co_await v.rest(), "0\r\n\r\n"));
      });
  REQUIRE(end.lost.size() == 1);
  CHECK(holds(end.lost[0], "it was sent before"));
}

TEST_CASE("stream: heartbeats go out in silence, framed; not with a length") {
  const auto pings = []() -> belay::stream<std::string> {
    co_await belay::sleep_for(25s);
    co_yield "pong";
  };
  test::run_site(gives_with({.heartbeat_every = 10s, .heartbeat = "ping "}, pings),
                 [](http::server&) -> task<> {
                   visitor v = co_await visitor::arrive();
                   co_await v.send(test::ask("/"));
                   static_cast<void>(co_await v.head());
                   CHECK(test::dechunk(co_await v.until("\r\n0\r\n\r\n")).content == "ping ping pong");
                 });
  CHECK_THROWS_AS(http::streamed_body(words({}), {.length = 1, .heartbeat_every = 1s}), belay::misuse_error);
  CHECK_THROWS_AS(http::streamed_body(words({}), {.heartbeat_every = -1s}), belay::misuse_error);
}

TEST_CASE("stream: several listeners are served by one server") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here(net);
  http::server web(gives(words, std::vector<std::string>{"x"}));
  const auto run = [&]() -> task<> {
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      std::vector<belay::io::tcp_listener> both;
      both.push_back(belay::io::tcp_listener::bind(test::site_address));
      both.push_back(belay::io::tcp_listener::bind({"127.0.0.2", 81}));
      tasks.adopt(web.serve(std::move(both)));
      for (const belay::io::endpoint& to : {test::site_address, belay::io::endpoint{"127.0.0.2", 81}}) {
        belay::io::tcp_stream stream = co_await belay::io::connect(to);
        co_await stream.write(test::ask("/", "Connection: close\r\n"));
        std::array<char, 4096> buffer;
        CHECK(co_await stream.read_some(buffer) != 0);
      }
      web.drain();
    });
  };
  loop.run(run());
  CHECK(web.statistics().accepted == 2);
  CHECK_MESSAGE(net.nothing_left(), net.describe());
  http::server nowhere(gives(words, std::vector<std::string>()));
  CHECK_THROWS_AS(loop.run(nowhere.serve(std::vector<belay::io::tcp_listener>())), belay::misuse_error);
}
