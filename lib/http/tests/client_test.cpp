// SPDX-License-Identifier: Apache-2.0
// The client on the fake network: what it sends, which connections it uses, and what it says of servers that misbehave.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/timeout.hpp>
#include <belay/errors/classify.hpp>
#include <belay/http/client.hpp>
#include <belay/io/network.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using belay::error_kind;
using belay::task;
using http::carried_out;
using http::client_request;
using namespace std::chrono_literals;

namespace {

const io::endpoint address{"127.0.0.1", 8080};

http::url to(std::string_view target = "/") {
  return http::url::parse("http://127.0.0.1:8080").with_target(target);
}
client_request get(std::string_view target = "/") { return client_request::get(to(target)); }
client_request post(std::string body = "{}") {
  return client_request::json(http::method::post, to(), std::move(body));
}

// One answer of a server: its bytes, in parts, and what it does before and after.
struct reply {
  std::vector<std::string> parts{};
  belay::duration before{};      // waits so long before the first part, and before each other one
  bool closes = false;           // afterwards
  bool silent = false;           // afterwards: keeps the connection, reads nothing
  belay::duration then_after{};  // so long after the parts …
  std::string then{};            // … it sends this, unasked
};
reply says(std::string bytes) { return {.parts = {std::move(bytes)}}; }
reply ok(const std::string& body = "hi", const std::string& fields = "") {
  return says("HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);
}

// A server that answers request number n with reply n, the last one again and again. It knows the end of a request by its length.
struct world {
  explicit world(std::vector<reply> all = {ok()}) : replies(std::move(all)) {}

  bt::test_loop loop;
  bt::fake_network net;
  io::network_override here{net};
  std::vector<reply> replies;
  std::vector<std::string> requests;
  http::client_options options{};
  http::client_statistics after{};

  task<> talk(io::tcp_stream stream) {
    std::string got;
    std::array<char, 4096> buffer;
    while (true) {
      std::size_t end = got.find("\r\n\r\n");
      std::size_t length = 0;
      if (const auto at = got.find("Content-Length: "); end != std::string::npos && at < end)
        length = std::stoul(got.substr(at + 16));
      if (end == std::string::npos || got.size() < end + 4 + length) {
        const std::size_t count = co_await stream.read_some(buffer);
        if (count == 0) co_return;
        got.append(buffer.data(), count);
        continue;
      }
      requests.push_back(got.substr(0, end + 4 + length));
      got.erase(0, end + 4 + length);
      const reply how = replies[std::min(requests.size(), replies.size()) - 1];
      for (const std::string& part : how.parts) {
        co_await belay::sleep_for(how.before);
        co_await stream.write(part);
      }
      if (!how.then.empty()) {
        co_await belay::sleep_for(how.then_after);
        co_await stream.write(how.then);
      }
      if (how.silent) co_await belay::sleep_for(1h);
      if (how.closes) co_return;
    }
  }
  task<> connected(io::tcp_stream stream) {
    try {
      co_await talk(std::move(stream));
    } catch (const io::network_error&) {
      co_return;  // the client has dropped it
    }
  }
  task<> serve(belay::group& all) {
    io::tcp_listener listener = io::tcp_listener::bind(address);
    while (true) all.spawn(&world::connected, this, co_await listener.accept());
  }

  // Runs `what` with a client while the server serves; nothing may be left.
  void run(belay::task_function<task<>(http::client&)> what, bool with_server = true) {
    loop.run(program(what, with_server));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
  }
  task<> use_client(const belay::task_function<task<>(http::client&)>& what) {
    http::client& web = co_await belay::use(http::open_client(options));
    co_await what(web);
    after = web.statistics();
  }
  task<> program(const belay::task_function<task<>(http::client&)>& what, bool with_server) {
    co_await belay::with_group([&](belay::group& all) -> task<> {
      if (with_server) all.spawn(&world::serve, this, std::ref(all));
      co_await use_client(what);
      all.cancel();
    });
  }
};

struct seen_error {
  error_kind kind = error_kind::internal;
  std::string code = "(none)";
  bool retryable = false;
  carried_out fate = carried_out::no;
  std::optional<belay::duration> retry_after{};
  std::string message{};
  std::string text{};  // with its causes
};

task<seen_error> error_of(task<http::response> op) {
  try {
    static_cast<void>(co_await std::move(op));
  } catch (const http::request_error& e) {
    co_return seen_error{.kind = e.kind(),
                         .code = std::string(e.code()),
                         .retryable = belay::is_retryable(belay::current_failure()),
                         .fate = e.fate(),
                         .retry_after = e.retry_after(),
                         .message = e.what(),
                         .text = belay::describe(belay::current_failure())};
  }
  co_return seen_error{};
}

// A network of one kind of connection, as bad as the system's can be: its writes fail if so wanted, reads wait for ever.
struct bad_network final : io::network {
  struct transport final : io::stream_transport {
    explicit transport(bad_network& from) : of(from) {}
    task<std::size_t> read_some(std::span<char> /*into*/) override {
      co_await belay::sleep_for(1h);
      co_return 0;
    }
    task<> write(std::string_view data) override {
      of.written = data;
      if (of.writing_fails != std::errc())
        io::throw_network_error("write to", address, std::make_error_code(of.writing_fails));
      co_return;
    }
    void end_writing() noexcept override {}
    void close() noexcept override {}
    [[nodiscard]] bool is_open() const noexcept override { return true; }
    [[nodiscard]] const io::endpoint& peer() const noexcept override { return address; }

    bad_network& of;
  };

  task<io::tcp_stream> connect(io::endpoint /*to*/, std::source_location /*where*/) override {
    if (while_connecting) while_connecting();
    co_return io::tcp_stream(std::make_unique<transport>(*this));
  }
  std::unique_ptr<io::listener_transport> bind(const io::endpoint& /*at*/,
                                               const io::listen_options& /*options*/,
                                               std::source_location /*where*/) override {
    return nullptr;
  }

  std::function<void()> while_connecting{};
  std::errc writing_fails{};
  std::string written{};
};

task<std::string> refused_as(task<http::response> op) {
  try {
    static_cast<void>(co_await std::move(op));
  } catch (const http::message_error& e) {
    co_return std::string(e.code());
  }
  co_return "";
}

// What a GET is told of a server that answers so.
seen_error told(reply how, http::client_options options = {}) {
  world at({std::move(how)});
  at.options = std::move(options);
  seen_error seen;
  at.run([&seen](http::client& web) -> task<> { seen = co_await error_of(web.fetch(get())); });
  CHECK(at.after.connections == 0);  // whatever it was, that connection is not used again
  return seen;
}

}  // namespace

TEST_CASE("client: a request as it goes over the wire, and the response") {
  world at({ok("[1]", "Content-Type: application/json\r\n")});
  at.run([](http::client& web) -> task<> {
    client_request what = post(R"({"a":1})");
    what.headers.add("X-One", "1");
    what.headers.add("Host", "elsewhere");
    what.headers.add("content-length", "999");
    what.headers.add("Transfer-Encoding", "chunked");
    const http::response got = co_await web.send(std::move(what));
    CHECK(got.status == http::status::ok);
    CHECK(got.body == "[1]");
    CHECK(got.headers.find("content-type") == "application/json");
    static_cast<void>(co_await web.send(get("/a?b=c")));
  });
  REQUIRE(at.requests.size() == 2);
  CHECK(
      at.requests[0] ==
      "POST / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nX-One: 1\r\nContent-Length: "
      "7\r\n\r\n{\"a\":1}");
  CHECK(at.requests[1] == "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
}

TEST_CASE("client: the time that is left is told to the server") {
  world at;
  at.run([](http::client& web) -> task<> {
    static_cast<void>(co_await belay::with_timeout(250ms, web.send(get())));
    client_request own = get();
    own.headers.add("Belay-Deadline-Ms", "7");
    static_cast<void>(co_await belay::with_timeout(250ms, web.send(std::move(own))));
  });
  CHECK(at.requests[0].find("Belay-Deadline-Ms: 250\r\n") != std::string::npos);
  CHECK(at.requests[1].find("Belay-Deadline-Ms: 7\r\n") != std::string::npos);
  CHECK(at.requests[1].find("250") == std::string::npos);
}

TEST_CASE("client: a task that is cancelled while it connects has no time left to tell the server") {
  bt::test_loop loop;
  bad_network net;
  const io::network_override here(net);
  loop.run([](bad_network& on) -> task<> {
    http::client& web = co_await belay::use(http::open_client());
    co_await belay::with_group([&](belay::group& all) -> task<> {
      on.while_connecting = [&all] { all.cancel(); };
      all.spawn([](http::client& with) -> task<> { static_cast<void>(co_await with.send(get())); },
                std::ref(web));
      co_return;
    });
  }(net));
  CHECK(net.written.find("Belay-Deadline-Ms: 1\r\n") != std::string::npos);
}

TEST_CASE("client: a connection is used again for what is idempotent, a fresh one for the rest") {
  world at;
  at.run([](http::client& web) -> task<> {
    for (int i = 0; i < 3; ++i) static_cast<void>(co_await web.send(get()));
    CHECK(web.statistics().connects == 1);
    CHECK(web.statistics().idle == 1);
    static_cast<void>(co_await web.send(post()));
    CHECK(web.statistics().connects == 2);
    CHECK(web.statistics().connections == 2);
  });
  CHECK(at.after.reused == 2);
  CHECK(at.after.active == 0);
}

TEST_CASE("client: who waits in line while the client is closed opens no connection") {
  world at({{.parts = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, .before = 100ms}});
  at.options.connections_per_host = 1;
  at.run([](http::client& web) -> task<> {
    co_await belay::with_group([&web](belay::group& tasks) -> task<> {
      tasks.spawn(
          [](http::client& of) -> task<> {
            const auto how = co_await belay::as_outcome(of.send(get()));
            CHECK(how.succeeded());
          },
          std::ref(web));
      tasks.spawn(
          [](http::client& of) -> task<> {
            const auto how = co_await belay::as_outcome(of.send(get()));
            REQUIRE(how.failed());
            CHECK(how.failure().find<belay::misuse_error>() != nullptr);
          },
          std::ref(web));
      co_await belay::sleep_for(50ms);
      web.close();
    });
    CHECK(web.statistics().connects == 1);
  });
}

TEST_CASE("client: at most so many connections to a host, the others wait in line") {
  world at({{.parts = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, .before = 100ms}});
  at.options.connections_per_host = 2;
  at.options.wait_timeout = 150ms;
  at.run([&at](http::client& web) -> task<> {
    static_cast<void>(
        co_await belay::all(web.send(get()), web.send(get()), web.send(get()), web.send(post())));
    CHECK(at.loop.elapsed() >= 200ms);
    CHECK(at.loop.elapsed() < 201ms);  // a look at a used connection takes a nanosecond
    CHECK(web.statistics().connections == 2);
    CHECK(at.net.open_connections() == 2);
    // Two are served at a time, so the fifth and sixth would have to wait for 200 ms.
    auto six =
        co_await belay::all(error_of(web.send(get())), error_of(web.send(get())), error_of(web.send(get())),
                            error_of(web.send(get())), error_of(web.send(get())), error_of(web.send(get())));
    CHECK(std::get<3>(six).code == "(none)");
    CHECK(std::get<4>(six).code == "no_connection_free");
    CHECK(std::get<5>(six).kind == error_kind::overloaded);
    CHECK(std::get<5>(six).retryable);
  });
}

TEST_CASE("client: a connection that the server closed while it was idle is dropped, and nobody notices") {
  reply then_closes = ok();
  then_closes.closes = true;
  world at({then_closes});
  at.run([](http::client& web) -> task<> {
    for (int i = 0; i < 3; ++i) {
      CHECK((co_await web.send(get())).body == "hi");
      co_await belay::sleep_for(1ms);
    }
  });
  CHECK(at.after.stale == 2);
  CHECK(at.after.connects == 3);
  CHECK(at.requests.size() == 3);
}

TEST_CASE(
    "client: closed in the moment of sending: once more on a fresh connection, if the request is idempotent") {
  // The second request is read, and the connection closed without a word.
  world at({ok(), {.closes = true}, ok("again")});
  at.run([](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    CHECK((co_await web.send(get())).body == "again");
  });
  CHECK(at.requests.size() == 3);

  // Once, not for ever; and not at all on a fresh one.
  world for_ever({ok(), {.closes = true}});
  for_ever.run([](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    const seen_error seen = co_await error_of(web.send(get()));
    CHECK(seen.code == "connection_lost");
    CHECK(seen.retryable);
  });
  CHECK(for_ever.requests.size() == 3);

  world unsafe({ok(), {.closes = true}, ok()});
  unsafe.run([](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    const seen_error seen = co_await error_of(web.send(post()));
    CHECK(seen.code == "connection_lost");
    CHECK(seen.fate == carried_out::possibly);
    CHECK(!seen.retryable);
  });
  CHECK(unsafe.requests.size() == 2);
}

TEST_CASE(
    "client: what was sent once more may have been carried out by the first try, whatever becomes of the second") {
  client_request put = get("/x");
  put.method = http::method::put;
  put.body = "1";
  const std::string says_so = "(second try: the connection in use was lost)";

  // The server has the request when it closes; then nobody listens any more.
  world refused({ok(), {.before = 1ms, .closes = true}});
  refused.run([&](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    refused.net.set({.refuse = true});
    const seen_error seen = co_await error_of(web.send(put));
    CHECK(seen.code == "connect_failed");
    CHECK(seen.fate == carried_out::possibly);
    CHECK(seen.retryable);
    CHECK(seen.message.find(says_so) != std::string::npos);
  });
  CHECK(refused.requests.size() == 2);
  CHECK(refused.after.resent == 1);
  CHECK(refused.after.stale == 0);

  world missing({ok(), {.closes = true}, says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")});
  missing.run([&](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    const seen_error second = co_await error_of(web.fetch(put));
    CHECK(second.code == "http_404");
    CHECK(second.fate == carried_out::possibly);
    CHECK(second.message.find(says_so) != std::string::npos);
    const seen_error first = co_await error_of(web.fetch(put));
    CHECK(first.fate == carried_out::no);
    CHECK(first.message.find(says_so) == std::string::npos);
  });
}

TEST_CASE("client: a write that fails is told; only after a loss the answer is still read") {
  const auto failing = [](std::errc why) {
    bt::test_loop loop;
    bad_network net;
    net.writing_fails = why;
    const io::network_override here(net);
    seen_error seen;
    loop.run([](seen_error& into) -> task<> {
      http::client& web = co_await belay::use(http::open_client({.response_timeout = 2s}));
      into = co_await error_of(web.send(get()));
    }(seen));
    const std::string reason = std::make_error_code(why).message();
    CHECK_MESSAGE(seen.text.find(reason) != std::string::npos, seen.text);
    seen.retry_after = loop.elapsed();
    return seen;
  };
  const seen_error local = failing(std::errc::no_buffer_space);
  CHECK(local.code == "connection_lost");
  CHECK(local.fate == carried_out::possibly);
  CHECK(local.retry_after == 0s);
  const seen_error gone = failing(std::errc::broken_pipe);
  CHECK(gone.code == "response_timed_out");
  CHECK(gone.retry_after == 2s);

  world reset;
  reset.net.set({.buffer = 2000, .lose_after_to_server = 1000});
  reset.run([](http::client& web) -> task<> {
    const seen_error seen = co_await error_of(web.send(post(std::string(50'000, 'x'))));
    CHECK(seen.code == "connection_lost");
    CHECK(seen.message.find("read") != std::string::npos);
    CHECK_MESSAGE(seen.text.find("write") != std::string::npos, seen.text);
  });
}

TEST_CASE("client: an error of a limit names the limit and its option") {
  world at({{.parts = {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, .before = 60s}});
  at.options.connections_per_host = 2;
  at.options.connect_timeout = 750ms;
  at.options.wait_timeout = 10s;
  at.options.response_timeout = 20s;
  at.run([&at](http::client& web) -> task<> {
    const auto three =
        co_await belay::all(error_of(web.send(get())), error_of(web.send(get())), error_of(web.send(get())));
    CHECK(std::get<0>(three).message ==
          "GET http://127.0.0.1:8080/: no response within 20 s (response_timeout)");
    CHECK(
        std::get<2>(three).message ==
        "GET http://127.0.0.1:8080/: all 2 connections to this host are in use, waited 10 s (wait_timeout)");
    at.net.set({.delay = 1s});
    CHECK((co_await error_of(web.send(get()))).message ==
          "GET http://127.0.0.1:8080/: not connected within 750 ms (connect_timeout)");
  });
}

TEST_CASE("client: what a server sends unasked on an idle connection is never taken for a response") {
  reply two = ok("mine");
  two.parts[0] += "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
  world at({two, ok("mine too")});
  at.run([](http::client& web) -> task<> {
    CHECK((co_await web.send(get())).body == "mine");
    CHECK(web.statistics().idle == 0);
    CHECK((co_await web.send(get())).body == "mine too");
  });

  reply later = ok("mine");
  later.then_after = 5ms;
  later.then = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
  world slow({later, ok("mine too")});
  slow.run([](http::client& web) -> task<> {
    CHECK((co_await web.send(get())).body == "mine");
    co_await belay::sleep_for(10ms);
    CHECK((co_await web.send(get())).body == "mine too");
    CHECK(web.statistics().stale == 1);
  });
}

TEST_CASE("client: connections that waited for too long are not used, and hosts are forgotten") {
  world at;
  at.options.idle_timeout = 1s;
  at.run([](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    co_await belay::sleep_for(1s);
    static_cast<void>(co_await web.send(get()));
    CHECK(web.statistics().connects == 2);
    CHECK(web.statistics().connections == 1);
    CHECK(web.statistics().idle == 1);
  });
}

TEST_CASE(
    "client: nobody listens: unavailable, and surely not carried out, so that anything may be tried again") {
  world at;
  at.run(
      [](http::client& web) -> task<> {
        for (const auto& what : {get("/a?secret=1"), post()}) {
          const seen_error seen = co_await error_of(web.fetch(what));
          CHECK(seen.kind == error_kind::unavailable);
          CHECK(seen.code == "connect_failed");
          CHECK(seen.fate == carried_out::no);
          CHECK(seen.retryable);
          CHECK(seen.message.find("http://127.0.0.1:8080/") != std::string::npos);
          CHECK(seen.message.find("secret") == std::string::npos);
        }
      },
      false);
}

TEST_CASE("client: garbage, half heads, bodies shorter than said, no answer at all") {
  const auto closing = [](std::string bytes) {
    reply how = says(std::move(bytes));
    how.closes = true;
    return how;
  };
  for (const char* garbage : {"SSH-2.0-OpenSSH\r\n", "\x16\x03\x01", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
    const seen_error seen = told(says(garbage));
    CHECK(seen.kind == error_kind::data_format);
    CHECK(seen.code == "bad_response");
    CHECK(!seen.retryable);
  }
  CHECK(told(closing("")).code == "connection_lost");
  for (const char* half : {"HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal"}) {
    const seen_error seen = told(closing(half));
    CHECK(seen.kind == error_kind::unavailable);
    CHECK(seen.code == "response_truncated");
    CHECK(seen.fate == carried_out::possibly);
    CHECK(seen.retryable);
  }
}

TEST_CASE("client: a body longer than said is cut, and the connection not used again") {
  world at({says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more")});
  at.run([](http::client& web) -> task<> { CHECK((co_await web.send(get())).body == "hi"); });
  CHECK(at.after.connections == 0);
}

TEST_CASE("client: a huge head and a huge body are refused, without reading them to the end") {
  const auto huge_head = told(says("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x')));
  CHECK(huge_head.code == "response_too_large");
  CHECK(huge_head.kind == error_kind::data_format);
  const auto huge_body = told(says("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"));
  CHECK(huge_body.code == "response_too_large");
  http::client_options small;
  small.limits.body_limit = 3;
  CHECK(told(says("HTTP/1.1 200 OK\r\n\r\nfour"), small).code == "response_too_large");
}

TEST_CASE("client: dripping bytes do not extend the limit") {
  reply drips{.parts = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"}, .before = 100ms};
  for (int i = 0; i < 100; ++i) drips.parts.emplace_back("x");
  http::client_options limits;
  limits.response_timeout = 1s;
  const seen_error seen = told(drips, limits);
  CHECK(seen.kind == error_kind::timed_out);
  CHECK(seen.code == "response_timed_out");
  CHECK(seen.fate == carried_out::possibly);
  CHECK(seen.retryable);
}

TEST_CASE("client: a server that does not accept, and a deadline outside") {
  world at;
  at.options.connect_timeout = 300ms;
  at.run([&at](http::client& web) -> task<> {
    at.net.set({.delay = 1s});
    const seen_error seen = co_await error_of(web.send(post()));
    CHECK(seen.code == "connect_timed_out");
    CHECK(seen.kind == error_kind::timed_out);
    CHECK(seen.retryable);  // it was not sent
    CHECK_THROWS_AS(co_await belay::with_timeout(100ms, web.send(get())), belay::timeout_error);
    at.net.set({});
    CHECK((co_await web.send(get())).body == "hi");
  });
}

TEST_CASE("client: cancelled in the middle of a response, the connection is dropped") {
  world at(
      {ok(), {.parts = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"}, .silent = true}, ok("next")});
  at.run([](http::client& web) -> task<> {
    static_cast<void>(co_await web.send(get()));
    CHECK(!(co_await belay::move_on_after(1s, web.send(get()))).has_value());
    CHECK(web.statistics().connections == 0);
    CHECK(web.statistics().active == 0);
    CHECK((co_await web.send(get())).body == "next");
  });
}

TEST_CASE("client: a reset in the middle") {
  world at({ok(std::string(5000, 'x'))});
  at.net.set({.lose_after_to_client = 1000});
  at.run([](http::client& web) -> task<> {
    const seen_error first = co_await error_of(web.send(get()));
    CHECK(first.code == "connection_lost");
    CHECK(first.retryable);
    const seen_error second = co_await error_of(web.send(post()));
    CHECK(second.code == "connection_lost");
    CHECK(!second.retryable);
  });
}

TEST_CASE("client: statuses are errors for fetch, with what the server asks for") {
  const auto status = [](const std::string& line, const std::string& fields = "") {
    world at({says("HTTP/1.1 " + line + "\r\n" + fields + "Content-Length: 0\r\n\r\n")});
    at.options.wall_clock = [] { return std::chrono::system_clock::time_point(784111770s); };
    seen_error seen;
    at.run([&seen](http::client& web) -> task<> { seen = co_await error_of(web.fetch(get())); });
    CHECK(at.after.connections == 1);  // an orderly answer: the connection stays
    return seen;
  };
  const seen_error busy = status("503 Service Unavailable", "Retry-After: 7\r\n");
  CHECK(busy.kind == error_kind::unavailable);
  CHECK(busy.code == "http_503");
  CHECK(busy.retryable);
  CHECK(busy.retry_after == 7s);
  const seen_error too_many = status("429 Too Many", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
  CHECK(too_many.kind == error_kind::overloaded);
  CHECK(too_many.retry_after == 7s);
  CHECK(status("503 X", "Retry-After: soon\r\n").retry_after == std::nullopt);
  CHECK(status("503 X", "Retry-After: 99999999999999999999\r\n").retry_after == 24h);
  CHECK(status("404 Not Found").kind == error_kind::not_found);
  CHECK(!status("404 Not Found").retryable);
  CHECK(status("500 Oh").kind == error_kind::internal);
  CHECK(status("504 Slow").kind == error_kind::timed_out);
  CHECK(status("302 Found").code == "(none)");
}

TEST_CASE("client: a gateway that gave up may have passed on what is not idempotent") {
  for (const auto& [line, retryable] : {std::pair("502 Bad Gateway", false), std::pair("504 Timeout", false),
                                        std::pair("503 Busy", false), std::pair("501 No", false)}) {
    world at({says("HTTP/1.1 " + std::string(line) + "\r\nContent-Length: 0\r\n\r\n")});
    at.run([expected = retryable](http::client& web) -> task<> {
      CHECK((co_await error_of(web.fetch(post()))).retryable == expected);
    });
  }
}

TEST_CASE("client: HEAD, 204, interim responses and chunks, on one connection") {
  world at({says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), says("HTTP/1.1 204 No Content\r\n\r\n"),
            says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")});
  at.run([](http::client& web) -> task<> {
    client_request head = get();
    head.method = http::method::head;
    CHECK((co_await web.send(std::move(head))).body.empty());
    CHECK((co_await web.send(get())).status == http::status::no_content);
    CHECK((co_await web.send(get())).body == "hi");
    CHECK((co_await web.send(get())).body == "hi");
  });
  CHECK(at.after.connects == 1);
}

TEST_CASE("client: an answer before the whole request was taken counts, and the connection does not") {
  world at({says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")});
  at.options.limits.body_limit = 100;
  at.run([](http::client& web) -> task<> {
    CHECK((co_await web.send(post(std::string(300'000, 'x')))).body == "hi");
  });
  CHECK(at.requests.at(0).size() > 300'000);
}

TEST_CASE("client: what cannot be sent, options out of range, use after close") {
  const auto code = [](std::string_view text) -> std::string {
    try {
      static_cast<void>(http::url::parse(text));
      return "";
    } catch (const http::message_error& e) {
      return std::string(e.code());
    }
  };
  for (const char* bad :
       {"", "127.0.0.1", "ftp://127.0.0.1", "http://", "http://a:b@127.0.0.1/", "http://127.0.0.1/#x",
        "http://127.0.0.1/a b", "http://127.0.0.1:0/", "http://127.0.0.1:x/", "http://[127.0.0.1]/",
        "http://[::1%lo]/", "http://[::1%0\r\nX-Evil: 1\r\nY: z]:80", "http://127.0.0.1\r\nX: y"}) {
    INFO("url: " << bad);
    CHECK(code(bad) == "invalid_url");
  }
  CHECK(http::url::parse("http://localhost").at == io::endpoint{"127.0.0.1", 80});
  CHECK(http::url::parse("HTTP://[::1]:81?a=b").at == io::endpoint{"::1", 81});
  CHECK(http::url::parse("http://[::1]?a=b").target == "/?a=b");
  CHECK(http::percent_encode("a/b c\n") == "a%2Fb%20c%0A");

  CHECK_THROWS_AS(http::client({.connections_per_host = 0}), belay::misuse_error);
  CHECK_THROWS_AS(http::client({.response_timeout = 0s}), belay::misuse_error);
  world at;
  at.run([](http::client& web) -> task<> {
    client_request bad = get();
    bad.url.target = "/a\r\nX: y";
    CHECK_THROWS_AS(co_await web.send(bad), http::message_error);
    bad = get();
    bad.method = http::method::other;
    CHECK_THROWS_AS(co_await web.send(bad), http::message_error);
    for (const char* host : {"", "a\r\nX-Evil: 1", "a b", "a\x01", "a/b", "me@a", "a?b", "a#b", "\xc3\xa4"}) {
      INFO("host: " << host);
      bad = get();
      bad.url.host = host;
      CHECK((co_await refused_as(web.send(bad))) == "invalid_host");
    }
    bad = get();
    bad.url.at.port = 0;
    CHECK((co_await refused_as(web.send(bad))) == "invalid_host");
    CHECK((co_await refused_as(web.send(client_request{}))) == "invalid_host");
    bad = get();
    bad.url.host = "[::1]:8080";
    CHECK((co_await refused_as(web.send(bad))).empty());
    CHECK(web.statistics().active == 0);
    web.close();
    web.close();
    CHECK_THROWS_AS(co_await web.send(get()), belay::misuse_error);
  });
}
