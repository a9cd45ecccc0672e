// SPDX-License-Identifier: Apache-2.0
// The Asio bridge: results, errors, cancellation, both directions.

#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <doctest/doctest.h>

namespace b = belay;
namespace io = belay::io;
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

// An operation with any completion signature, completed at once through the executor.
template <class Signature, class Token, class... V>
auto complete_with(Token&& token, V... values) {
  return asio::async_initiate<Token, Signature>(
      [](auto handler, V... given) {
        auto executor = asio::get_associated_executor(handler);
        asio::post(executor, [handler = std::move(handler), ... given = std::move(given)]() mutable {
          std::move(handler)(std::move(given)...);
        });
      },
      token, std::move(values)...);
}

}  // namespace

TEST_CASE("use_task: every shape of completion becomes a result") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    co_await complete_with<void()>(io::use_task);
    CHECK(co_await complete_with<void(int)>(io::use_task, 7) == 7);
    CHECK(co_await complete_with<void(boost::system::error_code, int)>(io::use_task,
                                                                       boost::system::error_code(), 8) == 8);
    auto [x, y] = co_await complete_with<void(int, std::string)>(io::use_task, 1, std::string("two"));
    CHECK(x == 1);
    CHECK(y == "two");
    auto [ec, z] = co_await complete_with<void(boost::system::error_code, int)>(
        io::use_result, boost::system::error_code(asio::error::eof), 3);
    CHECK(ec == asio::error::eof);
    CHECK(z == 3);
  }());
}

TEST_CASE("use_task: an error code is thrown as system_error, an exception_ptr rethrown") {
  b::loop loop;
  CHECK_THROWS_AS(loop.run([]() -> b::task<> {
    co_await complete_with<void(boost::system::error_code)>(io::use_task,
                                                            boost::system::error_code(asio::error::eof));
  }()),
                  boost::system::system_error);
  CHECK_THROWS_AS(loop.run([]() -> b::task<> {
    co_await complete_with<void(std::exception_ptr)>(io::use_task,
                                                     std::make_exception_ptr(std::logic_error("x")));
  }()),
                  std::logic_error);
}

TEST_CASE("use_task: a cancelled Asio operation is aborted, and the task unwound [row 31]") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    asio::steady_timer timer(io::context(), 1h);
    const auto before = b::now();
    auto slow = [](asio::steady_timer& on) -> b::task<> { co_await on.async_wait(io::use_task); };
    CHECK_FALSE((co_await b::move_on_after(5ms, slow(timer))).has_value());
    CHECK(b::now() - before < 10s);
  }());
}

TEST_CASE("use_task: an operation aborted by somebody else is an error, not a cancellation") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    asio::steady_timer timer(io::context(), 1h);
    asio::steady_timer stopper(io::context(), 2ms);
    stopper.async_wait([&](boost::system::error_code) { timer.cancel(); });
    auto [ec] = co_await timer.async_wait(io::use_result);
    CHECK(ec == asio::error::operation_aborted);
  }());
}

TEST_CASE("use_task: already cancelled, the operation does not start [row 38]") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    bool started = false;
    auto body = [](bool& flag) -> b::task<> {
      co_await b::sleep_for(1h);
      flag = true;
    };
    static_cast<void>(co_await b::move_on_after(1ms, body(started)));
    CHECK_FALSE(started);
  }());
}

TEST_CASE("use_task: I/O goes on after a moment in which no operation was under way") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    for (int round = 0; round < 3; ++round) {
      asio::steady_timer timer(io::context(), 1ms);
      co_await timer.async_wait(io::use_task);
      // The loop is woken by a thread while nothing else is under way.
      CHECK(co_await b::to_thread([] { return 7; }) == 7);
      co_await b::sleep_for(1ms);
    }
  }());
}
