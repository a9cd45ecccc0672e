// SPDX-License-Identifier: Apache-2.0
// The server on a fake network, ended at every await: each request has one end, no connection and no handler is left.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/fake_network.hpp>
#include <doctest/doctest.h>

#include <array>

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using namespace std::chrono_literals;
using belay::task;
using bt::stage;

namespace {

const io::endpoint address{"127.0.0.1", 80};

// How often each thing happened. What goes in comes out.
struct tally {
  std::size_t in = 0;
  std::size_t out = 0;
};
struct passing {
  tally& through;
  explicit passing(tally& by) : through(by) { ++through.in; }
  passing(const passing&) = delete;
  passing& operator=(const passing&) = delete;
  ~passing() { ++through.out; }
};

http::server_options impatient() {
  http::server_options limits;
  limits.head_timeout = 2s;
  limits.body_timeout = 2s;
  limits.write_timeout = 2s;
  limits.idle_timeout = 5s;
  limits.max_connections = 2;
  return limits;
}

// A server and its world.
struct site {
  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  io::network_override here{net};
  tally handlers;
  std::size_t ends = 0;
  std::size_t sent = 0;  // of them: the answer is on its way
  std::size_t stopped = 0;
  bool drained = false;
  std::string got;  // by all clients
  http::server web{[this](http::exchange& of) -> task<http::response> { co_return co_await answer(of); },
                   hooks(), impatient()};

  http::server_hooks hooks() {
    http::server_hooks all;
    all.ended = [this](http::exchange&, const http::response*, http::delivery how) {
      ++ends;
      if (how == http::delivery::sent) ++sent;
      if (how == http::delivery::stopped) ++stopped;
    };
    all.failed = [](const http::exchange&, const belay::failure& why) {
      for (const belay::failure& one : why.flatten()) one.observe();
      return http::response::text(http::status::internal_server_error, "failed");
    };
    all.accept_failed = [](const belay::failure& why) { why.observe(); };
    return all;
  }
  // Takes 10 ms, and 20 s for /slow; the client's deadline counts.
  task<http::response> answer(http::exchange& of) {
    const passing one(handlers);
    const auto think = [](const http::request& about) -> task<http::response> {
      co_await belay::sleep_for(about.path == "/slow" ? belay::duration(20s) : 10ms);
      co_return http::response::text(http::status::ok, "said " + about.body);
    };
    co_return co_await http::with_client_deadline(of, think(of.request));
  }
  [[nodiscard]] std::size_t answers(std::string_view status = "") const {
    const std::string line = "HTTP/1.1 " + std::string(status);
    std::size_t count = 0;
    for (std::size_t at = got.find(line); at != std::string::npos; at = got.find(line, at + 1)) ++count;
    return count;
  }
};

// Sends, then reads until so many answers have come, or the end.
task<> talk(site& at, std::string text, std::size_t answers) {
  io::tcp_stream stream = co_await io::connect(address);
  co_await stream.write(text);
  std::string mine;
  std::array<char, 4096> buffer;
  for (std::size_t here = 0; here < answers;) {
    const std::size_t count = co_await stream.read_some(buffer);
    if (count == 0) co_return;
    mine.append(buffer.data(), count);
    at.got.append(buffer.data(), count);
    here = 0;
    for (std::size_t i = mine.find("said "); i != std::string::npos; i = mine.find("said ", i + 1)) ++here;
  }
}

std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n" + std::string(fields) + "\r\n";
}
std::string post(std::string_view body) {
  return "POST /words HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

using visit = task<> (*)(site&);

// That the network goes away, or is silent for too long, is no news for a client.
task<> patient(site& at, visit how) {
  const auto ended = co_await belay::as_outcome(belay::with_timeout(30s, how(at)));
  if (!ended.failed()) co_return;
  const belay::failure why = ended.failure();
  for (const belay::failure& one : why.flatten()) {
    if (one.find<io::network_error>() == nullptr && one.find<belay::timeout_error>() == nullptr) {
      co_await belay::fail(why);
    }
  }
}

void drain(site& at) {
  at.drained = true;
  at.web.drain();
}
void cut(site& at) { at.net.cut_all(); }
void go_silent(site& at) { at.net.cut_all(bt::loss::silence); }

site& open_site(stage& s) {
  site& at = s.make<site>();
  s.expect("no connection is left", [&at] {
    if (!at.net.nothing_left()) throw std::runtime_error(at.net.describe());
    return true;
  });
  s.expect("no request is left, and each has had one end", [&at] {
    const http::server_statistics now = at.web.statistics();
    return now.connections == 0 && now.idle_connections == 0 && now.active_requests == 0 &&
           at.handlers.in == at.handlers.out && at.ends == now.requests;
  });
  s.expect("a drain cuts no request off, and what was sent arrives", [&at](const bt::run_end& how) {
    return !at.drained || !how.succeeded || (at.stopped == 0 && at.sent <= at.answers());
  });
  s.afterwards([&at]() -> task<> {
    at.net.set({.delay = 1ms});
    site again;
    co_await belay::with_group([&again](belay::group& g) -> task<> {
      g.spawn(
          [](site& of) -> task<> {
            co_await talk(of, get("/"), 1);
            of.web.drain();
          },
          std::ref(again));
      co_await again.web.serve(io::tcp_listener::bind(address));
    });
    if (again.answers("200") != 1) throw std::runtime_error("no answer");
  });
  return at;
}

// Serves until the visitors have gone. `expected`: undisturbed.
bt::scenario served(visit how, std::string status, std::size_t expected, void (*disturb)(site&) = drain) {
  return [=](stage& s) -> task<> {
    site& at = open_site(s);
    s.disturbance([&at, disturb] { disturb(at); });
    s.expect("undisturbed, all is answered", [&at, status, expected](const bt::run_end& ended) {
      return ended.injected || at.answers(status) == expected;
    });
    co_await belay::with_group([&at, how](belay::group& g) -> task<> {
      g.spawn(
          [](site& of, visit in_what_way) -> task<> {
            co_await patient(of, in_what_way);
            of.web.drain();
          },
          std::ref(at), how);
      co_await at.web.serve(io::tcp_listener::bind(address));
    });
  };
}

void check(visit how, const std::string& status, std::size_t expected,
           std::source_location where = std::source_location::current()) {
  const auto of = [&](void (*disturb)(site&)) { return served(how, status, expected, disturb); };
  const auto require = [](const bt::report& found) { CHECK_MESSAGE(found.ok(), found.text()); };
  const std::string line = "line " + std::to_string(where.line());
  const auto named = [&](const char* what) {
    return bt::everywhere_options{.name = line + ", " + what, .schedules = 3};
  };
  require(bt::cancel_everywhere(of(drain), named("cancelled"), where));
  // What fails on a connection for another reason than the network goes to the failure sink, so that the others live on: that it is
  // reported would be found here. Below, the network does fail.
  bt::everywhere_options not_the_server = named("with errors");
  not_the_server.only = [](const bt::await_info& at) {
    const std::string_view file = at.at.file_name();
    return file.find("http/src/server") == std::string_view::npos &&
           file.find("fake_network") == std::string_view::npos;
  };
  require(bt::fail_everywhere(of(drain), {}, not_the_server, where));
  require(bt::fail_everywhere(
      of(drain),
      bt::errors_of(io::disconnected_error("injected", std::make_error_code(std::errc::connection_reset))),
      named("network errors"), where));
  require(bt::disturb_everywhere(of(drain), named("drained"), where));
  require(bt::disturb_everywhere(of(cut), named("cut"), where));
  require(bt::disturb_everywhere(of(go_silent), named("silent"), where));
  require(bt::explore(of(drain), 200, {.name = line + ", orders", .allow_lost_errors = true}, where));
}

}  // namespace

TEST_CASE("everywhere: requests on one connection, kept alive and pipelined") {
  check(
      [](site& at) -> task<> {
        co_await talk(at, get("/") + post("words") + get("/", "Connection: close\r\n"), 9);
      },
      "200", 3);
}

TEST_CASE("everywhere: a client that leaves before it has its answer, beside one that stays") {
  check(
      [](site& at) -> task<> {
        const auto leaves = [](site& from) -> task<> {
          static_cast<void>(co_await belay::move_on_after(20ms, talk(from, get("/slow"), 1)));
        };
        co_await belay::all(leaves(at), talk(at, post("words"), 1));
      },
      "200", 1);
}

TEST_CASE("everywhere: a client that sends half of a request and waits") {
  check([](site& at) -> task<> { co_await talk(at, "POST / HTTP/1.1\r\nHost: test\r\n", 1); }, "408", 1);
  check([](site& at) -> task<> { co_await talk(at, post("words").substr(0, 57), 1); }, "408", 1);
}

TEST_CASE("everywhere: malformed requests are refused, in small pieces") {
  check(
      [](site& at) -> task<> {
        at.net.set({.delay = 1ms, .read_at_most = 7, .write_at_most = 11});
        co_await talk(at, "GET / HTTP/9.9\r\nHost: test\r\n\r\n", 1);
      },
      "505", 1);
}

TEST_CASE("everywhere: one connection too many") {
  check(
      [](site& at) -> task<> {
        const auto one = [](site& to) -> task<> { co_await talk(to, get("/", "Connection: close\r\n"), 9); };
        co_await belay::all(one(at), one(at), one(at));
      },
      "503", 1);
}

TEST_CASE("everywhere: the client's deadline passes") {
  check(
      [](site& at) -> task<> {
        co_await talk(at, get("/slow", "Belay-Deadline-Ms: 50\r\nConnection: close\r\n"), 9);
      },
      "500", 1);
}

TEST_CASE("everywhere: connections cannot be accepted for a while") {
  check(
      [](site& at) -> task<> {
        at.net.fail_accepts(std::errc::too_many_files_open, 2);
        co_await talk(at, get("/"), 1);
      },
      "200", 1);
}
