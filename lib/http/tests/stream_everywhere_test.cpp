// SPDX-License-Identifier: Apache-2.0
// Streamed answers and streamed bodies, ended at every await: each stream is closed, no answer looks complete that is not, nothing
// is left.

#include "support_site.hpp"

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/sse.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using namespace std::chrono_literals;
using belay::task;
using bt::stage;

namespace {

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

// Opened and closed with awaits, as a cursor is.
belay::managed<int> cursor(tally& open) {
  co_await belay::sleep_for(1ms);
  const passing here(open);
  int it = 0;
  co_yield it;
  co_await belay::sleep_for(1ms);
}

struct site {
  bt::fake_network net{{.conditions = {.delay = 1ms}}};
  io::network_override here{net};
  tally cursors;
  tally handlers;
  std::size_t ends = 0;
  std::size_t whole = 0;  // answers that a client saw to their end
  std::size_t sent = 0;
  bool lied = false;  // an answer that was not whole looked so
  http::server web{[this](http::exchange& of) -> task<http::response> { co_return co_await answer(of); },
                   hooks(), limits()};

  static http::server_options limits() {
    http::server_options out;
    out.write_timeout = 2s;
    out.body_timeout = 2s;
    out.idle_timeout = 5s;
    out.read_ahead_limit = 64;
    return out;
  }
  http::server_hooks hooks() {
    http::server_hooks all;
    all.plan_body = [](const http::request&, const io::endpoint&) {
      return http::body_plan{.how = http::body_plan::way::streamed};
    };
    all.ended = [this](http::exchange&, const http::response*, http::delivery how) {
      ++ends;
      if (how == http::delivery::sent) ++sent;
    };
    all.failed = [](const http::exchange&, const belay::failure& why) {
      for (const belay::failure& one : why.flatten()) one.observe();
      return http::response::text(http::status::internal_server_error, "failed");
    };
    all.body_failed = [](const http::exchange&, const belay::failure& why) {
      for (const belay::failure& one : why.flatten()) one.observe();
    };
    return all;
  }
  // The body of the request, word by word, as the body of the answer; or events.
  task<http::response> answer(http::exchange& of) {
    const passing one(handlers);
    co_await belay::sleep_for(1ms);
    if (of.request.path == "/events") co_return http::events(ticks(cursors), {.heartbeat = 30ms});
    co_return http::response::streamed(http::status::ok, "text/plain", words(of, cursors));
  }
  static belay::stream<std::string> words(http::exchange& of, tally& open) {
    co_await belay::use(cursor(open));
    belay::open_stream<std::string>& in = co_await belay::use(of.body_stream());
    while (std::string* piece = co_await in.next()) co_yield *piece;
    co_yield "END";
  }
  static belay::stream<http::sse_event> ticks(tally& open) {
    co_await belay::use(cursor(open));
    for (int i = 0; i != 3; ++i) {
      co_await belay::sleep_for(50ms);
      co_yield http::sse_event{.data = std::to_string(i)};
    }
    co_yield http::sse_event{.data = "END"};
  }
};

// One request, sent in two parts; its chunked answer.
task<> ask(site& at, std::string first, std::string second) {
  test::visitor v = co_await test::visitor::arrive();
  co_await v.send(std::move(first));
  co_await belay::sleep_for(5ms);
  co_await v.send(std::move(second));
  const std::string head = co_await v.head();
  if (!head.starts_with("HTTP/1.1 200")) co_return;
  const test::dechunked body = test::dechunk(co_await v.until("\r\n0\r\n\r\n"));
  if (body.whole) ++at.whole;
  if (body.whole && !at.web.draining() && body.content.find("END") == std::string::npos) at.lied = true;
}

using visit = task<> (*)(site&);

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

void drain(site& at) { at.web.drain(); }
void cut(site& at) { at.net.cut_all(); }
void go_silent(site& at) { at.net.cut_all(bt::loss::silence); }

bt::scenario served(visit how, std::size_t expected, void (*disturb)(site&)) {
  return [=](stage& s) -> task<> {
    site& at = s.make<site>();
    s.disturbance([&at, disturb] { disturb(at); });
    s.expect("no connection is left", [&at] {
      if (!at.net.nothing_left()) throw std::runtime_error(at.net.describe());
      return true;
    });
    s.expect("every stream is closed, every request has had one end", [&at] {
      const http::server_statistics now = at.web.statistics();
      return now.connections == 0 && now.active_requests == 0 && at.handlers.in == at.handlers.out &&
             at.cursors.in == at.cursors.out && at.ends == now.requests;
    });
    s.expect("what looks complete is complete", [&at] { return !at.lied && at.whole <= at.ends; });
    s.expect("undisturbed, all is answered",
             [&at, expected](const bt::run_end& ended) { return ended.injected || at.whole == expected; });
    co_await belay::with_group([&at, how](belay::group& g) -> task<> {
      g.spawn(
          [](site& of, visit in_what_way) -> task<> {
            co_await patient(of, in_what_way);
            of.web.drain();
          },
          std::ref(at), how);
      co_await at.web.serve(io::tcp_listener::bind(test::site_address));
    });
  };
}

void check(visit how, std::size_t expected, std::source_location where = std::source_location::current()) {
  const auto of = [&](void (*disturb)(site&)) { return served(how, expected, disturb); };
  const auto require = [](const bt::report& found) { CHECK_MESSAGE(found.ok(), found.text()); };
  const std::string line = "line " + std::to_string(where.line());
  const auto named = [&](const char* what) {
    return bt::everywhere_options{.name = line + ", " + what, .schedules = 3};
  };
  require(bt::cancel_everywhere(of(drain), named("cancelled"), where));
  // What fails on a connection for another reason than the network goes to the failure sink, so that the others live on.
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
  require(bt::explore(of(drain), 100, {.name = line + ", orders", .allow_lost_errors = true}, where));
}

}  // namespace

TEST_CASE("everywhere: a streamed body goes into a streamed answer, by length and chunked") {
  check(
      [](site& at) -> task<> {
        co_await ask(at, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nwo", "rds!!!");
        co_await ask(at, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwor\r\n",
                     "2\r\nds\r\n0\r\n\r\n");
      },
      2);
}

TEST_CASE("everywhere: events with heartbeats, to a client that stays and one that leaves") {
  check(
      [](site& at) -> task<> {
        co_await ask(at, "GET /events HTTP/1.1\r\n", "Host: x\r\n\r\n");
        static_cast<void>(
            co_await belay::move_on_after(80ms, ask(at, "GET /events HTTP/1.1\r\n", "Host: x\r\n\r\n")));
      },
      1);
}
