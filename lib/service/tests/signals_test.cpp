// SPDX-License-Identifier: Apache-2.0
// SIGTERM and SIGINT, first and again, at each phase: an app in a process of its own, with real signals and real time.

#include "support.hpp"

#include <belay/core/thread.hpp>
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <thread>

using namespace std::chrono_literals;
namespace http = belay::http;
namespace service = belay::service;
using belay::managed;
using belay::task;
using service::app;
using service::request;
using support::contains;

namespace {

class pipe_sink final : public belay::telemetry::sink {
 public:
  explicit pipe_sink(int to) : to_(to) {}
  void write(belay::telemetry::level, std::string_view text) override {
    const std::string line = std::string(text) + "\n";
    [[maybe_unused]] const auto written = ::write(to_, line.data(), line.size());
  }
  bool flush(belay::duration) override { return true; }

 private:
  int to_;
};

// An app in a child process, whose log comes through a pipe.
class process {
 public:
  process(service::app_options options, const std::function<void(app&)>& set_up) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ends[0]);
      int code = 99;
      try {
        app a(std::move(options), belay::telemetry::logger(std::make_shared<pipe_sink>(ends[1])));
        set_up(a);
        code = a.run();
      } catch (...) {
        code = 98;
      }
      ::_exit(code);
    }
    ::close(ends[1]);
    log_ = ends[0];
  }
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    for (const int fd : sockets_) ::close(fd);
    ::close(log_);
  }

  // Reads the log up to a record of this event; the record.
  std::string wait_for(std::string_view event) {
    const std::string wanted = "\"event\":\"" + std::string(event) + "\"";
    for (;;) {
      const std::size_t end = unread_.find('\n');
      if (end == std::string::npos) {
        char some[4096];
        const auto count = ::read(log_, some, sizeof some);
        if (count <= 0) {
          FAIL("the log ended before a record of " << event);
        }
        unread_.append(some, static_cast<std::size_t>(count));
        continue;
      }
      const std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      if (contains(line, wanted)) return line;
    }
  }
  void send(int number) { REQUIRE(::kill(pid_, number) == 0); }
  // Sends a request, and leaves the connection open.
  void ask(std::string_view listening, std::string_view path) {
    const std::size_t colon = listening.find("127.0.0.1:");
    REQUIRE(colon != std::string_view::npos);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(std::string(listening.substr(colon + 10)))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets_.push_back(fd);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    const std::string text = support::get(path);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  int exit_code() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int log_ = -1;
  std::string unread_;
  std::vector<int> sockets_;
};

void add_hanging_route(app& a) {
  a.get("/hang", [](request& r) -> task<http::response> {
    r.log().info("hanging");
    co_await belay::sleep_for(1h);
    co_return http::response{};
  });
}

void add_deaf_route(app& a) {
  a.get("/deaf", [](request& r) -> task<http::response> {
    r.log().info("hanging");
    co_await belay::shielded(1h, []() -> task<> { co_await belay::sleep_for(1h); }());
    co_return http::response{};
  });
}

managed<int> hangs_in_closing() {
  co_yield 0;
  co_await belay::sleep_for(1h);
}

}  // namespace

TEST_CASE(
    "signals: the first SIGTERM or SIGINT ends an idle app cleanly, and is the reason in the report [row 303]") {
  for (const int number : {SIGTERM, SIGINT}) {
    process p(support::options(), [](app&) {});
    p.wait_for("listening");
    p.send(number);
    const std::string report = p.wait_for("shutdown_report");
    CHECK(contains(report, number == SIGTERM ? "\"reason\":\"SIGTERM\"" : "\"reason\":\"SIGINT\""));
    CHECK(contains(report, "\"overran\":[]"));
    CHECK(p.exit_code() == service::exit_clean);
  }
}

TEST_CASE("signals: repeated SIGTERM does not force, nor does one SIGINT after it [row 306]") {
  auto options = support::options();
  options.grace = 150ms;
  options.force_after = 1ms;
  process p(options, add_hanging_route);
  p.ask(p.wait_for("listening"), "/hang");
  p.wait_for("hanging");
  for (const int number : {SIGTERM, SIGTERM, SIGINT, SIGTERM}) p.send(number);
  const std::string report = p.wait_for("shutdown_report");
  CHECK(contains(report, "\"forced\":false"));
  CHECK(contains(report, "\"overran\":[\"requests\"]"));
  CHECK(p.exit_code() == service::exit_unclean_shutdown);
}

TEST_CASE("signals: a signal while it starts unwinds what is open, and is no failure") {
  process p(support::options(), [](app& a) {
    a.manage("database", []() -> managed<int> { co_yield 0; }());
    a.step("slow", []() -> task<> {
      static_cast<void>(::raise(SIGTERM));
      co_await belay::sleep_for(1h);
    });
  });
  CHECK(contains(p.wait_for("shutdown_report"), "\"name\":\"database\""));
  CHECK(p.exit_code() == service::exit_clean);
}

TEST_CASE(
    "signals: a second SIGINT cancels requests that hang, whatever the grace: 130, and they are in the report") {
  auto options = support::options();
  options.grace = 1h;
  options.force_after = 1h;
  process p(options, add_hanging_route);
  p.ask(p.wait_for("listening"), "/hang");
  p.wait_for("hanging");
  p.send(SIGINT);
  p.wait_for("shutting_down");
  p.send(SIGINT);
  const std::string report = p.wait_for("shutdown_report");
  CHECK(contains(report, "\"forced\":true"));
  CHECK(contains(report, "\"overran\":[\"requests\"]"));
  CHECK(p.exit_code() == service::exit_forced);
}

TEST_CASE(
    "signals: after a second SIGINT a step that hangs in closing is left after force_after, and is in the report") {
  auto options = support::options();
  options.force_after = 50ms;
  options.loop.cleanup_limit = 1h;
  process p(options, [](app& a) {
    a.manage("database", []() -> managed<int> { co_yield 0; }());
    a.manage("stuck", hangs_in_closing());
  });
  p.wait_for("listening");
  p.send(SIGINT);
  p.wait_for("shutting_down");
  p.send(SIGINT);
  const std::string report = p.wait_for("shutdown_report");
  CHECK(contains(report, "\"overran\":[\"stuck\",\"database\"]"));
  CHECK(contains(report, "\"forced\":true"));
  CHECK(p.exit_code() == service::exit_forced);
}

TEST_CASE("signals: a second SIGINT while the start hangs in a thread ends the process") {
  auto options = support::options();
  options.force_after = 50ms;
  process p(options, [](app& a) {
    a.step("deaf", []() -> task<> {
      co_await belay::to_thread([] {  // from within: it has begun, so it cannot be called off any more
        ::kill(::getpid(), SIGINT);
        ::sleep(3600);
      });
    });
  });
  p.wait_for("shutting_down");
  p.send(SIGINT);
  p.wait_for("forced_exit");
  CHECK(p.exit_code() == service::exit_forced);
}

TEST_CASE("signals: a third SIGINT ends the process at once [row 305]") {
  auto options = support::options();
  options.grace = 1h;
  options.force_after = 1h;
  process p(options, add_deaf_route);
  p.ask(p.wait_for("listening"), "/deaf");
  p.wait_for("hanging");
  for (int i = 0; i != 3; ++i) p.send(SIGINT), std::this_thread::sleep_for(5ms);
  CHECK(p.exit_code() == service::exit_forced);
}

TEST_CASE("signals: a request that does not heed its cancellation cannot hold up the end for ever: 3") {
  auto options = support::options();
  options.grace = 20ms;
  options.loop.cleanup_limit = 20ms;
  process p(options, add_deaf_route);
  p.ask(p.wait_for("listening"), "/deaf");
  p.wait_for("hanging");
  p.send(SIGTERM);
  CHECK(contains(p.wait_for("forced_exit"), "waits for a timer"));  // the tasks that are left
  const std::string report = p.wait_for("shutdown_report");
  CHECK(contains(report, "\"overran\":[\"requests\"]"));
  CHECK(p.exit_code() == service::exit_unclean_shutdown);
}

TEST_CASE("signals: a failure that nobody looked at becomes a record") {
  process p(support::options(), [](app& a) {
    a.step("drops", []() -> task<> {
      belay::detail::report_lost(belay::failure::of(std::make_exception_ptr(std::runtime_error("dropped"))));
      static_cast<void>(::raise(SIGTERM));
      co_await belay::sleep_for(1h);
    });
  });
  CHECK(contains(p.wait_for("lost_failure"), "dropped"));
  CHECK(p.exit_code() == service::exit_clean);
}

TEST_CASE("signals: SIGUSR1 prints the live tasks to stderr, and the service goes on") {
  std::FILE* said = std::tmpfile();
  REQUIRE(said != nullptr);
  process p(support::options(), [said](app& a) {
    ::dup2(::fileno(said), STDERR_FILENO);
    add_hanging_route(a);
  });
  p.ask(p.wait_for("listening"), "/hang");
  p.wait_for("hanging");
  p.send(SIGUSR1);
  std::string text;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!contains(text, "waits for a timer") && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1ms);
    char some[4096];
    std::rewind(said);
    text.assign(some, std::fread(some, 1, sizeof some, said));
  }
  CHECK(contains(text, "belay: tasks\n"));
  CHECK(contains(text, "waits for a timer"));
  std::fclose(said);
  p.send(SIGINT);
  p.send(SIGTERM);
  p.wait_for("shutting_down");
}

TEST_CASE(
    "signals: what the runtime notices becomes a record: a handler that blocks the loop, while it does") {
  process p(support::options(), [](app& a) {
    a.get("/block", [](request& r) -> task<http::response> {
      co_await belay::yield();
      r.log().info("blocking");
      std::this_thread::sleep_for(400ms);
      co_return http::response{};
    });
  });
  p.ask(p.wait_for("listening"), "/block");
  const std::string told = p.wait_for("loop_blocked");
  CHECK(contains(told, "\"level\":\"warn\""));
  CHECK(contains(told, "the loop is blocked, for "));
  CHECK(contains(told, "signals_test.cpp:"));
  CHECK(contains(p.wait_for("loop_blocked"), "\"over\":true"));
  p.send(SIGTERM);
  p.wait_for("shutdown_report");
  CHECK(p.exit_code() == service::exit_clean);
}
