// SPDX-License-Identifier: Apache-2.0
// Responses that are read part by part.

#include <belay/core/sleep.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "site_support.hpp"

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using belay::task;
using namespace std::chrono_literals;
using test::contains;

namespace {

// A server by hand: answers each connection with these bytes, then ends it or waits for the next request.
struct source {
  std::string head{};
  std::string part{};
  std::size_t parts = 1;
  bool ends = true;
  std::uint64_t sent = 0;
  std::string later{};  // after a while

  static task<> serve_one(source& self, io::tcp_stream with) {
    std::array<char, 1000> request{};
    try {
      while (co_await with.read_some(request) != 0) {
        co_await with.write(self.head);
        for (std::size_t i = 0; i != self.parts; ++i) {
          co_await with.write(self.part);
          self.sent += self.part.size();
        }
        if (!self.later.empty()) {
          co_await belay::sleep_for(100ms);
          co_await with.write(self.later);
        }
        if (self.ends) break;
      }
      with.end_writing();
    } catch (const io::disconnected_error&) {
      co_return;  // the client had enough
    }
  }
  static task<> serve(source& self) {
    auto listener = io::tcp_listener::bind({"127.0.0.1", 80});
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      while (true) tasks.spawn(serve_one, std::ref(self), co_await listener.accept());
    });
  }
};

struct world {
  bt::test_loop loop{};
  bt::fake_network net{{.conditions = {.delay = 1ms, .buffer = 10'000}}};
  source from{};
  http::client_options options{.response_timeout = 5s};

  void run(belay::task_function<task<>(http::client&)> conversation) {
    const io::network_override guard(net);
    loop.run(converse(conversation));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
  }

 private:
  task<> converse(belay::task_function<task<>(http::client&)>& conversation) {
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.spawn(&source::serve, std::ref(from));
      http::client web(options);
      co_await conversation(web);
      web.close();
      CHECK(web.statistics().connections == 0);
      tasks.cancel();
    });
  }
};

task<std::size_t> size_of(http::incoming& answer) {
  std::size_t size = 0;
  for (std::string part = co_await answer.read(); !part.empty(); part = co_await answer.read())
    size += part.size();
  co_return size;
}

http::client_request get() { return test::get("http://127.0.0.1/"); }

}  // namespace

TEST_CASE(
    "client stream: a body larger than any limit is read part by part, and the connection is used again") {
  world w;
  w.from = {.head = "HTTP/1.1 200 OK\r\nX-Is: big\r\nContent-Length: 20000000\r\n\r\n",
            .part = std::string(100'000, 'x'),
            .parts = 200,
            .ends = false};
  w.run([](http::client& web) -> task<> {
    for (int turn = 0; turn != 2; ++turn) {
      co_await belay::with(web.stream(get()), [](http::incoming& answer) -> task<> {
        CHECK(answer.status() == http::status::ok);
        CHECK(answer.headers().find("X-Is") == "big");
        CHECK(co_await size_of(answer) == 20'000'000);
        CHECK((co_await answer.read()).empty());
      });
    }
    CHECK(web.statistics().connects == 1);
    CHECK(web.statistics().active == 0);
  });
}

TEST_CASE(
    "client stream: nothing is read before it is asked for, and who leaves early drops the connection") {
  world w;
  w.from = {.head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            .part = "3e8\r\n" + std::string(1000, 'x') + "\r\n",
            .parts = 100'000};
  w.run([&w](http::client& web) -> task<> {
    co_await belay::with(web.stream(get()), [&](http::incoming& answer) -> task<> {
      CHECK_FALSE((co_await answer.read()).empty());
      co_await belay::sleep_for(3s);
      CHECK(w.from.sent < 40'000);  // what fits into the buffers
    });
    CHECK(web.statistics().connections == 0);
  });
}

TEST_CASE("client stream: what is cut off, malformed or silent is an error, at each read") {
  struct row {
    source from;
    const char* code;
  };
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const row& one :
       {row{{.head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", .part = "half"}, "response_truncated"},
        row{{.head = chunked, .part = "4\r\nhalf\r\n"}, "response_truncated"},
        row{{.head = chunked, .part = "4\r\nhalf\r\n", .later = "ZZ\r\n"}, "bad_response"},
        row{{.head = chunked, .part = "4\r\nhalf\r\n", .ends = false}, "response_timed_out"}}) {
    CAPTURE(one.code);
    world w;
    w.from = one.from;
    w.run([&one](http::client& web) -> task<> {
      co_await belay::with(web.stream(get()), [&](http::incoming& answer) -> task<> {
        CHECK(co_await answer.read() == "half");
        for (int again = 0; again != 2; ++again) {
          const auto how = co_await belay::as_outcome(answer.read());
          REQUIRE(how.failed());
          const auto* found = how.failure().find<http::request_error>();
          REQUIRE(found != nullptr);
          CHECK(found->code() == one.code);
        }
      });
    });
  }
}

TEST_CASE(
    "client stream: a body up to the end of the connection, one of nothing, and the error of the block") {
  world w;
  w.from = {.head = "HTTP/1.1 200 OK\r\n\r\n", .part = "until the end"};
  w.run([](http::client& web) -> task<> {
    co_await belay::with(web.stream(get()), [](http::incoming& answer) -> task<> {
      CHECK(co_await answer.read() == "until the end");
      CHECK((co_await answer.read()).empty());
    });
    auto head = get();
    head.method = http::method::head;
    co_await belay::with(web.stream(head),
                         [](http::incoming& answer) -> task<> { CHECK((co_await answer.read()).empty()); });
    CHECK_THROWS_WITH(co_await belay::with(web.stream(get()),
                                           [](http::incoming&) -> task<> {
                                             throw std::runtime_error("of the block");
                                             co_return;
                                           }),
                      "of the block");
  });
}

TEST_CASE("client stream: cancelled and failed at every await, no connection is left") {
  const bt::report found = bt::everywhere([](bt::stage& s) -> task<> {
    struct site {
      bt::fake_network net{{.conditions = {.delay = 1ms, .buffer = 3000}}};
      io::network_override here{net};
      source from{.head = "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n",
                  .part = std::string(3000, 'x'),
                  .parts = 3,
                  .ends = false};
      http::client client{{.response_timeout = 5s}};
    };
    site& at = s.make<site>();
    s.expect("the client has as many connections as it says", [&at] {
      const http::client_statistics now = at.client.statistics();
      return now.active == 0 && now.connections == now.idle;
    });
    s.expect("no connection is left when it is closed", [&at] {
      at.client.close();
      return at.net.nothing_left();
    });
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      auto server = tasks.spawn([&s](site& of) -> task<> { co_await s.undisturbed(source::serve(of.from)); },
                                std::ref(at));
      for (int turn = 0; turn != 2; ++turn) {
        co_await belay::with(at.client.stream(get()), [](http::incoming& answer) -> task<> {
          if (co_await size_of(answer) != 9000) throw std::runtime_error("not all of it");
        });
      }
      at.client.close();
      server.cancel();
    });
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.awaits > 10);
}
