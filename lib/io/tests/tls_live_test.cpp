// SPDX-License-Identifier: Apache-2.0
// TLS with another program: OpenSSL's own server and client, on loopback.

#include <belay/core/all.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <doctest/doctest.h>

#include <cstdio>

#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
namespace tls = belay::io::tls;
using namespace std::chrono_literals;

namespace {

// A program and its output, by a pipe. It is bounded in time by itself.
class program {
 public:
  explicit program(const std::string& command) : output_(::popen(("timeout 30 " + command).c_str(), "re")) {}
  program(const program&) = delete;
  program& operator=(const program&) = delete;
  ~program() { ::pclose(output_); }

  std::string line() {
    char text[1000] = "";
    const char* got = std::fgets(text, sizeof text, output_);
    return got != nullptr ? got : "";
  }
  std::string rest() {
    std::string all;
    for (std::string one = line(); !one.empty(); one = line()) all += one;
    return all;
  }

 private:
  std::FILE* output_;
};

void run(b::task<> what) {
  b::loop loop;
  loop.run(b::with_timeout(40s, std::move(what)));
  CHECK(loop.statistics().live_tasks == 0);
}

}  // namespace

TEST_CASE("tls live: a client of ours and openssl s_server") {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    const test::certificates& all = test::certificates::get();
    program server("openssl s_server -accept 127.0.0.1:0 -naccept 1 -rev " + std::string(version) +
                   " -cert " + all.localhost.file() + " -key " + all.localhost.key_file() + " 2>&1");
    std::string port;
    while (port.empty()) {
      const std::string line = server.line();
      REQUIRE_FALSE(line.empty());
      if (line.starts_with("ACCEPT ")) port = line.substr(line.rfind(':') + 1);
    }
    run([](std::uint16_t to) -> b::task<> {
      io::tcp_stream with =
          co_await tls::connect(co_await io::connect({"127.0.0.1", to}), test::good_client(), "localhost");
      co_await with.write("hello\n");
      CHECK(co_await test::read_exactly(with, 6) == "olleh\n");
      with.close();
    }(static_cast<std::uint16_t>(std::stoi(port))));
    static_cast<void>(server.rest());
  }
}

TEST_CASE("tls live: openssl s_client and a server of ours") {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    run([](std::string speaks) -> b::task<> {
      io::tcp_listener listener = tls::listen(io::tcp_listener::bind({}), test::good_server());
      auto visit = [](std::uint16_t port, std::string how) -> b::task<> {
        const std::string said = co_await b::to_thread([port, how] {
          program client(
              "sh -c 'echo hello | openssl s_client -quiet -verify_return_error -verify_hostname localhost "
              "-servername localhost -alpn http/1.1 " +
              how + " -CAfile " + test::certificates::get().authority.file() +
              " -connect 127.0.0.1:" + std::to_string(port) + "' 2>/dev/null");
          return client.rest();
        });
        CHECK(said == "and good bye\n");
      };
      auto serve = [](io::tcp_listener& on) -> b::task<> {
        io::tcp_stream with = co_await on.accept();
        CHECK(co_await test::read_exactly(with, 6) == "hello\n");
        CHECK(tls::session_of(with)->application == "http/1.1");
        co_await with.write("and good bye\n");
        with.end_writing();
        std::array<char, 10> part{};
        CHECK(co_await with.read_some(part) == 0);
      };
      co_await b::all(visit(listener.local().port, std::move(speaks)), serve(listener));
    }(version));
  }
}
