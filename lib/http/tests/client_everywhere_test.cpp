// SPDX-License-Identifier: Apache-2.0
// The client on a fake network, ended at every await: no connection is left, and it can be used afterwards.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/client.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <doctest/doctest.h>

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using namespace std::chrono_literals;
using belay::task;
using bt::stage;

namespace {

const io::endpoint address{"127.0.0.1", 80};

http::client_request get(std::string_view target) {
  return http::client_request::get(http::url::parse("http://127.0.0.1").with_target(target));
}

// A server that is not looked at, and the client that is.
struct site {
  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  io::network_override here{net};
  http::server web{[](http::exchange& of) -> task<http::response> {
                     if (of.request.path == "/slow") co_await belay::sleep_for(20s);
                     co_return http::response::text(http::status::ok, "said " + of.request.body);
                   },
                   {},
                   {.idle_timeout = 3s}};
  http::client client{{.connections_per_host = 2, .wait_timeout = 5s, .response_timeout = 5s}};
  std::size_t answers = 0;
};

task<> ask(site& at, std::string target) {
  if ((co_await at.client.send(get(target))).status == http::status::ok) ++at.answers;
}
task<> tell(site& at) {
  auto what = http::client_request::json(http::method::post, get("/").url, "{}");
  if ((co_await at.client.fetch(std::move(what))).body == "said {}") ++at.answers;
}

using visit = task<> (*)(site&);

task<> serve(site& at) { co_await at.web.serve(io::tcp_listener::bind(address)); }

// That the network fails is known to the client's caller by one type.
task<> tolerant(site& at, visit how) {
  const auto ended = co_await belay::as_outcome(how(at));
  if (!ended.failed()) co_return;
  const belay::failure why = ended.failure();
  for (const belay::failure& one : why.flatten()) {
    if (one.find<http::request_error>() == nullptr) co_await belay::fail(why);
  }
}

bt::scenario visited(visit how, std::size_t expected, void (*disturb)(site&)) {
  return [=](stage& s) -> task<> {
    site& at = s.make<site>();
    s.disturbance([&at, disturb] { disturb(at); });
    s.expect("the client has no request, and as many connections as it says", [&at] {
      const http::client_statistics now = at.client.statistics();
      return now.active == 0 && now.connections == now.idle && now.idle <= 2;
    });
    s.expect("undisturbed, all is answered",
             [&at, expected](const bt::run_end& ended) { return ended.injected || at.answers == expected; });
    s.afterwards([&at]() -> task<> {
      at.net.set({.delay = 1ms});
      at.client.close();
      if (at.client.statistics().connections != 0) throw std::runtime_error("a connection is left");
      site again;
      co_await belay::with_group([&again](belay::group& g) -> task<> {
        g.spawn(serve, std::ref(again));
        co_await ask(again, "/");
        co_await ask(again, "/");
        again.client.close();
        again.web.drain();
      });
      if (again.answers != 2) throw std::runtime_error("no answer");
    });
    co_await belay::with_group([&at, how, &s](belay::group& g) -> task<> {
      auto server = g.spawn([](stage& on, site& of) -> task<> { co_await on.undisturbed(serve(of)); },
                            std::ref(s), std::ref(at));
      co_await tolerant(at, how);
      at.web.drain();
    });
  };
}

void nothing(site&) {}
void cut(site& at) { at.net.cut_all(); }
void go_silent(site& at) { at.net.cut_all(bt::loss::silence); }

void check(visit how, std::size_t expected, std::source_location where = std::source_location::current()) {
  const auto require = [](const bt::report& found) { CHECK_MESSAGE(found.ok(), found.text()); };
  const std::string line = "line " + std::to_string(where.line());
  const auto named = [&](const char* what) { return bt::everywhere_options{.name = line + ", " + what}; };
  require(bt::cancel_everywhere(visited(how, expected, nothing), named("cancelled"), where));
  require(bt::fail_everywhere(visited(how, expected, nothing), {}, named("with errors"), where));
  require(bt::fail_everywhere(
      visited(how, expected, nothing),
      bt::errors_of(io::disconnected_error("injected", std::make_error_code(std::errc::connection_reset))),
      named("network errors"), where));
  require(bt::disturb_everywhere(visited(how, expected, cut), named("cut"), where));
  require(bt::disturb_everywhere(visited(how, expected, go_silent), named("silent"), where));
  require(bt::explore(visited(how, expected, cut), 100, {.name = line + ", orders"}, where));
}

}  // namespace

TEST_CASE("everywhere: client requests one after the other, on one connection and on two") {
  check(
      [](site& at) -> task<> {
        co_await ask(at, "/");
        co_await ask(at, "/");
        co_await tell(at);
      },
      3);
}

TEST_CASE("everywhere: more client requests than connections") {
  check([](site& at) -> task<> { co_await belay::all(ask(at, "/"), tell(at), ask(at, "/")); }, 3);
}

TEST_CASE("everywhere: a client that has not the time to wait") {
  check(
      [](site& at) -> task<> {
        co_await ask(at, "/");
        static_cast<void>(co_await belay::move_on_after(20ms, ask(at, "/slow")));
        co_await ask(at, "/");
      },
      2);
}

TEST_CASE("everywhere: the server closes while a client does not look") {
  check(
      [](site& at) -> task<> {
        co_await ask(at, "/");
        co_await belay::sleep_for(4s);
        co_await ask(at, "/");
      },
      2);
}
