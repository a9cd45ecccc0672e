// SPDX-License-Identifier: Apache-2.0
// The fake network and gates under the drivers: whatever await is hit, no connection, listener or waiting task is left.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/server.hpp>
#include <belay/io/tcp.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/fault_gate.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>

namespace b = belay;
namespace http = belay::http;
namespace io = belay::io;
namespace t = belay::testing;
using namespace std::chrono_literals;

namespace {

const io::endpoint at{"127.0.0.1", 80};

t::fake_network& network_for(t::stage& s, t::network_conditions under) {
  auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = under});
  s.expect("no connection and no listener is left", [&net] { return net.nothing_left(); });
  return net;
}

b::task<> echo(io::tcp_stream with) {
  std::array<char, 100> part{};
  while (const std::size_t count = co_await with.read_some(part)) co_await with.write({part.data(), count});
}

b::task<> ask(std::string what, std::string& answer) {
  io::tcp_stream with = co_await io::connect(at);
  co_await with.write(what);
  with.end_writing();
  std::array<char, 100> part{};
  while (const std::size_t count = co_await with.read_some(part)) answer.append(part.data(), count);
}

b::task<> serve_two() {
  io::tcp_listener listener = io::tcp_listener::bind(at);
  co_await b::with_group([&](b::group& tasks) -> b::task<> {
    for (int i = 0; i < 2; ++i) tasks.spawn(echo, co_await listener.accept());
  });
}

b::task<> echoes(t::stage& s, t::network_conditions under) {
  const io::network_override guard(network_for(s, under));
  auto& answers = s.make<std::array<std::string, 2>>();
  s.expect("who succeeds has the whole answers", [&answers](const t::run_end& how) {
    return !how.succeeded || (answers[0] == "one" && answers[1] == "another");
  });
  co_await b::all(serve_two(), ask("one", answers[0]), ask("another", answers[1]));
}

b::task<> one_request(t::stage& s) {
  const io::network_override guard(network_for(s, {.delay = 5ms}));
  auto& web = s.make<http::server>([](http::exchange&) -> b::task<http::response> {
    co_await b::sleep_for(1ms);
    co_return http::response{};
  });
  co_await b::with_group([&](b::group& tasks) -> b::task<> {
    tasks.adopt(web.serve(io::tcp_listener::bind(at)));
    io::tcp_stream client = co_await io::connect(at);
    co_await client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    std::array<char, 1000> part{};
    static_cast<void>(co_await client.read_some(part));
    web.drain();
  });
}

}  // namespace

TEST_CASE("fake_network: a server and two clients, cancelled and failed at every await, leave nothing") {
  for (const t::network_conditions& under :
       {t::network_conditions{},
        t::network_conditions{
            .delay = 5ms, .jitter = 2ms, .read_at_most = 2, .write_at_most = 3, .buffer = 4}}) {
    const t::report found = t::everywhere([under](t::stage& s) -> b::task<> { co_await echoes(s, under); });
    CHECK_MESSAGE(found.ok(), found.text());
    CHECK(found.awaits > 10);
  }
}

TEST_CASE(
    "fake_network: tasks at a gate, cancelled and failed at every await, use up no more than they pass") {
  const t::report found = t::everywhere([](t::stage& s) -> b::task<> {
    auto& gate = s.make<t::fault_gate>("door");
    s.expect("nobody waits at the gate", [&gate] { return gate.waiting() == 0; });
    gate.hold();
    gate.delay(1s);
    auto opens = [](t::fault_gate& which) -> b::task<> {
      co_await which.wait_waiting(2);
      which.let_through();
      co_await b::sleep_for(5s);
      which.release();
    };
    auto passes = [](t::fault_gate& which) -> b::task<> { co_await which.pass(); };
    co_await b::with_timeout(20s, [](auto first, auto second, auto third) -> b::task<> {
      co_await b::all(std::move(first), std::move(second), std::move(third));
    }(opens(gate), passes(gate), passes(gate)));
  });
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("fake_network: an http server and its client, cancelled and failed at every await, leave nothing") {
  const t::report cancelled = t::cancel_everywhere(one_request, {.within = 5min});
  CHECK_MESSAGE(cancelled.ok(), cancelled.text());
  CHECK(cancelled.awaits > 10);
  // What fails in one connection is reported, and does not end the server.
  const t::report failed = t::fail_everywhere(one_request, {}, {.within = 5min, .allow_lost_errors = true});
  CHECK_MESSAGE(failed.ok(), failed.text());
}
