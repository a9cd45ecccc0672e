// SPDX-License-Identifier: Apache-2.0
// A service on several loops: real threads and real sockets, driven by a worker of the first loop.

#include "support.hpp"

#include <belay/service/run_app.hpp>
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::request;
using support::contains;
using words = std::vector<std::string>;

namespace {

// What the loops tell each other.
struct fleet {
  std::atomic<int> opened{0};
  std::atomic<int> open{0};
  std::atomic<int> started{0};
  std::atomic<int> finished{0};
  std::mutex mutex;
  std::set<std::thread::id> threads;  // guarded by mutex

  managed<int> resource() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    co_await belay::yield();
    ++opened;
    ++open;
    co_yield 0;
    co_await belay::yield();
    --open;
  }
};

service::app_options options(unsigned loops) {
  service::app_options made = support::options();
  made.loops = loops;
  return made;
}

void add_routes(app& a, fleet& all, unsigned loop) {
  a.get("/loop", [loop](request&) -> task<http::response> {
    co_return http::response::text(http::status::ok, std::to_string(loop));
  });
  a.get("/slow", [&all](request&) -> task<http::response> {
    ++all.started;
    co_await belay::sleep_for(100ms);
    ++all.finished;
    co_return http::response::text(http::status::ok, "done");
  });
}

// The first loop runs `talk` once all serve, then stops the app.
template <class Talk>
void drive(app& first, Talk talk) {
  first.worker("driver",
               [&first, talk]() -> task<> {
                 co_await first.wait_serving();
                 co_await talk(first);
                 first.stop("test over");
               },
               {.most_restarts = 0});
}

}  // namespace

TEST_CASE(
    "run_app: each loop has its thread and its resources, serves on the one port, and all end together [row 297]") {
  fleet all;
  support::record_keeper records;
  std::set<std::string> answered;
  const int code = service::run_app(options(3), records.log, [&](app& a, unsigned loop) {
    a.manage("database", all.resource());
    add_routes(a, all, loop);
    if (loop != 0) return;
    drive(a, [&all, &answered](app& first) -> task<> {
      CHECK(all.open == 3);
      for (int i = 0; i != 1000 && answered.size() != 3; ++i) {
        support::client c = co_await support::connect(first);
        answered.insert((co_await c.ask(support::get("/loop"))).body);
      }
      support::client c = co_await support::connect(first);
      CHECK((co_await c.ask(support::get("/health/ready"))).status() == 200);
    });
  });
  CHECK(code == service::exit_clean);
  CHECK(answered == std::set<std::string>{"0", "1", "2"});
  CHECK(all.opened == 3);
  CHECK(all.open == 0);
  CHECK(all.threads.size() == 3);
  CHECK(records.events("listening").size() >= 1);
  CHECK(records.errors() == 0);
  const words report = records.events("shutdown_report");
  REQUIRE(report.size() == 1);
  for (const char* row :
       {"\"requests\"", "\"loop 1: requests\"", "\"loop 2: database\"", "\"loop 1\"", "\"thread of loop 2\""})
    CHECK(contains(report[0], std::string("\"name\":") + row));
}

TEST_CASE("run_app: requests under way on every loop are finished before it ends [row 297]") {
  fleet all;
  support::record_keeper records;
  constexpr int clients = 24;
  CHECK(service::run_app(options(3), records.log, [&](app& a, unsigned loop) {
          add_routes(a, all, loop);
          if (loop != 0) return;
          // A step: the clients stay until all loops have ended.
          const auto waiting = a.manage("clients", []() -> managed<std::vector<support::client>> {
            co_yield std::vector<support::client>();
          }());
          drive(a, [&all, waiting](app& first) -> task<> {
            for (int i = 0; i != clients; ++i) {
              waiting->push_back(co_await support::connect(first));
              co_await waiting->back().send(support::get("/slow"));
            }
            while (all.started != clients) co_await belay::sleep_for(1ms);
          });
        }) == service::exit_clean);
  CHECK(all.finished == clients);
}

TEST_CASE(
    "run_app: when one loop cannot start, none serves, and the record names it and what went wrong there [row 316]") {
  fleet all;
  support::record_keeper records;
  const int code = service::run_app(options(3), records.log, [&](app& a, unsigned loop) {
    a.manage("database", all.resource());
    add_routes(a, all, loop);
    if (loop == 2) {
      a.step("migrate", []() -> task<> {
        co_await belay::yield();
        throw belay::error("table users is missing");
      });
    }
  });
  CHECK(code == service::exit_start_failed);
  CHECK(all.open == 0);
  const words failed = records.events("start_failed");
  REQUIRE(failed.size() == 1);
  CHECK(contains(failed[0], "\"step\":\"loop 2\""));
  CHECK(contains(failed[0], "migrate: table users is missing"));
}

TEST_CASE("run_app: a loop that cannot go on ends the program, and the others are closed [row 314]") {
  fleet all;
  support::record_keeper records;
  const int code = service::run_app(options(2), records.log, [&](app& a, unsigned loop) {
    a.manage("database", all.resource());
    if (loop == 1) {
      a.worker("feed",
               []() -> task<> {
                 co_await belay::sleep_for(20ms);
                 throw belay::error("the feed broke");
               },
               {.most_restarts = 0});
    }
  });
  CHECK(code == service::exit_start_failed);
  CHECK(all.open == 0);
  CHECK(records.events("shutdown_report").size() == 1);
  CHECK(contains(records.events("service_failed").at(0), "the feed broke"));
}

TEST_CASE("run_app: a signal while the first loop closes after a failed start finds no loop that is gone") {
  support::record_keeper records;
  const int code = service::run_app(options(2), records.log, [](app& a, unsigned loop) {
    if (loop == 0) {
      a.manage("database", []() -> managed<int> {
        co_yield 0;
        ::raise(SIGTERM);
        co_await belay::sleep_for(50ms);
      }());
    } else {
      a.step("migrate", []() -> task<> {
        co_await belay::yield();
        throw belay::error("no table");
      });
    }
  });
  CHECK(code == service::exit_start_failed);
}

TEST_CASE("run_app: with one loop it is an app; numbers out of range and an empty set-up are misuse") {
  fleet all;
  support::record_keeper records;
  CHECK(service::run_app(options(1), records.log, [&](app& a, unsigned loop) {
          CHECK(loop == 0);
          a.manage("database", all.resource());
          drive(a, [](app&) -> task<> { co_return; });
        }) == service::exit_clean);
  CHECK(all.opened == 1);
  for (const unsigned bad : {0U, 100'000U}) {
    CHECK_THROWS_AS(static_cast<void>(service::run_app(options(bad), records.log, [](app&, unsigned) {})),
                    belay::misuse_error);
  }
  CHECK_THROWS_AS(static_cast<void>(service::run_app(options(2), records.log, {})), belay::misuse_error);
}

namespace {

// The number behind a line of a page; -1: there is none.
double number_on(const std::string& page, const std::string& line) {
  const std::size_t at = page.find("\n" + line + " ");
  return at == std::string::npos ? -1 : std::stod(page.substr(at + line.size() + 2));
}

task<std::string> page_of(app& first) {
  support::client c = co_await support::connect(first);
  const support::answer got = co_await c.ask(support::get("/metrics"));
  CHECK(got.status() == 200);
  co_return got.body;
}

// Waits in its thread, without a loop.
class plain_client {
 public:
  explicit plain_client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
  }
  plain_client(plain_client&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  plain_client& operator=(plain_client&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }
  ~plain_client() {
    if (socket_ >= 0) ::close(socket_);
  }

  // Head and body; of an answer that is not the last one, its first piece, which is all of a short one.
  std::string ask(const std::string& path, bool last) {
    const std::string text =
        "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + (last ? "Connection: close\r\n\r\n" : "\r\n");
    REQUIRE(::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    std::string got;
    std::array<char, 4096> part{};
    for (ssize_t count = 0; (count = ::recv(socket_, part.data(), part.size(), 0)) > 0;) {
      got.append(part.data(), static_cast<std::size_t>(count));
      if (!last) break;
    }
    return got;
  }

 private:
  int socket_;
};

}  // namespace

TEST_CASE("run_app: the metrics page is that of all loops, whichever is asked") {
  fleet all;
  support::record_keeper records;
  service::app_options how = options(3);
  how.metrics_path = "/metrics";
  const int code = service::run_app(how, records.log, [&](app& a, unsigned loop) {
    add_routes(a, all, loop);
    a.gauge("things", [] { return std::size_t{2}; });
    a.metrics().counter("made_total", "Made.").add(loop == 1 ? 5 : 1);
    if (loop != 0) return;
    drive(a, [](app& first) -> task<> {
      std::set<std::string> answered;
      double asked = 0;
      for (; asked < 1000 && answered.size() != 3; ++asked) {
        support::client c = co_await support::connect(first);
        answered.insert((co_await c.ask(support::get("/loop"))).body);
      }
      REQUIRE(answered.size() == 3);
      for (int i = 0; i != 12; ++i) {
        const std::string page = co_await page_of(first);
        CHECK(number_on(page, R"(belay_http_requests_total{route="/loop",method="GET",status="200"})") ==
              asked);
        CHECK(number_on(page, R"(belay_in_use{what="things"})") == 6);
        CHECK(number_on(page, "made_total") == 7);
        CHECK(number_on(page, "belay_ready") == 1);
        CHECK(number_on(page, "process_start_time_seconds") < 1e10);
        CHECK(number_on(page, R"(belay_log_records_total{fate="written"})") < 100);
      }
    });
  });
  CHECK(code == service::exit_clean);
  CHECK(records.errors() == 0);
}

TEST_CASE("run_app: what a blocked loop counted stays on the metrics page") {
  support::record_keeper records;
  service::app_options how = options(2);
  how.metrics_path = "/metrics";
  std::atomic<belay::loop*> other{nullptr};
  std::atomic<bool> blocked{false};
  std::atomic<bool> go_on{false};
  const int code = service::run_app(how, records.log, [&](app& a, unsigned loop) {
    a.metrics().counter("made_total", "Made.").add(loop == 1 ? 5 : 1);
    if (loop == 1) {
      a.step("tell", [&other]() -> task<> {
        other = belay::loop::current();
        co_return;
      });
      return;
    }
    a.get("/own", [&a](request&) -> task<http::response> {  // of this loop only
      co_return http::response::text(http::status::ok, std::to_string(a.metrics().snapshot().size()));
    });
    drive(a, [&](app& first) -> task<> {
      const auto reached_first = [](support::client& c) -> task<bool> {
        co_return (co_await c.ask(support::get("/own"))).status() == 200;
      };
      for (int i = 0; i != 1000; ++i) {
        support::client c = co_await support::connect(first);
        if (!co_await reached_first(c)) continue;
        CHECK(number_on((co_await c.ask(support::get("/metrics"))).body, "made_total") == 6);
        other.load()->post([&] {
          blocked = true;
          blocked.notify_all();
          go_on.wait(false);
        });
        blocked.wait(false);
        CHECK(number_on((co_await c.ask(support::get("/metrics"))).body, "made_total") == 6);
        go_on = true;
        go_on.notify_all();
        CHECK(number_on((co_await c.ask(support::get("/metrics"))).body, "made_total") == 6);
        co_return;
      }
      FAIL("the first loop was never reached");
    });
  });
  CHECK(code == service::exit_clean);
}

TEST_CASE(
    "run_app: when the first loop is blocked, the metrics page of another one says so, and is not waited for") {
  support::record_keeper records;
  service::app_options how = options(2);
  how.metrics_path = "/metrics";
  std::atomic<belay::loop*> first_loop{nullptr};
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> blocked{false};
  std::atomic<bool> go_on{false};
  std::string page;
  // A client on a thread of its own: the loops are what is looked at.
  std::thread visitor([&] {
    port.wait(0);
    plain_client c(port);  // which loop it reaches is up to the system
    while (!c.ask("/loop", false).ends_with("\r\n\r\n1")) c = plain_client(port);
    first_loop.load()->post([&] {
      blocked = true;
      blocked.notify_all();
      go_on.wait(false);
    });
    blocked.wait(false);
    page = c.ask("/metrics", true);
    go_on = true;
    go_on.notify_all();
  });
  const int code = service::run_app(how, records.log, [&](app& a, unsigned loop) {
    a.get("/loop", [loop](request&) -> task<http::response> {
      co_return http::response::text(http::status::ok, std::to_string(loop));
    });
    if (loop != 0) return;
    drive(a, [&](app& first) -> task<> {
      first_loop = belay::loop::current();
      port = (co_await first.wait_serving()).port;
      port.notify_all();
      while (!go_on) co_await belay::sleep_for(1ms);
    });
  });
  visitor.join();
  CHECK(code == service::exit_clean);
  CHECK(contains(page, "loop_blocked"));
}

TEST_CASE("run_app: a number that another loop cannot read is a 500, and told") {
  support::record_keeper records;
  service::app_options how = options(2);
  how.metrics_path = "/metrics";
  std::atomic<bool> broken{true};
  const int code = service::run_app(how, records.log, [&](app& a, unsigned loop) {
    a.metrics().collect(belay::telemetry::metric_type::gauge, "depth", "Depth.", [&broken, loop]() -> double {
      if (loop == 1 && broken) throw belay::error("the sounder is broken");
      return 2;
    });
    if (loop != 0) return;
    drive(a, [&broken](app& first) -> task<> {
      support::client c = co_await support::connect(first);
      CHECK((co_await c.ask(support::get("/metrics"))).status() == 500);
      broken = false;
      CHECK(number_on(co_await page_of(first), "depth") == 4);
    });
  });
  CHECK(code == service::exit_clean);
  REQUIRE(records.errors() == 1);
  CHECK(contains(records.events("request_failed").at(0), "the sounder is broken"));
}
