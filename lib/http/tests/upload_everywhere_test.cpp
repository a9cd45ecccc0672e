// SPDX-License-Identifier: Apache-2.0
// Uploads on a fake network, ended at every await: every source is closed, no connection is left, and no server takes a part for the whole.

#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
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

// A server that is not looked at, and the client that is.
struct site {
  bt::fake_network net{{.conditions = {.delay = 1ms, .buffer = 64}}};
  io::network_override here{net};
  http::server web{[this](http::exchange& of) -> task<http::response> {
                     if (!of.request.body.ends_with("END")) took_a_part = true;
                     co_return http::response::text(http::status::ok, "all");
                   },
                   {},
                   {.idle_timeout = 3s}};
  http::client client{{.wait_timeout = 5s, .response_timeout = 5s}};
  std::size_t answers = 0;
  int opened = 0;
  int closed = 0;
  bool took_a_part = false;

  belay::managed<int> file() {
    co_await belay::sleep_for(1ms);
    ++opened;
    struct closing {
      int& count;
      ~closing() { ++count; }
    } const at_end{closed};
    co_yield 0;
    co_await belay::sleep_for(1ms);
  }
  belay::stream<std::string> pieces() {
    co_await belay::use(file());
    co_yield std::string("one");
    co_await belay::sleep_for(1ms);
    co_yield std::string(100, 'x');
    co_yield std::string("END");
  }
};

struct repeating {
  site* of;
  BELAY_CORO_WRAPPER belay::stream<std::string> operator()() const { return of->pieces(); }
};

task<> put(site& at, http::upload what) {
  http::client_request made{.method = http::method::put, .url = http::url::parse("http://127.0.0.1/")};
  made.upload = std::move(what);
  if ((co_await at.client.fetch(std::move(made))).body == "all") ++at.answers;
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
    s.expect("every source is closed", [&at] { return at.opened == at.closed; });
    s.expect("the server took no part for the whole", [&at] { return !at.took_a_part; });
    s.expect("the client has no request, and as many connections as it says", [&at] {
      const http::client_statistics now = at.client.statistics();
      return now.active == 0 && now.connections == now.idle && now.idle <= 2;
    });
    s.expect("undisturbed, all is answered",
             [&at, expected](const bt::run_end& ended) { return ended.injected || at.answers == expected; });
    s.afterwards([&at]() -> task<> {
      at.client.close();
      if (at.client.statistics().connections != 0) throw std::runtime_error("a connection is left");
      co_return;
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
  require(bt::disturb_everywhere(visited(how, expected, cut), named("cut"), where));
  require(bt::disturb_everywhere(visited(how, expected, go_silent), named("silent"), where));
  require(bt::explore(visited(how, expected, cut), 50, {.name = line + ", orders"}, where));
}

}  // namespace

TEST_CASE("everywhere: uploads in chunks and of known length, sent once") {
  check(
      [](site& at) -> task<> {
        co_await put(at, http::upload(at.pieces()));
        co_await put(at, http::upload(at.pieces(), {.length = 106}));
      },
      2);
}

TEST_CASE(
    "everywhere: an upload that can be made again, on a connection in use, which the server is asked for first") {
  check(
      [](site& at) -> task<> {
        const http::upload what = http::upload::again(repeating{&at}, {.expect_continue = true});
        co_await put(at, what);
        co_await put(at, what);
      },
      2);
}
