// SPDX-License-Identifier: Apache-2.0
// The fake network: its clock, its conditions, and what it knows of what is left. (That it behaves as TCP does: lib/io/tests/tcp_test.cpp.)

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/tcp.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

namespace b = belay;
namespace io = belay::io;
using belay::testing::fake_network;
using belay::testing::loss;
using belay::testing::network_conditions;
using belay::testing::test_loop;
using namespace std::chrono_literals;

namespace {

struct pair {
  io::tcp_listener listener;
  io::tcp_stream client;
  io::tcp_stream server;
};

// A world for one test: `run` gives the body a connection, opened before the conditions are set.
struct world {
  test_loop loop;
  fake_network net;
  io::network_override guard{net};

  void run(b::task_function<b::task<>(world&, pair&)> body) {
    auto with_pair = [](world& w, b::task_function<b::task<>(world&, pair&)>& then) -> b::task<> {
      io::tcp_listener listener = io::tcp_listener::bind({"127.0.0.1", 80});
      auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
      pair both{std::move(listener), std::move(client), std::move(server)};
      co_await then(w, both);
    };
    loop.run(with_pair(*this, body));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
    CHECK(loop.nothing_left());
  }
};

b::task<std::string> read_part(io::tcp_stream& from, std::size_t at_most = 100) {
  std::string part(at_most, '\0');
  part.resize(co_await from.read_some(part));
  co_return part;
}

b::task<std::string> read_to_end(io::tcp_stream& from) {
  std::string all;
  while (true) {
    const std::string part = co_await read_part(from);
    if (part.empty()) co_return all;
    all += part;
  }
}

// What a read meets: the bytes, "end", or the error's kind.
b::task<std::string> meets(b::task<std::string> read) {
  b::outcome<std::string> how = co_await b::as_outcome(std::move(read));
  if (how.succeeded()) co_return how.take().empty() ? "end" : "bytes";
  how.failed_with().observe();
  co_return how.failed_with().find<io::disconnected_error>() != nullptr ? "disconnected" : "other";
}

}  // namespace

TEST_CASE("fake_network: delays connecting by a round trip, bytes and ends by one way") {
  test_loop loop;
  fake_network net({.conditions = {.delay = 50ms}});
  const io::network_override guard(net);
  loop.run([](test_loop& clock) -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    io::tcp_stream client = co_await io::connect(listener.local());
    CHECK(clock.elapsed() == 100ms);
    io::tcp_stream server = co_await listener.accept();
    CHECK(clock.elapsed() == 150ms);
    co_await client.write("hi");
    client.end_writing();
    CHECK(clock.elapsed() == 150ms);
    CHECK(co_await read_part(server) == "hi");
    CHECK(clock.elapsed() == 200ms);
    CHECK((co_await read_part(server)).empty());
    CHECK(clock.elapsed() == 200ms);
    const b::outcome<io::tcp_stream> refused = co_await b::as_outcome(io::connect({"127.0.0.1", 9}));
    CHECK(refused.failed());
    refused.failed_with().observe();
    CHECK(clock.elapsed() == 300ms);
  }(loop));
}

TEST_CASE(
    "fake_network: the same seed gives the same run, another seed another one, and bytes stay in order") {
  const auto run = [](std::uint64_t seed) {
    test_loop loop;
    fake_network net(
        {.seed = seed,
         .conditions = {
             .delay = 1ms, .jitter = 50ms, .read_at_most = 20, .write_at_most = 30, .random_sizes = true}});
    const io::network_override guard(net);
    std::vector<std::size_t> trace;
    loop.run([](std::vector<std::size_t>& sizes) -> b::task<> {
      io::tcp_listener listener = io::tcp_listener::bind({});
      auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
      std::string text;
      for (int i = 0; i < 100; ++i) text += std::to_string(i);
      co_await b::with_group([&, &to = client, &from = server](b::group& tasks) -> b::task<> {
        tasks.spawn([&]() -> b::task<> {
          co_await to.write(text);
          to.end_writing();
        });
        std::string got;
        for (std::string part = "x"; !part.empty(); got += part) {
          part = co_await read_part(from);
          CHECK(part.size() <= 20);
          sizes.push_back(part.size());
        }
        CHECK(got == text);
      });
    }(trace));
    trace.push_back(static_cast<std::size_t>(loop.elapsed().count()));
    return trace;
  };
  CHECK(run(7) == run(7));
  CHECK(run(7) != run(8));
}

TEST_CASE("fake_network: fixed pieces are as large as they are said to be") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set({.read_at_most = 3});
    co_await on.client.write("abcdefgh");
    CHECK(co_await read_part(on.server) == "abc");
    CHECK(co_await read_part(on.server) == "def");
    CHECK(co_await read_part(on.server) == "gh");
  });
}

TEST_CASE("fake_network: a full buffer holds the writer up until the reader reads") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set({.buffer = 4});
    CHECK_FALSE((co_await b::move_on_after(1s, on.client.write("abcdefgh"))).has_value());
    CHECK(here.net.bytes_written() == 4);
    CHECK(here.net.waiting() == 0);
    auto [nothing, text] = co_await b::all(on.client.write("XYZ"), read_part(on.server));
    CHECK(text == "abcd");
    CHECK(co_await read_part(on.server) == "XYZ");
    CHECK(here.net.bytes_read() == 7);
  });
}

TEST_CASE("fake_network: cut as a reset, both ends are told; what had arrived is read first") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    co_await on.client.write("got there");
    co_await b::yield();
    CHECK(co_await read_part(on.server, 3) == "got");
    here.net.cut_all();
    CHECK(co_await meets(read_part(on.server)) == "bytes");
    CHECK(co_await meets(read_part(on.server)) == "disconnected");
    CHECK(co_await meets(read_part(on.client)) == "disconnected");
    CHECK_THROWS_AS(co_await on.client.write("x"), io::disconnected_error);
    // New ones can be made.
    auto [server, client] = co_await b::all(on.listener.accept(), io::connect(on.listener.local()));
    co_await client.write("x");
    CHECK(co_await read_part(server) == "x");
  });
}

TEST_CASE("fake_network: cut in silence, reads wait for ever, and writes when the buffer is full") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set({.buffer = 10});
    here.net.cut(on.listener.local(), loss::silence);
    co_await on.client.write("0123456789");
    CHECK_FALSE((co_await b::move_on_after(1h, on.client.write("x"))).has_value());
    CHECK_FALSE((co_await b::move_on_after(1h, read_part(on.server))).has_value());
    on.client.close();
    CHECK_FALSE((co_await b::move_on_after(1h, read_part(on.server))).has_value());
    CHECK(here.net.open_connections() == 1);
    CHECK(here.net.waiting() == 0);
  });
}

TEST_CASE("fake_network: a read that nothing can wake any more is a deadlock, which the loop reports") {
  world w;
  CHECK_THROWS_AS(w.run([](world& here, pair& on) -> b::task<> {
    here.net.cut_all(loss::silence);
    static_cast<void>(co_await read_part(on.client));
  }),
                  b::deadlock_error);
  CHECK(w.net.nothing_left());
}

TEST_CASE("fake_network: lost after so many bytes in one direction") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set({.delay = 10ms, .lose_after_to_server = 5});
    co_await on.server.write("no limit in this direction");
    co_await on.client.write("12345678");
    CHECK(co_await read_part(on.server) == "12345");
    CHECK(co_await meets(read_part(on.server)) == "disconnected");
    CHECK(here.loop.elapsed() == 10ms);
    CHECK(co_await meets(read_part(on.client)) == "bytes");
    CHECK(co_await meets(read_part(on.client)) == "disconnected");
  });
}

TEST_CASE("fake_network: lost in silence after so many bytes, the rest does not arrive") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set(on.listener.local(), {.lose_after_to_client = 2, .lose_by = loss::silence});
    co_await on.server.write("1234");
    CHECK(co_await read_part(on.client) == "12");
    CHECK_FALSE((co_await b::move_on_after(1h, read_part(on.client))).has_value());
    co_await on.client.write("is lost, too");
    CHECK_FALSE((co_await b::move_on_after(1h, read_part(on.server))).has_value());
  });
}

TEST_CASE("fake_network: lost at a time, who waits is told at that time") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.set({.lose_at = b::now() + 5s});
    CHECK(co_await meets(read_part(on.client)) == "disconnected");
    CHECK(here.loop.elapsed() == 5s);
    auto [server, client] = co_await b::all(on.listener.accept(), io::connect(on.listener.local()));
    co_await client.write("x");
    CHECK(co_await read_part(server) == "x");
  });
}

TEST_CASE("fake_network: stalled, nothing moves; resumed, it all arrives") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    co_await on.client.write("before");
    here.net.stall();
    co_await on.client.write("during");
    on.client.end_writing();
    CHECK(co_await read_part(on.server) == "before");
    CHECK_FALSE((co_await b::move_on_after(1min, read_part(on.server))).has_value());
    CHECK_FALSE((co_await b::move_on_after(1min, io::connect(on.listener.local()))).has_value());
    auto resumes = [](fake_network& net) -> b::task<> {
      co_await b::sleep_for(1s);
      net.resume();
    };
    auto [nothing, text] = co_await b::all(resumes(here.net), read_to_end(on.server));
    CHECK(text == "during");
    CHECK(here.loop.elapsed() == 2min + 1s);
  });
}

TEST_CASE("fake_network: a partition concerns one listener only") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    io::tcp_listener other = io::tcp_listener::bind({"127.0.0.1", 81});
    here.net.partition(on.listener.local());
    co_await on.client.write("waits");
    CHECK_FALSE((co_await b::move_on_after(1s, read_part(on.server))).has_value());
    auto [server, client] = co_await b::all(other.accept(), io::connect(other.local()));
    co_await client.write("arrives");
    CHECK(co_await read_part(server) == "arrives");
    here.net.heal(on.listener.local());
    CHECK(co_await read_part(on.server) == "waits");
  });
}

TEST_CASE("fake_network: refuses, for one endpoint or all, until told otherwise") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    const io::endpoint at = on.listener.local();
    here.net.set(at, {.refuse = true});
    CHECK(here.net.conditions(at).refuse);
    CHECK_FALSE(here.net.conditions().refuse);
    CHECK_THROWS_WITH_AS(static_cast<void>(co_await io::connect(at)),
                         "connect to 127.0.0.1:80: Connection refused", io::network_error);
    here.net.unset(at);
    auto [server, client] = co_await b::all(on.listener.accept(), io::connect(at));
    here.net.set({.refuse = true});
    CHECK_THROWS_AS(static_cast<void>(co_await io::connect(at)), io::network_error);
  });
}

TEST_CASE("fake_network: a full backlog keeps the next one waiting until somebody is accepted") {
  test_loop loop;
  fake_network net;
  const io::network_override guard(net);
  loop.run([]() -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({}, 0);
    const io::tcp_stream first = co_await io::connect(listener.local());
    CHECK_FALSE((co_await b::move_on_after(1s, io::connect(listener.local()))).has_value());
    auto [second, accepted] = co_await b::all(io::connect(listener.local()), listener.accept());
    CHECK(accepted.is_open());
    CHECK(second.is_open());
  }());
  CHECK(net.connections_made() == 2);
  CHECK(net.nothing_left());
}

TEST_CASE("fake_network: accept fails as told, and goes on") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.fail_accepts(std::errc::too_many_files_open, 1);
    const b::outcome<io::tcp_stream> how = co_await b::as_outcome(on.listener.accept());
    REQUIRE(how.failed());
    CHECK(how.failure().message() == "accept on 127.0.0.1:80: Too many open files");
    CHECK(how.failure().find<io::network_error>()->reason() == std::errc::too_many_files_open);
    auto [server, client] = co_await b::all(on.listener.accept(), io::connect(on.listener.local()));
  });
}

TEST_CASE("fake_network: a cancelled connect was never seen, and leaves nothing") {
  test_loop loop;
  fake_network net({.conditions = {.delay = 1s}});
  const io::network_override guard(net);
  loop.run([](fake_network& here) -> b::task<> {
    io::tcp_listener listener = io::tcp_listener::bind({});
    CHECK_FALSE((co_await b::move_on_after(1500ms, io::connect(listener.local()))).has_value());
    CHECK(here.waiting() == 0);
    CHECK(here.open_connections() == 0);
    CHECK_FALSE((co_await b::move_on_after(10s, listener.accept())).has_value());
  }(net));
  CHECK(net.nothing_left());
}

TEST_CASE("fake_network: says what is left, with the places that made it") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    CHECK_FALSE(here.net.nothing_left());
    CHECK(here.net.listeners() == 1);
    CHECK(here.net.open_connections() == 1);
    const unsigned line = __LINE__ + 1;
    const io::tcp_stream unaccepted = co_await io::connect(on.listener.local());
    on.client.close();
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      tasks.spawn([](io::tcp_stream& from) -> b::task<> { static_cast<void>(co_await read_part(from)); },
                  std::ref(on.server));
      here.net.stall();
      co_await b::yield();
      CHECK(here.net.describe().find("connection 127.0.0.1:49152 -> 127.0.0.1:80, opened at ") !=
            std::string::npos);
      tasks.cancel();
    });
    const std::string text = here.net.describe();
    CAPTURE(text);
    CHECK(text.find("listener 127.0.0.1:80, bound at fake_network_test.cpp:") == 0);
    CHECK(text.find("and not closed; 1 in its backlog") != std::string::npos);
    CHECK(text.find("and closed, accepted at fake_network_test.cpp:") != std::string::npos);
    CHECK(text.find("-> 127.0.0.1:80, opened at fake_network_test.cpp:" + std::to_string(line) +
                    " and not closed, not accepted\n") != std::string::npos);
  });
  CHECK(w.net.describe().empty());
}

TEST_CASE("fake_network: names who waits for what") {
  world w;
  w.run([](world& here, pair& on) -> b::task<> {
    here.net.stall();
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      tasks.spawn([](io::tcp_stream& from) -> b::task<> { static_cast<void>(co_await read_part(from)); },
                  std::ref(on.client));
      tasks.spawn(
          [](io::tcp_listener& from) -> b::task<> { const io::tcp_stream got = co_await from.accept(); },
          std::ref(on.listener));
      tasks.spawn([]() -> b::task<> { const io::tcp_stream got = co_await io::connect({"127.0.0.1", 80}); });
      co_await b::sleep_for(1s);
      const std::string text = here.net.describe();
      CAPTURE(text);
      CHECK(here.net.waiting() == 3);
      CHECK(text.find("; a read from 127.0.0.1:80 waits\n") != std::string::npos);
      CHECK(text.find("; a connection to 127.0.0.1:80 waits\n") != std::string::npos);
      CHECK(text.find("connect to 127.0.0.1:80 at fake_network_test.cpp:") != std::string::npos);
      tasks.cancel();
    });
    CHECK(here.net.waiting() == 0);
  });
}

TEST_CASE("fake_network: refuses conditions that make no sense") {
  CHECK_THROWS_AS(fake_network({.conditions = {.delay = -1ns}}), b::misuse_error);
  fake_network net;
  CHECK_THROWS_AS(net.set({.buffer = 0}), b::misuse_error);
  CHECK_THROWS_AS(net.set({"127.0.0.1", 1}, {.jitter = -1ns}), b::misuse_error);
}

TEST_CASE("fake_network: streams and listeners may outlive it") {
  test_loop loop;
  loop.run([]() -> b::task<> {
    auto net = std::make_unique<fake_network>();
    auto guard = std::make_unique<io::network_override>(*net);
    io::tcp_listener listener = io::tcp_listener::bind({});
    auto [server, client] = co_await b::all(listener.accept(), io::connect(listener.local()));
    guard.reset();
    net.reset();
    co_await client.write("still here");
    CHECK(co_await read_part(server) == "still here");
  }());
}
