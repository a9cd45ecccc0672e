// SPDX-License-Identifier: Apache-2.0
// Unix sockets and their files, shared ports, and sockets that were inherited.

#include <belay/core/all.hpp>
#include <belay/io/inherited.hpp>
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "networks.hpp"
#include "tls_support.hpp"

namespace b = belay;
namespace io = belay::io;
using namespace std::chrono_literals;
using test::contains;
using test::error_of;

namespace {

std::string address_in(const test::temporary_directory& directory, const char* name = "s") {
  return "unix:" + (directory.path / name).string();
}

b::task<> meet(io::tcp_listener& at) {
  auto [server, client] = co_await b::all(at.accept(), io::connect(at.local()));
  auto answer = [](io::tcp_stream& to) -> b::task<> {
    co_await to.write(std::string(500'000, 'x'));
    to.end_writing();
  };
  auto [none, got] = co_await b::all(answer(server), test::read_all(client));
  CHECK(got.size() == 500'000);
  CHECK(client.peer().is_unix());
  CHECK(server.peer() == at.local());
}

bool exists(const io::endpoint& at) {
  struct stat there{};
  return ::lstat(at.unix_path().c_str(), &there) == 0;
}

// As a program that was killed leaves it.
void leave_stale(const io::endpoint& at) {
  b::loop loop;
  loop.run([](io::endpoint where) -> b::task<> {
    const std::string path = where.unix_path();
    auto listener = io::tcp_listener::bind(where);
    std::filesystem::rename(path, path + ".kept");
    listener.close();
    std::filesystem::rename(path + ".kept", path);
    co_return;
  }(at));
}

// As another program that makes a socket in this directory.
class directory_lock {
 public:
  explicit directory_lock(const std::filesystem::path& of)
      : open_(::open(of.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    REQUIRE(::flock(open_, LOCK_EX) == 0);
  }
  directory_lock(const directory_lock&) = delete;
  directory_lock& operator=(const directory_lock&) = delete;
  ~directory_lock() { release(); }
  void release() noexcept {
    if (open_ >= 0) ::close(std::exchange(open_, -1));
  }

 private:
  int open_;
};

// A listening socket on a free port.
int listening_socket() {
  const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(made >= 0);
  REQUIRE(::listen(made, 5) == 0);
  return made;
}

}  // namespace

TCP_TEST("unix socket: two ends talk, and the address is in the words of errors") {
  Network net;
  net.run([]() -> b::task<> {
    const test::temporary_directory here;
    auto listener = io::tcp_listener::bind({address_in(here), 0});
    co_await meet(listener);
    const auto how = co_await b::as_outcome(io::connect({address_in(here, "none"), 0}));
    CHECK(contains(error_of(how).what(), "connect to unix:/"));
    const auto twice = co_await b::as_outcome([](io::endpoint at) -> b::task<> {
      auto second = io::tcp_listener::bind(at);
      co_return;
    }(listener.local()));
    CHECK(error_of(twice).reason() == std::errc::address_in_use);
  }());
  CHECK(net.nothing_left());
}

TEST_CASE(
    "unix socket: who makes another socket in the same directory is waited for, and one that stays is named") {
  const test::temporary_directory here;
  test::loopback net;
  net.run([](const test::temporary_directory& in) -> b::task<> {
    directory_lock other(in.path);
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind({address_in(in), 0}),
                         doctest::Contains("lock the directory of unix:/"), io::network_error);
    std::thread soon([&other] {
      std::this_thread::sleep_for(3ms);  // the other's bind and listen
      other.release();
    });
    const auto how = co_await b::as_outcome([](io::endpoint at) -> b::task<> {
      auto listener = io::tcp_listener::bind(at);
      co_await meet(listener);
    }({address_in(in), 0}));
    soon.join();
    CHECK_MESSAGE(how.succeeded(), how.failure().message());
  }(here));
}

TEST_CASE(
    "unix socket: a stale file is replaced, one in use or of another kind is not, and closing removes it") {
  const test::temporary_directory here;
  const io::endpoint at = io::endpoint::parse(address_in(here));
  leave_stale(at);
  REQUIRE(exists(at));
  test::loopback net;
  net.run([](io::endpoint where, const test::temporary_directory& in) -> b::task<> {
    {
      auto listener = io::tcp_listener::bind(where, {.permissions = 0600});
      struct stat made{};
      CHECK(::lstat(where.unix_path().c_str(), &made) == 0);
      CHECK((made.st_mode & 0777) == 0600);
      co_await meet(listener);
      listener.close();
      CHECK_FALSE(exists(where));
      const auto gone = co_await b::as_outcome(io::connect(where));
      CHECK(error_of(gone).reason() == std::errc::no_such_file_or_directory);
    }
    const std::string file = (in.path / "file").string();
    std::ofstream(file) << "precious";
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind({"unix:" + file, 0}), doctest::Contains("File exists"),
                         io::network_error);
    CHECK(exists({"unix:" + file, 0}));
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind({"unix:" + file + "/s", 0}),
                         doctest::Contains("Not a directory"), io::network_error);
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind({"unix:/" + std::string(200, 'x'), 0}),
                         doctest::Contains("too long"), io::network_error);
    // Somebody else has taken the place: theirs stays.
    auto first = io::tcp_listener::bind(where);
    std::filesystem::remove(where.unix_path());
    auto second = io::tcp_listener::bind(where);
    first.close();
    CHECK(exists(where));
  }(at, here));
  CHECK_FALSE(exists(at));
}

TEST_CASE("unix socket: who comes to a full backlog waits until there is room") {
  const test::temporary_directory here;
  test::loopback net;
  net.run([](io::endpoint at) -> b::task<> {
    auto listener = io::tcp_listener::bind(at, {.backlog = 0});
    io::tcp_stream first = co_await io::connect(at);
    CHECK_FALSE((co_await b::move_on_after(30ms, io::connect(at))).has_value());
    auto [second, accepted] = co_await b::all(io::connect(at), listener.accept());
    CHECK(second.is_open());
  }({address_in(here), 0}));
  CHECK(net.nothing_left());
}

TEST_CASE("unix socket: addresses as text") {
  CHECK(io::endpoint::parse("unix:/run/x.sock") == io::endpoint{"unix:/run/x.sock", 0});
  CHECK(io::endpoint::parse("unix:/run/x.sock").to_string() == "unix:/run/x.sock");
  CHECK(io::endpoint::parse("unix:/run/x.sock").unix_path() == "/run/x.sock");
  CHECK_FALSE(io::endpoint::parse("[::1]:80").is_unix());
  CHECK_THROWS_WITH(static_cast<void>(io::endpoint::parse("unix:")),
                    doctest::Contains("path of the socket is missing"));
  CHECK_THROWS_WITH(static_cast<void>(io::endpoint::parse("unix:" + std::string(108, 'x'))),
                    doctest::Contains("at most 107 bytes"));
}

TCP_TEST("listen_options: sockets that all say so share a port, others do not") {
  Network net;
  net.run([]() -> b::task<> {
    auto first = io::tcp_listener::bind({}, {.reuse_port = true});
    auto second = io::tcp_listener::bind(first.local(), {.reuse_port = true});
    CHECK(second.local() == first.local());
    CHECK_THROWS_WITH_AS(io::tcp_listener::bind(first.local()), doctest::Contains("in use"),
                         io::network_error);
    io::tcp_stream client = co_await io::connect(first.local());
    first.close();
    second.close();
  }());
}

TEST_CASE("inherited: a listening socket is taken over; what is none is refused by its number") {
  test::loopback net;
  net.run([]() -> b::task<> {
    const int inherited = listening_socket();
    auto listener = io::adopt_listener(inherited);
    CHECK_THROWS_WITH_AS(static_cast<void>(io::adopt_listener(inherited)),
                         doctest::Contains("adopted already"), b::error);
    CHECK(listener.local().address == "0.0.0.0");
    const io::endpoint at{"127.0.0.1", listener.local().port};
    auto [server, client] = co_await b::all(listener.accept(), io::connect(at));
    co_await client.write("x");
    CHECK(co_await test::read_exactly(server, 1) == "x");

    const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_THROWS_WITH_AS(static_cast<void>(io::adopt_listener(silent)), doctest::Contains("does not listen"),
                         b::error);
    ::close(silent);
    const int datagrams = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_THROWS_WITH_AS(static_cast<void>(io::adopt_listener(datagrams)),
                         doctest::Contains("no stream socket"), b::error);
    ::close(datagrams);
    CHECK_THROWS_WITH_AS(static_cast<void>(io::adopt_listener(datagrams)), doctest::Contains("not open"),
                         b::error);
  }());
}

TEST_CASE("inherited: the sockets of LISTEN_FDS, if they are meant for this process, once") {
  const int open = listening_socket();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Exit codes say which step went wrong.
    if (open != 3 && ::dup2(open, 3) != 3) ::_exit(10);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_FDNAMES", "web", 1);
    ::setenv("LISTEN_PID", std::to_string(::getppid()).c_str(), 1);
    int code = 11;
    try {
      b::loop loop;
      loop.run([](int& out) -> b::task<> {
        if (!io::inherited_listeners().empty()) co_return;
        out = 12;
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        std::vector<io::inherited_listener> taken = io::inherited_listeners();
        out = 13;
        if (taken.size() != 1 || taken[0].name != "web" || (::fcntl(3, F_GETFD) & FD_CLOEXEC) == 0) co_return;
        out = 14;
        auto [server, client] = co_await b::all(taken[0].listener.accept(),
                                                io::connect({"127.0.0.1", taken[0].listener.local().port}));
        try {
          static_cast<void>(io::inherited_listeners());
        } catch (const b::misuse_error&) {
          out = 0;
        }
      }(code));
    } catch (const std::exception&) {
      code += 20;
    }
    ::_exit(code);
  }
  ::close(open);
  int how = 0;
  REQUIRE(::waitpid(child, &how, 0) == child);
  CHECK(WIFEXITED(how));
  CHECK(WEXITSTATUS(how) == 0);
}
