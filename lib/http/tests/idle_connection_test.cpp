// SPDX-License-Identifier: Apache-2.0
// What happens to a connection that waits for its next request, on real sockets: their clock goes on while one looks at them.

#include <belay/core/event.hpp>
#include <doctest/doctest.h>

#include <array>

#include "../../io/tests/networks.hpp"
#include "site_support.hpp"

namespace http = belay::http;
namespace io = belay::io;
using belay::task;

namespace {

enum class then { closes, speaks };

struct idle_site {
  then what;
  belay::event taken{};  // the first answer
  belay::event done{};   // what comes after it
};

// Answers the first request on a connection, and closes it, or sends a second response, of its own accord.
task<> serve_one(io::tcp_stream with, idle_site& at) {
  std::array<char, 2000> part{};
  try {
    for (bool first = true; co_await with.read_some(part) != 0; first = false) {
      co_await with.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      if (!first || at.done.is_set()) continue;
      co_await at.taken.wait();
      if (at.what == then::closes) {
        with.end_writing();
      } else {
        co_await with.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
      }
      at.done.set();
    }
  } catch (const io::network_error&) {  // the client drops what it does not want, and need not be polite
    with.close();
  }
}

task<> serve(io::tcp_listener& on, idle_site& at) {
  co_await belay::with_group([&](belay::group& tasks) -> task<> {
    while (true) tasks.spawn(serve_one, co_await on.accept(), std::ref(at));
  });
}

task<http::client_statistics> two_requests(bool secure, then what) {
  idle_site at{what};
  io::tcp_listener listener = io::tcp_listener::bind({});
  const std::string port = std::to_string(listener.local().port);
  if (secure)
    listener =
        io::tls::listen(std::move(listener), test::server_context(test::certificates::get().localhost));
  http::client web({.tls = test::client_context()});
  const http::client_request ask =
      test::get((secure ? "https://localhost:" : "http://localhost:") + port + "/");
  co_await belay::with_group([&](belay::group& tasks) -> task<> {
    tasks.spawn(serve, std::ref(listener), std::ref(at));
    CHECK((co_await web.send(ask)).body == "ok");
    CHECK(web.statistics().idle == 1);
    at.taken.set();
    co_await at.done.wait();
    co_await belay::sleep_for(test::loopback::a_moment);
    CHECK((co_await web.send(ask)).body == "ok");
    tasks.cancel();
  });
  co_return web.statistics();
}

}  // namespace

TEST_CASE("client: an idle connection that the server has closed, or spoken on, is not used again") {
  static_cast<void>(test::certificates::get());
  for (const bool secure : {false, true}) {
    for (const then what : {then::closes, then::speaks}) {
      CAPTURE(secure);
      CAPTURE(what == then::closes);
      test::loopback net;
      net.run([](bool with_tls, then happens) -> task<> {
        const http::client_statistics found = co_await two_requests(with_tls, happens);
        CHECK(found.stale == 1);
        CHECK(found.connects == 2);
        CHECK(found.reused == 0);
        CHECK(found.resent == 0);
      }(secure, what));
      CHECK(net.nothing_left());
    }
  }
}
