// SPDX-License-Identifier: Apache-2.0
// TLS: that bytes pass and ends are told apart, on the system's loopback and on the fake network.

#include <belay/core/group.hpp>
#include <doctest/doctest.h>
#include <malloc.h>

#include <vector>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
using namespace std::chrono_literals;
using test::error_of;

namespace {

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t at = 0; at != size; ++at) out[at] = static_cast<char>(at * 31 + at / 251);
  return out;
}

b::task<> send(io::tcp_stream& to, std::string what) {
  co_await to.write(what);
  to.end_writing();
}

}  // namespace

TCP_TEST("tls: what is written is read, in both directions at once, and the ends are orderly") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    const std::string much = pattern(300'000);
    auto [at_server, at_client, sent, answered] = co_await b::all(
        test::read_all(server), test::read_all(client), send(client, much), send(server, much));
    CHECK((at_server == much));
    CHECK((at_client == much));
    std::array<char, 10> part{};
    CHECK(co_await server.read_some(part) == 0);
    CHECK(co_await server.read_some(part) == 0);
    const auto agreed = io::tls::session_of(client);
    REQUIRE(agreed);
    CHECK(agreed->protocol == "TLSv1.3");
    CHECK(agreed->application == "http/1.1");
    CHECK(agreed->peer == "CN=localhost");
    CHECK(io::tls::session_of(server)->peer.empty());
    CHECK(server.is_open());
    client.close();
    CHECK_FALSE(client.is_open());
    const b::outcome<void> closed = co_await b::as_outcome(client.write("x"));
    CHECK(error_of(closed).reason() == std::errc::bad_file_descriptor);
    const b::outcome<void> ended = co_await b::as_outcome(server.write("x"));
    CHECK(error_of(ended).reason() == std::errc::broken_pipe);
  }());
  CHECK(net.nothing_left());
}

#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
TEST_CASE("tls: a connection keeps no memory of a large answer") {
  test::loopback net;
  net.run([]() -> b::task<> {
    std::vector<test::stream_pair> all;
    const auto ask_each = [&all](std::size_t size) -> b::task<> {
      const std::string answer(size, 'x');
      for (auto& [server, client] : all) {
        co_await client.write("x");
        co_await test::read_exactly(server, 1);
        co_await b::all(server.write(answer), test::read_exactly(client, size));
        co_await client.write("x");
        co_await test::read_exactly(server, 1);
        co_await server.write("x");
        co_await test::read_exactly(client, 1);
      }
    };
    for (int i = 0; i != 20; ++i) all.push_back(co_await test::tls_pair());
    co_await ask_each(100);
    const std::size_t before = ::mallinfo2().uordblks;
    co_await ask_each(500'000);
    const std::size_t after = ::mallinfo2().uordblks;
    const std::size_t more = after > before ? (after - before) / all.size() : 0;
    CHECK_MESSAGE(more < 40'000, more << " bytes for each pair");  // once 160,000
    co_await ask_each(500'000);
  }());
}
#endif

TCP_TEST("tls: a question and an answer, many times, and reading or writing nothing") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    for (int turn = 0; turn != 100; ++turn) {
      co_await client.write("ping");
      CHECK(co_await test::read_exactly(server, 4) == "ping");
      co_await server.write("pong");
      CHECK(co_await test::read_exactly(client, 4) == "pong");
    }
    co_await client.write("");
    CHECK(co_await client.read_some({}) == 0);
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tls: an end without close_notify is an error, at each read, and never a clean end") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    co_await client.write("half of it");
    {
      const io::tcp_stream dropped = std::move(client);
    }
    CHECK(co_await test::read_exactly(server, 10) == "half of it");
    std::array<char, 10> part{};
    for (int again = 0; again != 3; ++again) {
      const b::outcome<std::size_t> how = co_await b::as_outcome(server.read_some(part));
      error_of<io::disconnected_error>(how);
    }
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tls: close and end_writing tell the other side; an orderly close is a clean end") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    // The server's tickets are read, so that closing does not reset.
    co_await server.write("hello");
    CHECK(co_await test::read_exactly(client, 5) == "hello");
    co_await client.write("bye");
    client.close();
    client.close();
    CHECK(co_await test::read_all(server) == "bye");
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: a write that is cut off is not followed by close_notify, and ends writing") {
  test::fake net(b::testing::network_conditions{.buffer = 4000});
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    const std::string much = pattern(100'000);
    CHECK_FALSE((co_await b::move_on_after(1s, client.write(much))).has_value());
    const b::outcome<void> more = co_await b::as_outcome(client.write("more"));
    CHECK(test::contains(error_of<io::disconnected_error>(more).what(), "cut off"));
    client.end_writing();
    client.close();
    const b::outcome<std::string> got = co_await b::as_outcome(test::read_all(server));
    error_of<io::disconnected_error>(got);
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: a read that is cancelled has taken nothing, wherever the cancellation comes") {
  test::slow_fake net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    const std::string much = pattern(60'000);
    std::string got;
    co_await b::with_group([&, &to = client, &from = server](b::group& tasks) -> b::task<> {
      tasks.spawn(
          [](io::tcp_stream& into, const std::string& what) -> b::task<> { co_await into.write(what); },
          std::ref(to), std::cref(much));
      std::array<char, 777> part{};
      while (got.size() != much.size()) {
        const auto count = co_await b::move_on_after(300us, from.read_some(part));
        if (count) got.append(part.data(), *count);
      }
    });
    CHECK((got == much));
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: close_notify that finds no room is sent before the next read, and both ends are orderly") {
  test::fake net(b::testing::network_conditions{.buffer = 2048});
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    // The last write leaves the buffer all but full: no room for close_notify.
    auto fill = [](io::tcp_stream& to) -> b::task<> {
      co_await to.write(std::string(2020, 'x'));
      to.end_writing();
      CHECK(co_await test::read_all(to) == "answer");
    };
    auto take = [](io::tcp_stream& from) -> b::task<> {
      co_await b::sleep_for(1s);
      CHECK((co_await test::read_all(from)).size() == 2020);
      co_await from.write("answer");
      from.end_writing();
    };
    co_await b::all(fill(client), take(server));
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: both sides write more than all buffers hold, one reader and one writer each") {
  test::fake net(b::testing::network_conditions{.delay = 1ms, .buffer = 3000});
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    const std::string much = pattern(500'000);
    auto [a, c, d, e] = co_await b::all(send(client, much), send(server, much), test::read_all(client),
                                        test::read_all(server));
    CHECK((d == much));
    CHECK((e == much));
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls: over a connection that is lost, reads and writes say so") {
  b::testing::fake_network net({.conditions = {.delay = 1ms}});
  b::testing::test_loop loop;
  loop.run([](b::testing::fake_network& on) -> b::task<> {
    const io::network_override guard(on);
    auto [server, client] = co_await test::tls_pair();
    on.cut_all();
    std::array<char, 10> part{};
    const b::outcome<std::size_t> read = co_await b::as_outcome(server.read_some(part));
    error_of<io::disconnected_error>(read);
    const b::outcome<void> written = co_await b::as_outcome(server.write("x"));
    error_of<io::disconnected_error>(written);
    const b::outcome<void> again = co_await b::as_outcome(server.write("x"));
    error_of<io::disconnected_error>(again);
  }(net));
  CHECK_MESSAGE(net.nothing_left(), net.describe());
}

TEST_CASE("tls: within TLS") {
  test::fake net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await test::tls_pair();
    auto [inner_server, inner_client] =
        co_await b::all(io::tls::accept(std::move(server), test::good_server()),
                        io::tls::connect(std::move(client), test::good_client(), "127.0.0.1"));
    co_await inner_client.write("deep");
    CHECK(co_await test::read_exactly(inner_server, 4) == "deep");
  }());
  CHECK(net.nothing_left());
}
