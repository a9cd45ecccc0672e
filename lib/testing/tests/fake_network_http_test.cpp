// SPDX-License-Identifier: Apache-2.0
// The HTTP server on the fake network: slow and broken clients, in no time at all.

#include <belay/core/all.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/fault_gate.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <string>

namespace b = belay;
namespace http = belay::http;
namespace io = belay::io;
using belay::testing::fake_network;
using belay::testing::fault_gate;
using belay::testing::loss;
using belay::testing::test_loop;
using namespace std::chrono_literals;

namespace {

const io::endpoint at{"127.0.0.1", 8080};

std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"; }

// One response with a Content-Length, from a stream that gives it in pieces.
b::task<std::string> read_response(io::tcp_stream& from) {
  std::string text;
  char part[100];
  while (true) {
    const std::size_t head = text.find("\r\n\r\n");
    const std::size_t length = text.find("Content-Length: ");
    if (head != std::string::npos && length < head &&
        text.size() >= head + 4 + std::stoul(text.substr(length + 16))) {
      co_return text;
    }
    const std::size_t count = co_await from.read_some(part);
    if (count == 0) co_return text;
    text.append(part, count);
  }
}

struct service {
  explicit service(std::size_t body_size = 5)
      : web(
            [this, body_size](http::exchange&) -> b::task<http::response> {
              struct leaving {
                bool& done;
                bool& cancelled;
                ~leaving() { cancelled = !done; }
              };
              bool done = false;
              const leaving noted{done, handler_cancelled};
              co_await work.pass();
              done = true;
              http::response answer;
              answer.body = std::string(body_size, 'h');
              co_return answer;
            },
            {.ended = [this](http::exchange&, const http::response*, http::delivery how) {
              last_delivery = how;
            }}) {}

  fault_gate work{"handler"};
  bool handler_cancelled = false;
  http::delivery last_delivery = http::delivery::stopped;
  http::server web;
};

// Serves while `client` runs, then drains; nothing may be left.
void converse(service& on, fake_network& net, test_loop& loop, b::task<> client) {
  const io::network_override guard(net);
  auto both = [](service& serving, b::task<>& talking) -> b::task<> {
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      tasks.adopt(serving.web.serve(io::tcp_listener::bind(at)));
      co_await std::move(talking);
      serving.web.drain();
    });
  };
  loop.run(both(on, client));
  CHECK_MESSAGE(net.nothing_left(), net.describe());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

}  // namespace

TEST_CASE("fake_network: http keeps a connection alive with 50 ms of latency and bytes in pieces") {
  test_loop loop;
  fake_network net({.conditions = {.delay = 50ms, .read_at_most = 7, .random_sizes = true}});
  service on;
  converse(on, net, loop, [](test_loop& clock) -> b::task<> {
    io::tcp_stream client = co_await io::connect(at);
    CHECK(clock.elapsed() == 100ms);
    for (int round = 1; round <= 2; ++round) {
      co_await client.write(get("/"));
      const std::string answer = co_await read_response(client);
      CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
      CHECK(answer.ends_with("\r\n\r\nhhhhh"));
      CHECK(clock.elapsed() == 100ms + round * 100ms);
    }
  }(loop));
  CHECK(net.connections_made() == 1);
  CHECK(on.web.statistics().requests == 2);
}

TEST_CASE("fake_network: an http client that goes away has its handler cancelled") {
  test_loop loop;
  fake_network net({.conditions = {.delay = 50ms}});
  service on;
  on.work.hold();
  converse(on, net, loop, [](service& serving) -> b::task<> {
    {
      io::tcp_stream client = co_await io::connect(at);
      co_await client.write(get("/"));
      co_await serving.work.wait_waiting();
      CHECK_FALSE(serving.handler_cancelled);
    }
    co_await b::sleep_for(50ms);
    co_await b::sleep_for(1ns);
    CHECK(serving.handler_cancelled);
    CHECK(serving.work.waiting() == 0);
  }(on));
  CHECK(on.last_delivery == http::delivery::disconnected);
  CHECK(on.work.passed() == 0);
}

TEST_CASE("fake_network: an http client that is reset has its handler cancelled") {
  test_loop loop;
  fake_network net;
  service on;
  on.work.hold();
  converse(on, net, loop, [](service& serving, fake_network& here) -> b::task<> {
    io::tcp_stream client = co_await io::connect(at);
    co_await client.write(get("/"));
    co_await serving.work.wait_waiting();
    here.cut_all();
    co_await b::sleep_for(1ns);
    CHECK(serving.handler_cancelled);
  }(on, net));
  CHECK(on.web.statistics().disconnects == 1);
}

TEST_CASE(
    "fake_network: of an http client that falls silent within a request, nothing is left when time is up") {
  test_loop loop;
  fake_network net;
  service on;
  converse(on, net, loop, [](fake_network& here, service& serving) -> b::task<> {
    io::tcp_stream client = co_await io::connect(at);
    co_await client.write("GET / HT");
    co_await b::sleep_for(1ms);
    here.cut_all(loss::silence);
    // 10 s for the head, and 2 s more for the client to take the 408.
    co_await b::sleep_for(12s - 1ms);
    CHECK(serving.web.statistics().connections == 1);
    co_await b::sleep_for(1ms);
    CHECK(serving.web.statistics().connections == 0);
  }(net, on));
  CHECK(on.web.statistics().refusals == 1);
}

TEST_CASE("fake_network: an http client that falls silent while it is answered is given up in time") {
  test_loop loop;
  fake_network net;
  service on(1 << 20);  // more than the buffer holds
  converse(on, net, loop, [](fake_network& here, service& serving) -> b::task<> {
    io::tcp_stream client = co_await io::connect(at);
    co_await client.write(get("/"));
    serving.work.hold();
    co_await serving.work.wait_waiting();
    here.cut_all(loss::silence);
    serving.work.release();
    co_await b::sleep_for(30s - 1ms);
    CHECK(serving.web.statistics().connections == 1);
    co_await b::sleep_for(2ms);
    CHECK(serving.web.statistics().connections == 0);
  }(net, on));
  CHECK(on.last_delivery == http::delivery::lost);
}

TEST_CASE("fake_network: http goes on accepting after it ran out of descriptors") {
  test_loop loop;
  fake_network net;
  service on;
  net.fail_accepts(std::errc::too_many_files_open, 3);
  converse(on, net, loop, [](test_loop& clock) -> b::task<> {
    io::tcp_stream client = co_await io::connect(at);
    co_await client.write(get("/"));
    CHECK((co_await read_response(client)).starts_with("HTTP/1.1 200"));
    CHECK(clock.elapsed() == 300ms);
  }(loop));
  CHECK(on.web.statistics().accept_failures == 3);
}
