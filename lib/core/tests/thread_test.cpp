// SPDX-License-Identifier: Apache-2.0
// Blocking work on threads: results and errors come back, nobody is abandoned.

#include <belay/core/all.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <latch>
#include <memory>
#include <semaphore>
#include <thread>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<int> on_thread(std::function<int()> fn) { co_return co_await b::to_thread(std::move(fn)); }

// Blocks until it is asked to stop.
b::task<int> until_stopped(std::latch& begun, std::function<int()> answer) {
  co_return co_await b::to_thread(
      [](std::stop_token stop, std::latch* at_start, std::function<int()> end) {
        std::binary_semaphore asked(0);
        const std::stop_callback wakes(stop, [&asked] { asked.release(); });
        at_start->count_down();
        asked.acquire();
        return end();
      },
      &begun, std::move(answer));
}

}  // namespace

TEST_CASE(
    "to_thread: runs on another thread, and its result comes back: void, values, references, move-only") {
  b::testing::test_loop loop;
  static int here = 0;
  loop.run([]() -> b::task<> {
    const auto loop_thread = std::this_thread::get_id();
    CHECK(co_await b::to_thread([] { return std::this_thread::get_id(); }) != loop_thread);
    CHECK(std::this_thread::get_id() == loop_thread);
    bool ran = false;
    co_await b::to_thread([](bool& flag) { flag = true; }, std::ref(ran));
    CHECK(ran);
    CHECK(&co_await b::to_thread([]() -> int& { return here; }) == &here);
    const std::unique_ptr<int> box = co_await b::to_thread([] { return std::make_unique<int>(3); });
    CHECK(*box == 3);
    CHECK(co_await b::to_thread([](int x, const std::string& y) { return std::to_string(x) + y; }, 4,
                                std::string("x")) == "4x");
    CHECK(co_await b::to_thread([](const std::unique_ptr<int>& in) { return *in; },
                                std::make_unique<int>(6)) == 6);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: a move-only argument can be taken by value") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(co_await b::to_thread([](std::unique_ptr<int> in) { return *in; }, std::make_unique<int>(6)) == 6);
  }());
}

TEST_CASE("to_thread: what the function throws comes out of the await, the same object [row 207]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK_THROWS_WITH_AS(co_await on_thread([]() -> int { throw boom("on the thread"); }), "on the thread",
                         boom);
    CHECK_THROWS_AS(co_await on_thread([]() -> int { throw 42; }), int);
  }());
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: its scope is cancelled already, the function does not run [row 211]") {
  b::testing::test_loop loop;
  std::atomic<bool> ran = false;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    co_await b::to_thread([&ran] { ran = true; });
  }));
  CHECK(!ran);
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: cancelled while it waits for a free thread, the function does not run") {
  b::testing::test_loop loop({.blocking_threads = 1});
  std::atomic<bool> ran = false;
  std::latch begun(1);
  std::latch go(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> first = g.spawn(on_thread, std::function<int()>([&] {
                                    begun.count_down();
                                    go.wait();
                                    return 1;
                                  }));
    b::child<int> second = g.spawn(on_thread, std::function<int()>([&] {
                                     ran = true;
                                     return 2;
                                   }));
    b::child<int> third = g.spawn(on_thread, std::function<int()>([] { return 3; }));
    co_await b::yield();
    begun.wait();
    CHECK(b::loop::current()->statistics().blocking_jobs == 3);
    second.cancel();
    co_await b::yield();
    CHECK(second.done());
    CHECK(b::loop::current()->statistics().blocking_jobs == 2);
    go.count_down();
    CHECK(co_await first == 1);
    CHECK(co_await third == 3);
  }));
  CHECK(!ran);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "to_thread: cancelled while it runs, is asked by the stop token and waited for; a result that comes is delivered [row 212] [row 213]") {
  b::testing::test_loop loop;
  std::latch begun(1);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> work = g.spawn(
        [](std::latch& l, trail& to) -> b::task<int> {
          const int got = co_await until_stopped(l, [] { return 8; });
          to.push_back("delivered");
          co_await b::yield();
          to.push_back("past the next await");
          co_return got;
        },
        std::ref(begun), std::ref(out));
    co_await b::yield();
    begun.wait();
    work.cancel();
    try {
      static_cast<void>(co_await work);
    } catch (const b::child_cancelled&) {
      out.push_back("cancelled");
    }
  }));
  CHECK(out == trail{"delivered", "cancelled"});
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "to_thread: the function answers the stop token with belay::stopped, the task is cancelled without an error [row 212]") {
  b::testing::test_loop loop;
  std::latch begun(1);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> work = g.spawn(
        [](std::latch& l, trail& to) -> b::task<> {
          const farewell local(to, "~local");
          co_await until_stopped(l, []() -> int { throw b::stopped(); });
          to.push_back("went on");
        },
        std::ref(begun), std::ref(out));
    co_await b::yield();
    begun.wait();
    work.cancel();
  }));
  CHECK(out == trail{"~local"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("to_thread: the function fails while it is being stopped, the error is kept") {
  b::testing::test_loop loop;
  std::latch begun(1);
  CHECK_THROWS_WITH_AS(loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(until_stopped, std::ref(begun),
            std::function<int()>([]() -> int { throw boom("while stopping"); }));
    co_await b::yield();
    begun.wait();
    g.cancel();
  })),
                       "while stopping", boom);
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: belay::stopped thrown by a function that nobody asked to stop, is a misuse_error") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK_THROWS_AS(co_await on_thread([]() -> int { throw b::stopped(); }), b::misuse_error);
    CHECK_THROWS_AS(co_await b::to_thread([] { throw b::stopped(); }), b::misuse_error);
  }());
}

TEST_CASE(
    "to_thread: the group ends only after the function has returned: never abandoned [row 213] [row 214]") {
  b::testing::test_loop loop;
  std::latch begun(1);
  std::latch go(1);
  std::atomic<bool> returned = false;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(on_thread, std::function<int()>([&] {
              begun.count_down();
              go.wait();
              returned = true;
              return 1;
            }));
    co_await b::yield();
    begun.wait();
    g.cancel();
    co_await b::shielded(1s, []() -> b::task<> { co_await b::yield(); }());
    CHECK(!returned);
    go.count_down();
  }));
  CHECK(returned);
}

TEST_CASE("to_thread: at most blocking_threads at the same time") {
  b::testing::test_loop loop({.blocking_threads = 3});
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  std::vector<b::task<int>> many;
  for (int i = 0; i < 50; ++i) {
    many.push_back(on_thread([&, i] {
      const int here = ++now;
      int before = most.load();
      while (before < here && !most.compare_exchange_weak(before, here)) {
      }
      std::this_thread::yield();
      --now;
      return i;
    }));
  }
  const std::vector<int> got = loop.run(b::all(std::move(many)));
  for (int i = 0; i < 50; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
  CHECK(most <= 3);
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: the loop goes on while a function blocks [row 208]") {
  b::testing::test_loop loop;
  std::latch go(1);
  int ticks = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> blocked = g.spawn(on_thread, std::function<int()>([&] {
                                      go.wait();
                                      return 1;
                                    }));
    for (; ticks < 100; ++ticks) co_await b::yield();
    CHECK(!blocked.done());
    go.count_down();
  }));
  CHECK(ticks == 100);
}

TEST_CASE("to_thread: many cancellations against many completions, every job ends once") {
  b::testing::test_loop loop({.blocking_threads = 4});
  std::atomic<int> live = 0;
  loop.run([](std::atomic<int>& count) -> b::task<> {
    for (int round = 0; round < 50; ++round) {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        for (int i = 0; i < 20; ++i) {
          g.spawn(on_thread, std::function<int()>([&] {
                    ++count;
                    std::this_thread::yield();
                    --count;
                    return 1;
                  }));
        }
        for (int i = 0; i < round; ++i) co_await b::yield();
        g.cancel();
      });
    }
  }(live));
  CHECK(live == 0);
  CHECK(loop.nothing_left());
}

TEST_CASE("to_thread: a pool thread may post into the loop and wait for the answer [row 218]") {
  b::testing::test_loop loop;
  loop.run([](b::loop& l) -> b::task<> {
    const int got = co_await b::to_thread([&l] {
      std::latch answered(1);
      int value = 0;
      l.post([&] {
        value = 5;
        answered.count_down();
      });
      answered.wait();
      return value;
    });
    CHECK(got == 5);
  }(loop.loop()));
}

TEST_CASE("to_thread: its threads leave signals to the loop, but for those that they raise themselves") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const sigset_t blocked = co_await b::to_thread([] {
      sigset_t now{};
      ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
      return now;
    });
    for (const int ours : {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGCHLD, SIGPIPE})
      CHECK(::sigismember(&blocked, ours) == 1);
    for (const int its : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF})
      CHECK(::sigismember(&blocked, its) == 0);
  }());
}
