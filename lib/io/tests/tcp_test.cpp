// SPDX-License-Identifier: Apache-2.0
// TCP: each behaviour on the system's loopback and on the fake network.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/tcp.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <system_error>

#include "networks.hpp"

namespace b = belay;
namespace io = belay::io;
using namespace std::chrono_literals;

TYPE_TO_STRING_AS("loopback", test::loopback);
TYPE_TO_STRING_AS("fake", test::fake);
TYPE_TO_STRING_AS("slow fake", test::slow_fake);

namespace {

b::task<std::string> read_all(io::tcp_stream& from) {
  std::string all;
  std::array<char, 1000> part{};
  while (const std::size_t count = co_await from.read_some(part)) all.append(part.data(), count);
  co_return all;
}

b::task<std::string> read_exactly(io::tcp_stream& from, std::size_t length) {
  std::string all(length, '\0');
  for (std::size_t have = 0; have < length;) {
    const std::size_t count = co_await from.read_some(std::span(all).subspan(have));
    if (count == 0) throw std::runtime_error("the end came early");
    have += count;
  }
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

b::task<> write_until_it_fails(io::tcp_stream& to, b::duration pause) {
  while (true) {
    co_await to.write("x");
    co_await b::sleep_for(pause);
  }
}

template <class T>
const io::network_error& error_of(const b::outcome<T>& how) {
  REQUIRE(how.failed());
  const auto* found = how.failure().template find<io::network_error>();
  REQUIRE(found != nullptr);
  return *found;
}

bool is_disconnect(const io::network_error& what) {
  return dynamic_cast<const io::disconnected_error*>(&what) != nullptr;
}

}  // namespace

TCP_TEST("tcp: a megabyte each way arrives whole, and the end is seen") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string text(1 << 20, 'x');
    auto [one, two, there, back] =
        co_await b::all(send(client, text), send(server, text), read_all(server), read_all(client));
    CHECK(there == text);
    CHECK(back == text);
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tcp: a read that times out takes no byte, and the stream goes on") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    std::array<char, 10> part{};
    CHECK_FALSE((co_await b::move_on_after(10ms, server.read_some(part))).has_value());
    co_await client.write("abc");
    CHECK(co_await read_exactly(server, 3) == "abc");
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tcp: a read in a scope that is cancelled already takes nothing of what is there") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    co_await client.write("abc");
    co_await b::sleep_for(Network::a_moment);
    std::array<char, 10> part{};
    co_await b::with_group([&, &reader = server](b::group& tasks) -> b::task<> {
      tasks.cancel();
      static_cast<void>(co_await reader.read_some(part));
    });
    CHECK(co_await read_exactly(server, 3) == "abc");
  }());
}

TCP_TEST("tcp: a write that cannot go on is cancelled by its deadline") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string much(64u << 20, 'x');
    CHECK_FALSE((co_await b::move_on_after(50ms, client.write(much))).has_value());
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tcp: a write waits for the reader, and goes on when it reads") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string much(16u << 20, 'x');
    bool written = false;
    auto writes = [](io::tcp_stream& to, std::string_view what, bool& done) -> b::task<> {
      co_await to.write(what);
      done = true;
      to.end_writing();
    };
    auto reads_later = [](io::tcp_stream& from, const bool& done) -> b::task<std::size_t> {
      co_await b::sleep_for(Network::a_moment);
      CHECK_FALSE(done);
      std::size_t total = 0;
      std::vector<char> part(1 << 20);
      while (const std::size_t count = co_await from.read_some(part)) total += count;
      co_return total;
    };
    auto [nothing, total] = co_await b::all(writes(client, much, written), reads_later(server, written));
    CHECK(written);
    CHECK(total == much.size());
  }());
}

TCP_TEST("tcp: errors say what was tried, with whom, and what happened") {
  Network net;
  net.run([]() -> b::task<> {
    io::endpoint unused;
    {
      io::tcp_listener listener = io::tcp_listener::bind({});
      unused = listener.local();
      CHECK(unused.port != 0);
      CHECK_THROWS_WITH_AS(io::tcp_listener::bind(unused),
                           ("listen on " + unused.to_string() + ": Address already in use").c_str(),
                           io::network_error);
      CHECK_THROWS_AS(io::tcp_listener::bind({"0.0.0.0", unused.port}), io::network_error);
    }
    const b::outcome<io::tcp_stream> how = co_await b::as_outcome(io::connect(unused));
    CHECK(std::string(error_of(how).what()) == "connect to " + unused.to_string() + ": Connection refused");
    CHECK(error_of(how).reason() == std::errc::connection_refused);
    CHECK_FALSE(is_disconnect(error_of(how)));
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind({"nonsense", 1}), "listen on nonsense:1: Invalid argument",
                         io::network_error);
    const b::outcome<io::tcp_stream> bad = co_await b::as_outcome(io::connect({"nonsense", 1}));
    CHECK(std::string(error_of(bad).what()) == "connect to nonsense:1: Invalid argument");
  }());
}

TCP_TEST("tcp: both ends know each other, and a listener on every address takes all") {
  Network net;
  net.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({"0.0.0.0", 0});
    const io::endpoint to{"127.0.0.1", listener.local().port};
    auto [server, client] = co_await b::all(listener.accept(), io::connect(to));
    CHECK(client.peer() == to);
    CHECK(server.peer().address == "127.0.0.1");
    CHECK(server.peer().port != 0);
    CHECK(server.peer().port != to.port);
  }());
}

TCP_TEST("tcp: cancelling accept leaves the listener usable") {
  Network net;
  net.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    CHECK_FALSE((co_await b::move_on_after(5ms, listener.accept())).has_value());
    auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
    CHECK(server.is_open());
  }());
}

TCP_TEST("tcp: who connects before accept is called waits in the backlog, with what was sent and the end") {
  Network net;
  net.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    {
      io::tcp_stream client = co_await io::connect(listener.local());
      co_await client.write("hello");
      co_await b::sleep_for(Network::a_moment);
    }
    io::tcp_stream server = co_await listener.accept();
    CHECK(co_await read_all(server) == "hello");
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tcp: closing a listener ends accept, refuses who comes, and resets who waits") {
  Network net;
  net.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    const io::endpoint at = listener.local();
    io::tcp_stream waits = co_await io::connect(at);
    co_await b::sleep_for(Network::a_moment);
    listener.close();
    std::array<char, 10> part{};
    const b::outcome<std::size_t> cut_off = co_await b::as_outcome(waits.read_some(part));
    CHECK(is_disconnect(error_of(cut_off)));
    const b::outcome<io::tcp_stream> again = co_await b::as_outcome(listener.accept());
    CHECK(error_of(again).reason() == std::errc::bad_file_descriptor);
    const b::outcome<io::tcp_stream> late = co_await b::as_outcome(io::connect(at));
    CHECK(error_of(late).reason() == std::errc::connection_refused);
    listener.close();
  }());
}

TCP_TEST("tcp: closing a listener while accept waits ends it with an error") {
  Network net;
  net.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      auto waits = tasks.spawn([&]() -> b::task<> {
        const b::outcome<io::tcp_stream> how = co_await b::as_outcome(listener.accept());
        CHECK(error_of(how).reason() == std::errc::operation_canceled);
        CHECK_FALSE(is_disconnect(error_of(how)));
      });
      co_await b::sleep_for(2ms);
      listener.close();
      co_await waits;
    });
  }());
}

TCP_TEST("tcp: closing while a read waits ends the read with an error") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    std::array<char, 10> part{};
    co_await b::with_group([&, &reader = server](b::group& tasks) -> b::task<> {
      auto waits = tasks.spawn([&]() -> b::task<> {
        const b::outcome<std::size_t> how = co_await b::as_outcome(reader.read_some(part));
        CHECK(error_of(how).reason() == std::errc::operation_canceled);
        CHECK_FALSE(is_disconnect(error_of(how)));
      });
      co_await b::sleep_for(2ms);
      reader.close();
      co_await waits;
    });
    CHECK_FALSE(server.is_open());
    CHECK(client.is_open());
    const b::outcome<std::size_t> read_again = co_await b::as_outcome(server.read_some(part));
    CHECK(error_of(read_again).reason() == std::errc::bad_file_descriptor);
    const b::outcome<void> written = co_await b::as_outcome(server.write("x"));
    CHECK(error_of(written).reason() == std::errc::bad_file_descriptor);
    server.close();
    server.end_writing();
  }());
}

TCP_TEST("tcp: after end_writing the other direction goes on, and writing is an error") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    co_await client.write("question");
    client.end_writing();
    client.end_writing();
    CHECK(co_await read_all(server) == "question");
    std::array<char, 10> part{};
    CHECK(co_await server.read_some(part) == 0);
    CHECK(co_await server.read_some(part) == 0);
    co_await server.write("answer");
    server.end_writing();
    CHECK(co_await read_all(client) == "answer");
    const b::outcome<void> written = co_await b::as_outcome(client.write("x"));
    CHECK(is_disconnect(error_of(written)));
    CHECK(error_of(written).reason() == std::errc::broken_pipe);
    CHECK(client.is_open());
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tcp: after the peer has closed, reads end, and writing soon fails") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    co_await client.write("bye");
    client.close();
    CHECK(co_await read_all(server) == "bye");
    const b::outcome<void> how = co_await b::as_outcome(write_until_it_fails(server, Network::a_moment));
    CHECK(is_disconnect(error_of(how)));
    std::array<char, 10> part{};
    CHECK(co_await server.read_some(part) == 0);
  }());
  CHECK(net.nothing_left());
}

TCP_TEST(
    "tcp: a peer that closes without reading resets; what it had sent can be read, then each read fails") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    co_await server.write("unread");
    co_await client.write("last words");
    co_await b::sleep_for(Network::a_moment);
    client.close();
    co_await b::sleep_for(Network::a_moment);
    CHECK(co_await read_exactly(server, 10) == "last words");
    std::array<char, 10> part{};
    const b::outcome<std::size_t> read = co_await b::as_outcome(server.read_some(part));
    CHECK(is_disconnect(error_of(read)));
    CHECK(error_of(read).reason() == std::errc::connection_reset);
    const b::outcome<std::size_t> again = co_await b::as_outcome(server.read_some(part));
    CHECK(error_of(again).reason() == std::errc::connection_reset);
    const b::outcome<void> written = co_await b::as_outcome(server.write("x"));
    CHECK(error_of(written).reason() == std::errc::broken_pipe);
    CHECK(server.is_open());
  }());
}

TCP_TEST("tcp: a write that is told of the reset does not make the next read look like an orderly end") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    co_await server.write("unread");
    co_await b::sleep_for(Network::a_moment);
    client.close();
    co_await b::sleep_for(Network::a_moment);
    const b::outcome<void> written = co_await b::as_outcome(server.write("x"));
    CHECK(error_of(written).reason() == std::errc::connection_reset);
    const b::outcome<void> again = co_await b::as_outcome(server.write("x"));
    CHECK(error_of(again).reason() == std::errc::broken_pipe);
    std::array<char, 10> part{};
    const b::outcome<std::size_t> read = co_await b::as_outcome(server.read_some(part));
    CHECK(error_of(read).reason() == std::errc::connection_reset);
  }());
}

TCP_TEST("tcp: a reset is told to the write that waits") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    auto write_much = [](io::tcp_stream& to) -> b::task<> {
      const std::string much(64u << 20, 'x');
      co_await to.write(much);
    };
    co_await b::with_group([&, &writer = client, &reader = server](b::group& tasks) -> b::task<> {
      auto waits = tasks.spawn([&]() -> b::task<> {
        const b::outcome<void> how = co_await b::as_outcome(write_much(writer));
        CHECK(is_disconnect(error_of(how)));
      });
      co_await b::sleep_for(Network::a_moment);
      reader.close();
      co_await waits;
    });
  }());
}

TCP_TEST("tcp: reading into nothing, and writing nothing, are done at once") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    CHECK(co_await server.read_some({}) == 0);
    co_await client.write("");
    CHECK(client.is_open());
  }());
}

TEST_CASE("network_override: nests, restores, and leaves what is open where it was opened") {
  b::testing::fake_network outer;
  b::testing::fake_network inner;
  io::network& before = io::current_network();
  CHECK(&before == &io::system_network());
  b::testing::test_loop loop;
  loop.run([](b::testing::fake_network& first, b::testing::fake_network& second) -> b::task<> {
    const io::network_override guard(first);
    io::tcp_listener in_first = io::tcp_listener::bind({"127.0.0.1", 80});
    {
      const io::network_override nested(second);
      CHECK(&io::current_network() == &second);
      const b::outcome<io::tcp_stream> elsewhere = co_await b::as_outcome(io::connect(in_first.local()));
      CHECK(error_of(elsewhere).reason() == std::errc::connection_refused);
    }
    CHECK(&io::current_network() == &first);
    auto [server, client] = co_await b::all(in_first.accept(), io::connect(in_first.local()));
    CHECK(first.connections_made() == 1);
    CHECK(second.connections_made() == 0);
  }(outer, inner));
  CHECK(&io::current_network() == &before);
}

TCP_TEST(
    "tcp: try_write sends what there is room for, never waits, and says 0 when the connection has gone") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    const std::string much(64u << 20, 'x');
    std::size_t sent = 0;
    while (const std::size_t now = client.try_write(std::string_view(much).substr(sent))) sent += now;
    CHECK(sent > 0);
    CHECK(sent < much.size());
    CHECK(client.try_write("") == 0);
    const std::string got = co_await read_exactly(server, sent);
    CHECK(got == much.substr(0, sent));
    client.close();
    CHECK(client.try_write("x") == 0);
    CHECK(co_await read_all(server) == "");
  }());
}

TCP_TEST("tcp: a task that always finds something to read and room to write lets others run") {
  Network net;
  net.run([]() -> b::task<> {
    auto [server, client] = co_await make_pair();
    bool over = false;
    auto ping_pong = [](io::tcp_stream& there, io::tcp_stream& here, bool& until) -> b::task<> {
      while (!until) {
        co_await there.write("xx");
        std::array<char, 1> part{};  // filled: the next read tries at once
        co_await here.read_some(part);
        co_await here.read_some(part);
      }
    };
    co_await b::all(ping_pong(client, server, over), [](bool& until) -> b::task<> {
      for (int turn = 0; turn != 10; ++turn) co_await b::yield();
      until = true;
    }(over));
  }());
}
