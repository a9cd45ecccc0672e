// SPDX-License-Identifier: Apache-2.0
// Names, and connecting to whichever of several addresses answers.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/io/resolve.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
namespace t = belay::testing;
using namespace std::chrono_literals;
using test::contains;
using test::error_of;

namespace {

using endpoints = std::vector<io::endpoint>;

// A world with a virtual clock and a host of several addresses.
struct world {
  t::test_loop loop{};
  t::fake_network net{{.conditions = {.delay = 5ms}}};

  void run(b::task<> what) {
    const io::network_override guard(net);
    loop.run(std::move(what));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
    CHECK(loop.nothing_left());
  }
};

}  // namespace

TCP_TEST(
    "resolve: numeric addresses are their own, localhost is known, and what cannot be a name is refused") {
  Network net;
  net.run([]() -> b::task<> {
    CHECK(co_await io::resolve("10.1.2.3", 80) == endpoints{{"10.1.2.3", 80}});
    CHECK(co_await io::resolve("fe80::1", 80) == endpoints{{"fe80::1", 80}});
    CHECK(co_await io::resolve("LocalHost", 80) == endpoints{{"127.0.0.1", 80}, {"::1", 80}});
    for (const std::string bad :
         {"", "a b", "a/b", "-a", ".a", "a\nb", "127.0.0.1 ", "fe80::1%x\r\nforged line"}) {
      CAPTURE(bad);
      const auto how = co_await b::as_outcome(io::resolve(bad, 80));
      CHECK(error_of<io::resolve_error>(how).code() == "bad_name");
      CHECK(error_of(how).kind() == b::error_kind::invalid);
      CHECK_FALSE(contains(error_of(how).what(), "\n"));
    }
    for (const std::string& nul : {std::string("localhost\0x", 11), std::string("127.0.0.1\0.evil", 15)}) {
      const auto how = co_await b::as_outcome(io::resolve(nul, 80));
      CHECK(error_of<io::resolve_error>(how).code() == "bad_name");
    }
  }());
}

TEST_CASE("resolve: the fake network has a table of names") {
  world w;
  w.net.set_name("db", {"10.0.0.1", "10.0.0.2"});
  w.run([]() -> b::task<> {
    CHECK(co_await io::resolve("db", 5432) == endpoints{{"10.0.0.1", 5432}, {"10.0.0.2", 5432}});
    const auto how = co_await b::as_outcome(io::resolve("dbb", 5432));
    CHECK(error_of<io::resolve_error>(how).code() == "name_not_found");
    CHECK(error_of(how).kind() == b::error_kind::not_found);
    CHECK(contains(error_of(how).what(), "look up 'dbb'"));
  }());
  CHECK(w.loop.elapsed() == 10ms);
}

TEST_CASE("resolve: the system is asked, and knows that this name does not exist") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    // RFC 6761 section 6.4: this name does not exist.
    const auto how = co_await b::as_outcome(b::with_timeout(20s, io::resolve("nowhere.invalid", 80)));
    REQUIRE(how.failed());
    CHECK(how.failure().find<io::resolve_error>() != nullptr);
  }());
}

TEST_CASE(
    "connect by name: the first address that can be connected to, and the errors of all if there is none") {
  world w;
  w.net.set_name("db", {"10.0.0.1", "10.0.0.2", "10.0.0.3"});
  w.run([]() -> b::task<> {
    auto listener = io::tcp_listener::bind({"10.0.0.2", 80});
    {
      auto [server, client] = co_await b::all(listener.accept(), io::connect("db", 80));
      CHECK(client.peer() == io::endpoint{"10.0.0.2", 80});
    }
    const auto how = co_await b::as_outcome(io::connect("db", 81));
    REQUIRE(how.failed());
    const b::failure why = how.failure();
    CHECK(contains(why.message(), "connect to 10.0.0.1:81: Connection refused"));
    const std::vector<b::failure> all = why.flatten();
    REQUIRE(all.size() == 3);
    CHECK(contains(all[2].message(), "10.0.0.3:81"));
    CHECK(contains(b::describe(why), "none of the 3 addresses of 'db'"));
    const auto numeric = co_await b::as_outcome(io::connect("10.0.0.1", 81));
    CHECK(error_of(numeric).reason() == std::errc::connection_refused);
  }());
}

TEST_CASE("connect by name: an address that does not answer gets a head start, then the next one is tried") {
  world w;
  w.net.set_name("db", {"10.0.0.1", "10.0.0.2"});
  w.net.partition({"10.0.0.1", 80});
  w.run([]() -> b::task<> {
    auto listener = io::tcp_listener::bind({"10.0.0.2", 80});
    auto [server, client] =
        co_await b::all(listener.accept(), io::connect("db", 80, {.attempt_delay = 300ms}));
    CHECK(client.peer() == io::endpoint{"10.0.0.2", 80});
  }());
  CHECK(w.loop.elapsed() == 320ms);
}

TEST_CASE(
    "connect by name: a slow address that answers while others are tried wins, and the others are given up") {
  world w;
  w.net.set_name("db", {"10.0.0.1", "10.0.0.2", "10.0.0.3"});
  w.net.set({"10.0.0.1", 80}, {.delay = 200ms});
  w.net.partition({"10.0.0.2", 80});
  w.net.partition({"10.0.0.3", 80});
  w.run([]() -> b::task<> {
    auto listener = io::tcp_listener::bind({"10.0.0.1", 80});
    auto [server, client] =
        co_await b::all(listener.accept(), io::connect("db", 80, {.attempt_delay = 100ms}));
    CHECK(client.peer() == io::endpoint{"10.0.0.1", 80});
    const auto none = co_await b::as_outcome(io::connect("db", 80, {.attempt_delay = 0ms}));
    CHECK(error_of<b::misuse_error>(none).what() != std::string());
  }());
}

TEST_CASE("connect by name: the families take turns") {
  world w;
  w.net.set_name("db", {"fd00::1", "fd00::2", "10.0.0.1"});
  w.net.partition({"fd00::1", 80});
  w.net.partition({"fd00::2", 80});
  w.run([]() -> b::task<> {
    auto listener = io::tcp_listener::bind({"10.0.0.1", 80});
    auto [server, client] =
        co_await b::all(listener.accept(), io::connect("db", 80, {.attempt_delay = 100ms}));
    CHECK(client.peer() == io::endpoint{"10.0.0.1", 80});
  }());
  CHECK(w.loop.elapsed() == 120ms);
}

TEST_CASE("connect by name: cancelled and failed at every await, no connection is left") {
  const t::report found = t::everywhere([](t::stage& s) -> b::task<> {
    auto& net = s.make<t::fake_network>(t::fake_network_options{.conditions = {.delay = 5ms}});
    auto& here = s.make<io::network_override>(net);
    static_cast<void>(here);
    net.set_name("db", {"10.0.0.1", "10.0.0.2", "10.0.0.3"});
    net.partition({"10.0.0.2", 80});
    s.expect("no connection is left", [&net] { return net.nothing_left(); });
    auto listener = io::tcp_listener::bind({"10.0.0.3", 80});
    auto [server, client] = co_await b::all(listener.accept(), io::connect("db", 80));
    co_await client.write("x");
    co_await test::read_exactly(server, 1);
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.awaits > 10);
}
