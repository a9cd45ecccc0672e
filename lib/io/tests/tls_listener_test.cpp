// SPDX-License-Identifier: Apache-2.0
// Listeners of TLS: a slow or failing handshake is the affair of its own connection; and all of it, ended at every await.

#include <belay/core/group.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
namespace t = belay::testing;
namespace tls = belay::io::tls;
using namespace std::chrono_literals;
using test::contains;
using test::error_of;

namespace {

b::task<> echo(io::tcp_stream with) {
  std::array<char, 100> part{};
  while (const std::size_t count = co_await with.read_some(part)) co_await with.write({part.data(), count});
  with.end_writing();
}

b::task<std::string> ask(io::endpoint at, std::string what) {
  io::tcp_stream with = co_await tls::connect(co_await io::connect(at), test::good_client(), "localhost");
  co_await with.write(what);
  with.end_writing();
  co_return co_await test::read_all(with);
}

}  // namespace

TCP_TEST("tls listener: a client that never begins holds up nobody, and is ended at the limit") {
  Network net;
  net.run([]() -> b::task<> {
    auto counts = std::make_shared<tls::handshake_statistics>();
    io::tcp_listener listener = tls::listen(io::tcp_listener::bind({}), test::good_server(),
                                            {.handshake_timeout = 200ms, .statistics = counts});
    io::tcp_stream idle = co_await io::connect(listener.local());
    io::tcp_stream first = co_await listener.accept();
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      auto waits = tasks.spawn([&first]() -> b::task<> {
        std::array<char, 10> part{};
        const b::outcome<std::size_t> how = co_await b::as_outcome(first.read_some(part));
        const auto& late = error_of<io::tls_error>(how);
        CHECK(late.code() == "handshake_timed_out");
        CHECK(late.kind() == b::error_kind::timed_out);
        CHECK(contains(late.what(), "200 ms"));
        const b::outcome<void> again = co_await b::as_outcome(first.write("x"));
        CHECK(error_of<io::tls_error>(again).code() == "handshake_timed_out");
      });
      auto serves = tasks.spawn([&listener]() -> b::task<> { co_await echo(co_await listener.accept()); });
      CHECK(co_await ask(listener.local(), "hello") == "hello");
      co_await serves;
      co_await waits;
    });
    CHECK(counts->succeeded == 1);
    CHECK(counts->failed == 1);
    CHECK(counts->timed_out == 1);
    CHECK(counts->under_way == 0);
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tls listener: a client that speaks no TLS fails its own connection") {
  Network net;
  net.run([]() -> b::task<> {
    auto counts = std::make_shared<tls::handshake_statistics>();
    io::tcp_listener listener =
        tls::listen(io::tcp_listener::bind({}), test::good_server(), {.statistics = counts});
    io::tcp_stream plain = co_await io::connect(listener.local());
    co_await plain.write("GET / HTTP/1.1\r\n\r\n");
    io::tcp_stream accepted = co_await listener.accept();
    std::array<char, 10> part{};
    const b::outcome<std::size_t> how = co_await b::as_outcome(accepted.read_some(part));
    CHECK(error_of<io::tls_error>(how).code() == "not_tls");
    CHECK(counts->failed == 1);
    listener.close();
    CHECK_THROWS_AS(co_await listener.accept(), io::network_error);
  }());
}

TEST_CASE("tls listener: a handshake that its reader gave up is taken up by the next, and by the writer") {
  test::fake net(b::testing::network_conditions{.delay = 10ms});
  net.run([]() -> b::task<> {
    auto counts = std::make_shared<tls::handshake_statistics>();
    io::tcp_listener listener =
        tls::listen(io::tcp_listener::bind({}), test::good_server(), {.statistics = counts});
    auto serve = [](io::tcp_listener& on, tls::handshake_statistics& seen) -> b::task<> {
      io::tcp_stream accepted = co_await on.accept();
      std::array<char, 10> part{};
      for (int i = 0; i != 3; ++i) CHECK_FALSE(co_await b::move_on_after(3ms, accepted.read_some(part)));
      CHECK(seen.under_way == 1);
      CHECK(seen.failed == 0);
      co_await b::all(accepted.write("from the server"), [](io::tcp_stream& from) -> b::task<> {
        CHECK(co_await test::read_exactly(from, 5) == "hello");
      }(accepted));
      accepted.end_writing();
    };
    auto visit = [](io::endpoint at) -> b::task<> {
      io::tcp_stream with = co_await tls::connect(co_await io::connect(at), test::good_client(), "localhost");
      co_await with.write("hello");
      CHECK(co_await test::read_all(with) == "from the server");
    };
    co_await b::all(serve(listener, *counts), visit(listener.local()));
    CHECK(counts->succeeded == 1);
    CHECK(counts->failed == 0);
    CHECK(counts->under_way == 0);
  }());
  CHECK(net.nothing_left());
}

TCP_TEST("tls listener: a handshake that comes to nothing is counted once, however often it is asked for") {
  Network net;
  net.run([]() -> b::task<> {
    auto counts = std::make_shared<tls::handshake_statistics>();
    io::tcp_listener listener =
        tls::listen(io::tcp_listener::bind({}), test::good_server(), {.statistics = counts});
    {
      io::tcp_stream leaves = co_await io::connect(listener.local());
      io::tcp_stream accepted = co_await listener.accept();
      leaves.close();
      std::array<char, 10> part{};
      for (int i = 0; i != 3; ++i) {
        const b::outcome<std::size_t> how = co_await b::as_outcome(accepted.read_some(part));
        CHECK(contains(error_of<io::disconnected_error>(how).what(), "TLS handshake with"));
      }
      const b::outcome<void> written = co_await b::as_outcome(accepted.write("x"));
      CHECK(contains(error_of<io::disconnected_error>(written).what(), "TLS handshake with"));
      CHECK(counts->failed == 1);
      CHECK(counts->under_way == 0);
    }
    CHECK(counts->failed == 1);
    // Given up for good.
    io::tcp_stream waits = co_await io::connect(listener.local());
    {
      io::tcp_stream accepted = co_await listener.accept();
      std::array<char, 10> part{};
      CHECK_FALSE(co_await b::move_on_after(3ms, accepted.read_some(part)));
      CHECK(counts->under_way == 1);
    }
    CHECK(counts->failed == 2);
    CHECK(counts->under_way == 0);
    CHECK(counts->succeeded == 0);
  }());
  CHECK(net.nothing_left());
}

TEST_CASE("tls listener: a client's context, or a limit of nothing, is misuse") {
  test::fake net;
  net.run([]() -> b::task<> {
    CHECK_THROWS_AS(static_cast<void>(tls::listen(io::tcp_listener::bind({}), test::good_client())),
                    b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(tls::listen(io::tcp_listener::bind({}), test::good_server(),
                                                  {.handshake_timeout = 0ms})),
                    b::misuse_error);
    co_return;
  }());
}

namespace {

struct site {
  explicit site(t::network_conditions under) : net({.conditions = under}) {}
  t::fake_network net;
  io::network_override here{net};
  std::shared_ptr<tls::handshake_statistics> counts = std::make_shared<tls::handshake_statistics>();
  std::string answer;
};

b::task<> visit(site& at) {
  io::tcp_listener listener =
      tls::listen(io::tcp_listener::bind({"127.0.0.1", 443}), test::good_server(), {.statistics = at.counts});
  auto serve = [](io::tcp_listener& on) -> b::task<> { co_await echo(co_await on.accept()); };
  auto client = [](site& of, io::endpoint to) -> b::task<> { of.answer = co_await ask(to, "hello"); };
  co_await b::all(serve(listener), client(at, listener.local()));
}

t::scenario visited(t::network_conditions under) {
  return [under](t::stage& s) -> b::task<> {
    site& at = s.make<site>(under);
    s.disturbance([&at] { at.net.cut_all(); });
    s.expect("no connection is left", [&at] { return at.net.nothing_left() && at.counts->under_way == 0; });
    s.expect("who succeeds has the whole answer",
             [&at](const t::run_end& how) { return !how.succeeded || at.answer == "hello"; });
    s.afterwards([&at, under]() -> b::task<> {
      at.net.set(under);
      at.answer.clear();
      co_await visit(at);
      if (at.answer != "hello") throw std::runtime_error("no answer");
    });
    co_await visit(at);
  };
}

}  // namespace

TEST_CASE("tls: a server and a client, cancelled, failed and cut off at every await, leave nothing") {
  static_cast<void>(test::certificates::get());
  for (const t::network_conditions& under :
       {t::network_conditions{}, t::network_conditions{.delay = 2ms, .buffer = 300}}) {
    const t::report found = t::everywhere(visited(under));
    CHECK_MESSAGE(found.ok(), found.text());
    CHECK(found.awaits > 20);
    const t::report cut = t::disturb_everywhere(visited(under));
    CHECK_MESSAGE(cut.ok(), cut.text());
  }
}
