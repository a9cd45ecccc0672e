// SPDX-License-Identifier: Apache-2.0
// TCP over loopback.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/tcp.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>

namespace b = belay;
namespace io = belay::io;
using namespace std::chrono_literals;

namespace {

b::task<std::string> read_all(io::tcp_stream& from) {
  std::string all;
  std::array<char, 1000> part{};
  while (const std::size_t count = co_await from.read_some(part)) all.append(part.data(), count);
  co_return all;
}

b::task<std::pair<io::tcp_stream, io::tcp_stream>> make_pair() {
  io::tcp_listener listener = io::tcp_listener::bind({});
  auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
  co_return std::pair(std::move(server), std::move(client));
}

b::task<> send(io::tcp_stream& to, std::string text) {
  co_await to.write(text);
  to.end_writing();
}

}  // namespace

TEST_CASE("tcp: a megabyte each way arrives whole, and the end is seen") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string text(1 << 20, 'x');
    auto [one, two, there, back] =
        co_await b::all(send(client, text), send(server, text), read_all(server), read_all(client));
    CHECK(there == text);
    CHECK(back == text);
  }());
  CHECK(loop.statistics().live_tasks == 0);
}

TEST_CASE("tcp: a read that times out takes no byte, and the stream goes on") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    std::array<char, 10> part{};
    CHECK_FALSE((co_await b::move_on_after(10ms, server.read_some(part))).has_value());
    co_await client.write("abc");
    CHECK(co_await server.read_some(part) == 3);
  }());
}

TEST_CASE("tcp: a write that cannot go on is cancelled by its deadline") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string much(64u << 20, 'x');
    CHECK_FALSE((co_await b::move_on_after(50ms, client.write(much))).has_value());
  }());
}

TEST_CASE("tcp: errors say what was tried, with whom, and what happened") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    io::endpoint unused;
    {
      io::tcp_listener listener = io::tcp_listener::bind({});
      unused = listener.local();
      CHECK_THROWS_WITH_AS(io::tcp_listener::bind(unused),
                           doctest::Contains(("listen on " + unused.to_string() + ": ").c_str()),
                           io::network_error);
    }
    b::outcome<io::tcp_stream> how = co_await b::as_outcome(io::connect(unused));
    REQUIRE(how.failed());
    CHECK(how.failure().message() == "connect to " + unused.to_string() + ": Connection refused");
  }());
}

TEST_CASE("tcp: cancelling accept leaves the listener usable") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    CHECK_FALSE((co_await b::move_on_after(5ms, listener.accept())).has_value());
    auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
    CHECK(server.is_open());
  }());
}

TEST_CASE("tcp: closing while a read waits ends the read with an error") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    std::array<char, 10> part{};
    co_await b::with_group([&, &reader = server](b::group& tasks) -> b::task<> {
      auto waits = tasks.spawn([&]() -> b::task<> {
        b::outcome<std::size_t> how = co_await b::as_outcome(reader.read_some(part));
        CHECK(how.failed());
        CHECK(how.failure().find<io::network_error>() != nullptr);
      });
      co_await b::sleep_for(2ms);
      reader.close();
      co_await waits;
    });
  }());
}
