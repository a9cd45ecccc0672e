// SPDX-License-Identifier: Apache-2.0
// What a service manager hears of an app: a datagram socket here plays systemd.

#include "support.hpp"

#include <belay/service/service_manager.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

using namespace std::chrono_literals;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::service_manager;
using words = std::vector<std::string>;

namespace {

enum class kind : unsigned char { path, abstract };

// Listens as systemd does.
class manager_socket {
 public:
  explicit manager_socket(kind how) {
    static int number = 0;
    const std::string name = "belay_notify_" + std::to_string(::getpid()) + "_" + std::to_string(++number);
    address_ = how == kind::path ? "/tmp/" + name : "@" + name;
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, address_.data(), address_.size());
    if (how == kind::abstract) at.sun_path[0] = '\0';
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&at),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size())) == 0);
  }
  manager_socket(const manager_socket&) = delete;
  manager_socket& operator=(const manager_socket&) = delete;
  ~manager_socket() {
    ::close(fd_);
    if (address_.front() == '/') ::unlink(address_.c_str());
  }
  // What has come since the last time, in order.
  words heard() {
    words all;
    char some[512];
    for (ssize_t count = 0; (count = ::recv(fd_, some, sizeof some, 0)) >= 0;)
      all.emplace_back(some, static_cast<std::size_t>(count));
    return all;
  }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  std::string address_;
  int fd_ = -1;
};

std::optional<service_manager> from(std::map<std::string, std::string> variables) {
  return service_manager::from_environment([&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::size_t count(const words& all, std::string_view wanted) {
  return static_cast<std::size_t>(std::count(all.begin(), all.end(), wanted));
}
std::ptrdiff_t place(const words& all, std::string_view wanted) {
  return std::find(all.begin(), all.end(), wanted) - all.begin();
}

managed<int> takes(belay::duration opens, belay::duration closes) {
  co_await belay::sleep_for(opens);
  co_yield 0;
  co_await belay::sleep_for(closes);
}

struct world {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  belay::io::network_override here{net};
  support::record_keeper records;
  manager_socket systemd{kind::abstract};

  service::app_options options(belay::duration watchdog = 0s) {
    service::app_options made = support::options();
    made.manager.emplace(systemd.address(), watchdog);
    return made;
  }
};

}  // namespace

TEST_CASE("service manager: lines arrive as one datagram, at a path and at an abstract name") {
  for (const kind how : {kind::path, kind::abstract}) {
    manager_socket socket(how);
    const service_manager manager(socket.address());
    CHECK(manager.send("READY=1\nSTATUS=on"));
    CHECK(manager.send_status("two\nlines"));
    CHECK(socket.heard() == words{"READY=1\nSTATUS=on", "STATUS=two lines"});
  }
  CHECK_FALSE(service_manager("/tmp/belay_nobody_listens_here").send("READY=1"));
}

TEST_CASE("service manager: where it is and what it wants is in the environment") {
  CHECK_FALSE(from({}).has_value());
  CHECK_FALSE(from({{"WATCHDOG_USEC", "1000"}}).has_value());
  CHECK(from({{"NOTIFY_SOCKET", "/run/n"}})->watchdog() == 0s);
  CHECK(from({{"NOTIFY_SOCKET", "@n"}, {"WATCHDOG_USEC", "3000000"}})->watchdog() == 3s);
  const std::string me = std::to_string(::getpid());
  CHECK(from({{"NOTIFY_SOCKET", "@n"}, {"WATCHDOG_USEC", "3000000"}, {"WATCHDOG_PID", me}})->watchdog() ==
        3s);
  CHECK(
      from({{"NOTIFY_SOCKET", "@n"}, {"WATCHDOG_USEC", "3000000"}, {"WATCHDOG_PID", "1" + me}})->watchdog() ==
      0s);
  for (const char* bad : {"", "0", "-1", "1s", "99999999999999999999", "99999999999999999"}) {
    if (*bad == '\0') continue;
    CHECK_THROWS_WITH_AS(from({{"NOTIFY_SOCKET", "@n"}, {"WATCHDOG_USEC", bad}}), doctest::Contains(bad),
                         belay::error);
  }
  for (const std::string& bad :
       {std::string("vsock:2:1"), std::string("relative"), std::string("@"), "/" + std::string(120, 'x')}) {
    CHECK_THROWS_WITH_AS(from({{"NOTIFY_SOCKET", bad}}), doctest::Contains(bad.c_str()), belay::error);
  }
}

TEST_CASE(
    "app: its manager hears of the start step by step, READY once it serves, STOPPING, and what is left, in this order") {
  world w;
  app a(w.options(), w.records.log);
  a.manage("database", takes(2s, 2s));
  a.get("/slow", [](service::request&) -> task<belay::http::response> {
    co_await belay::sleep_for(3s);
    co_return belay::http::response::json(belay::http::status::ok, "{}");
  });
  w.loop.run(belay::with_group([&](belay::group& g) -> task<> {
    belay::child<int> code =
        g.spawn([](app& of) -> task<int> { co_return co_await of.run_within(); }, std::ref(a));
    support::client c = co_await support::connect(a);
    co_await c.send(support::get("/slow"));
    co_await belay::sleep_for(1s);
    words heard = w.systemd.heard();
    CHECK(count(heard, "STATUS=starting, 0 of 1 steps: database") == 1);
    CHECK(count(heard, "EXTEND_TIMEOUT_USEC=10000000") >= 2);
    CHECK(count(heard, "READY=1") == 1);
    CHECK(place(heard, "READY=1") > place(heard, "STATUS=starting, 0 of 1 steps: database"));
    CHECK(heard.back().starts_with("STATUS=serving on http://127.0.0.1:"));
    co_await belay::sleep_for(1s);
    CHECK(w.systemd.heard().empty());
    a.stop();
    CHECK(co_await code == service::exit_clean);
    heard = w.systemd.heard();
    CHECK(heard.front() == "STOPPING=1");
    CHECK(count(heard, "STOPPING=1") == 1);
    CHECK(count(heard, "READY=1") == 0);
    CHECK(count(heard, "STATUS=stopping: 1 requests, 0 background tasks left") == 1);
    CHECK(count(heard, "STATUS=stopping: closing database") == 1);
    CHECK(count(heard, "EXTEND_TIMEOUT_USEC=10000000") >= 3);
  }));
  CHECK(w.loop.nothing_left());
}

TEST_CASE("app: the watchdog is fed at half of its time, by the loop, in every phase") {
  world w;
  app a(w.options(10s), w.records.log);
  a.manage("database", takes(10s, 5s));
  w.loop.run(belay::with_group([&](belay::group& g) -> task<> {
    g.spawn([](app& of) -> task<> { static_cast<void>(co_await of.run_within()); }, std::ref(a));
    co_await a.wait_serving();
    co_await belay::sleep_for(2s);
    CHECK(count(w.systemd.heard(), "WATCHDOG=1") >= 2);
    std::size_t beats = 0;
    for (int i = 0; i != 60; ++i) {  // the queue of a socket is short
      co_await belay::sleep_for(1s);
      beats += count(w.systemd.heard(), "WATCHDOG=1");
    }
    CHECK(beats == 12);
    a.stop();
  }));
  CHECK(count(w.systemd.heard(), "WATCHDOG=1") == 1);
}

TEST_CASE(
    "app: a manager that does not listen yet is told READY as soon as it does; without one, nothing is kept running") {
  belay::testing::test_loop loop;
  belay::testing::fake_network net;
  const belay::io::network_override here{net};
  support::record_keeper records;
  std::optional<manager_socket> systemd;
  systemd.emplace(kind::path);
  service::app_options options = support::options();
  options.manager.emplace(systemd->address());
  systemd.reset();
  app a(options, records.log);
  loop.run(belay::with_group([&](belay::group& g) -> task<> {
    g.spawn([](app& of) -> task<> { static_cast<void>(co_await of.run_within()); }, std::ref(a));
    co_await a.wait_serving();
    co_await belay::sleep_for(5s);
    a.stop();
  }));
  CHECK(loop.nothing_left());
  CHECK(records.errors() == 0);
}

TEST_CASE("app: when it cannot start, its manager hears why") {
  world w;
  app a(w.options(), w.records.log);
  a.step("migrate", []() -> task<> {
    co_await belay::yield();
    throw belay::error("table users is missing");
  });
  CHECK(w.loop.run(a.run_within()) == service::exit_start_failed);
  CHECK(w.systemd.heard().back() == "STATUS=cannot start: migrate: table users is missing");
}

TEST_CASE("app: stopped while it starts, its manager hears STOPPING, and never READY") {
  world w;
  app a(w.options(), w.records.log);
  a.manage("first", takes(0s, 3s));
  a.step("slow", [&a]() -> task<> {
    co_await belay::sleep_for(2s);
    a.stop();
    co_await belay::sleep_for(1h);
  });
  CHECK(w.loop.run(a.run_within()) == service::exit_clean);
  const words heard = w.systemd.heard();
  CHECK(count(heard, "READY=1") == 0);
  CHECK(count(heard, "STOPPING=1") == 1);
  CHECK(count(heard, "STATUS=stopping: closing first") == 1);
}
