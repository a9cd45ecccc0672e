// SPDX-License-Identifier: Apache-2.0
// Which old quotes are given when there is no fresh one: neither too old, nor pushed out by others that are older still.

#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_function.hpp>
#include <belay/http/client.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "quotes.hpp"

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using belay::task;
using namespace std::chrono_literals;

namespace {

const io::endpoint address{"127.0.0.1", 80};

// An upstream that knows every symbol, until it is broken.
class upstream {
 public:
  bool is_broken = false;

  [[nodiscard]] task<> serve() { co_await server_.serve(io::tcp_listener::bind(address)); }

 private:
  task<http::response> answer(const http::exchange& of) const {
    if (is_broken) co_return http::response::empty(http::status::internal_server_error);
    co_return http::response::json(http::status::ok,
                                   R"({"symbol":")" + of.request.path.substr(1) + R"(","price":7})");
  }

  http::server server_{[this](http::exchange& of) -> task<http::response> { co_return co_await answer(of); }};
};

task<accounts::quote> ask(accounts::quotes& of, std::string symbol) {
  co_return co_await of.get(std::move(symbol), http::start_trace([] { return 1; }),
                            [](const belay::failure& /*why*/) {});
}

task<bool> has_none(accounts::quotes& of, std::string symbol) {
  try {
    static_cast<void>(co_await ask(of, std::move(symbol)));
  } catch (const accounts::quotes_error&) {
    co_return true;
  }
  co_return false;
}

using visit = belay::task_function<task<>(upstream&, accounts::quotes&)>;

task<> program(const visit& what) {
  upstream other;
  co_await belay::with_group([&](belay::group& servers) -> task<> {
    servers.spawn(&upstream::serve, &other);
    http::client& web = co_await belay::use(http::open_client());
    accounts::quotes asked(web, {.upstream = http::url::parse("http://127.0.0.1/")});
    co_await what(other, asked);
    servers.cancel();
  });
}

void run(const visit& what) {
  bt::test_loop loop;
  bt::fake_network net;
  const io::network_override here(net);
  loop.run(program(what));
}

}  // namespace

TEST_CASE("quotes: an old one is given for ten minutes, and no longer") {
  run([](upstream& other, accounts::quotes& asked) -> task<> {
    CHECK(!(co_await ask(asked, "ABC")).stale);
    other.is_broken = true;
    co_await belay::sleep_for(9min);
    CHECK((co_await ask(asked, "ABC")).stale);
    co_await belay::sleep_for(1min);
    CHECK(co_await has_none(asked, "ABC"));
    other.is_broken = false;
    co_await belay::sleep_for(1min);
    CHECK(!(co_await ask(asked, "ABC")).stale);
    other.is_broken = true;
    co_await belay::sleep_for(1min);
    CHECK((co_await ask(asked, "ABC")).stale);
  });
}

TEST_CASE("quotes: of those that are kept, the one that was not refreshed for longest has to go") {
  run([](upstream& other, accounts::quotes& asked) -> task<> {
    for (int i = 0; i < 1000; ++i) static_cast<void>(co_await ask(asked, "S" + std::to_string(i)));
    static_cast<void>(co_await ask(asked, "S0"));
    static_cast<void>(co_await ask(asked, "ONEMORE"));
    other.is_broken = true;
    CHECK((co_await ask(asked, "S0")).stale);
    CHECK(co_await has_none(asked, "S1"));
    CHECK((co_await ask(asked, "S2")).stale);
  });
}
