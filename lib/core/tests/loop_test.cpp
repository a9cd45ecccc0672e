// SPDX-License-Identifier: Apache-2.0
// The loop: runs one main task to its end, takes posts from other threads, finds deadlocks.

#include <belay/core/all.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>

#include "support.hpp"

using namespace core_tests;

TEST_CASE("loop: called from inside a running loop, is a misuse_error and the task is destroyed [row 26]") {
  b::testing::test_loop loop;
  int live = 0;
  loop.run([](b::testing::test_loop& l, int& count) -> b::task<> {
    auto never = [](counted) -> b::task<> { co_return; };
    CHECK_THROWS_AS(l.run(never(counted(count))), b::misuse_error);
    b::loop other;
    CHECK_THROWS_AS(other.run(never(counted(count))), b::misuse_error);
    CHECK(count == 0);
    co_return;
  }(loop, live));
}

TEST_CASE("loop: can run one main task after the other, after errors too [row 29]") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(fails("one"))), "one", boom);
  CHECK(loop.run(gives_after(1s, 2)) == 2);
  CHECK(loop.run(gives(3)) == 3);
  CHECK(b::loop::current() == nullptr);
}

TEST_CASE("loop: options out of range are refused") {
  CHECK_THROWS_AS(b::loop({.cleanup_limit = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::loop({.blocking_threads = 0}), b::misuse_error);
}

TEST_CASE("loop: knows itself and what is alive") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    CHECK(b::loop::current() == &l.loop());
    CHECK(l.live_tasks() == 1);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(naps, 1s);
      co_await b::yield();
      CHECK(l.live_tasks() == 2);
      CHECK(l.loop().statistics().timers == 1);
      CHECK(!l.nothing_left());
    });
  }(loop));
  CHECK(loop.live_tasks() == 0);
  CHECK(loop.nothing_left());
}

TEST_CASE("loop: the order of turns is first come, first served, and everybody gets one [row 25]") {
  b::testing::test_loop loop;
  std::string order;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char name : {'a', 'b', 'c'}) {
      g.spawn(
          [](std::string& to, char who) -> b::task<> {
            for (int i = 0; i < 3; ++i) {
              to.push_back(who);
              co_await b::yield();
            }
          },
          std::ref(order), name);
    }
    co_return;
  }));
  CHECK(order == "abcabcabc");
}

TEST_CASE(
    "deadlock: when nothing can wake the main task, it is cancelled, its cleanup runs, deadlock_error is thrown") {
  b::testing::test_loop loop;
  trail out;
  auto stuck = [](trail& to) -> b::task<> {
    co_await b::use(resource(to, "r", 0s, 1s));
    b::event never;
    co_await never.wait();
  };
  CHECK_THROWS_AS(loop.run(stuck(out)), b::deadlock_error);
  CHECK(out == trail{"open r", "close r: cancelled", "closed r"});
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
  CHECK(loop.run(gives_after(1s, 1)) == 1);
}

TEST_CASE("deadlock: of tasks that wait for each other, all are ended") {
  b::testing::test_loop loop;
  auto stuck = []() -> b::task<> {
    co_await b::with_group([](b::group& g) -> b::task<> {
      auto first = std::make_shared<b::child<void>>();
      auto second = std::make_shared<b::child<void>>();
      auto waits = [](std::shared_ptr<b::child<void>> on) -> b::task<> { co_await *on; };
      *first = g.spawn(waits, second);
      *second = g.spawn(waits, first);
      co_await b::sleep_for(1s);
    });
  };
  // Cancelled, each of the two would find the other cancelled first; either end is fine, a hang is not.
  CHECK_THROWS_AS(loop.run(stuck()), b::error);
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("deadlock: a semaphore whose permit is never given back") {
  b::testing::test_loop loop;
  auto stuck = []() -> b::task<> {
    b::semaphore one(1);
    const b::permit mine = co_await one.acquire();
    const b::permit second = co_await one.acquire();
  };
  CHECK_THROWS_AS(loop.run(stuck()), b::deadlock_error);
  CHECK(loop.nothing_left());
}

TEST_CASE("post: from other threads, each in its order, all are run [row 23] [row 25]") {
  b::testing::test_loop loop;
  constexpr int threads = 4;
  constexpr int each = 2000;
  std::vector<int> seen[threads];
  loop.run([](b::loop& l, std::vector<int>* to) -> b::task<> {
    b::event done;
    int finished = 0;
    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t) {
      posters.emplace_back([&l, &done, &finished, to, t] {
        for (int i = 0; i < each; ++i) l.post([to, t, i] { to[t].push_back(i); });
        l.post([&] {
          if (++finished == threads) done.set();
        });
      });
    }
    // The thread pool's job keeps the virtual clock from calling this a deadlock.
    co_await b::to_thread([&posters] {
      for (std::thread& one : posters) one.join();
    });
    co_await done.wait();
  }(loop.loop(), seen));
  for (const std::vector<int>& numbers : seen) {
    REQUIRE(numbers.size() == each);
    for (int i = 0; i < each; ++i) REQUIRE(numbers[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("post: wakes a loop that sleeps on the real clock") {
  b::loop loop;
  std::thread poster;
  loop.run([](b::loop& l, std::thread& to) -> b::task<> {
    b::event posted;
    to = std::thread([&] { l.post([&] { posted.set(); }); });
    co_await posted.wait();
  }(loop, poster));
  poster.join();
}

TEST_CASE(
    "post: to a loop that is not running, is a loop_closed_error; nothing accepted is dropped [row 24] [row 219]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.loop().post([] {}), b::loop_closed_error);
  int ran = 0;
  loop.run([](b::loop& l, int& count) -> b::task<> {
    l.post([&count] { ++count; });
    co_return;
  }(loop.loop(), ran));
  CHECK(ran == 1);
  CHECK_THROWS_AS(loop.loop().post([] {}), b::loop_closed_error);
}

TEST_CASE("post: racing with the end of the loop, is refused or run, never dropped [row 24]") {
  for (int round = 0; round < 200; ++round) {
    auto loop = std::make_unique<b::testing::test_loop>();
    std::atomic<int> accepted = 0;
    std::atomic<int> ran = 0;
    std::latch begun(1);
    std::thread poster([&] {
      begun.wait();
      for (;;) {
        try {
          loop->loop().post([&ran] { ++ran; });
          ++accepted;
        } catch (const b::loop_closed_error&) {
          return;
        }
      }
    });
    loop->run([](std::latch& l) -> b::task<> {
      l.count_down();
      for (int i = 0; i < 20; ++i) co_await b::yield();
    }(begun));
    poster.join();
    CHECK(accepted == ran);
  }
}

TEST_CASE(
    "post: a function that posts itself for ever, or a thread that never tires, does not keep a run from its end") {
  b::testing::test_loop loop;
  struct again {
    b::loop& in;
    long ran = 0;
    bool refused = false;
    void go() {
      ++ran;
      try {
        in.post([this] { go(); });
      } catch (const b::loop_closed_error&) {
        refused = true;
      }
    }
  } one{loop.loop()};
  std::atomic<bool> up = false;
  std::atomic<long> accepted = 0;
  std::atomic<long> ran = 0;
  std::thread tireless([&] {
    while (!up) std::this_thread::yield();
    try {
      for (;;) {
        if (accepted - ran > 64) {  // not so far ahead that the memory fills
          std::this_thread::yield();
          continue;
        }
        loop.loop().post([&ran] {
          ++ran;
          for (int i = 0; i < 10; ++i) std::this_thread::yield();
        });
        ++accepted;
      }
    } catch (const b::loop_closed_error&) {
      return;  // the run has come to its end
    }
  });
  loop.run([](again& it, std::atomic<bool>& begun) -> b::task<> {
    it.go();
    begun = true;
    for (int i = 0; i < 100; ++i) co_await b::yield();
  }(one, up));
  tireless.join();
  CHECK(one.refused);
  CHECK(one.ran > 2);
  CHECK(ran == accepted);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("post: what the function throws goes to the sink, and the loop goes on [row 13]") {
  b::testing::test_loop loop;
  CHECK(loop.run([](b::loop& l) -> b::task<int> {
    l.post([] { throw boom("posted"); });
    l.post([] { throw 42; });
    co_await b::yield();
    co_return 1;
  }(loop.loop())) == 1);
  CHECK(loop.lost_errors().size() == 2);
}

TEST_CASE("post: a function may spawn, cancel and post again") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::loop& l = *b::loop::current();
    b::event done;
    l.post([&] {
      out.push_back("posted");
      g.spawn(
          [](trail& to, b::event& e) -> b::task<> {
            to.push_back("spawned");
            e.set();
            co_return;
          },
          std::ref(out), std::ref(done));
      l.post([&] { out.push_back("posted again"); });
    });
    co_await done.wait();
  }));
  CHECK(out.size() == 3);
}

TEST_CASE("loop: on another thread, it works the same [row 308]") {
  int got = 0;
  std::thread([&got] {
    b::testing::test_loop loop;
    got = loop.run(gives_after(1s, 6));
  }).join();
  CHECK(got == 6);
}

TEST_CASE("loop: several at the same time on several threads, share nothing") {
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&sum] {
      b::testing::test_loop loop;
      for (int i = 0; i < 50; ++i) {
        sum += loop.run(b::with_group([](b::group& g) -> b::task<int> {
          b::child<int> one = g.spawn(gives_after, 1s, 1);
          b::outcome<int> bad = co_await b::as_outcome(fails("x"));
          CHECK(bad.failure());
          co_return co_await one;
        }));
      }
    });
  }
  for (std::thread& one : threads) one.join();
  CHECK(sum == 200);
}

TEST_CASE(
    "signal_watch: a signal that cannot be watched leaves all handlers as they were, and another watch can be made") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    struct sigaction before{};
    ::sigaction(SIGUSR1, nullptr, &before);
    CHECK_THROWS((b::signal_watch{SIGUSR1, SIGKILL}));
    CHECK_THROWS((b::signal_watch{SIGUSR1, 1000}));
    CHECK_THROWS((b::signal_watch{SIGUSR1, -1}));
    struct sigaction after{};
    ::sigaction(SIGUSR1, nullptr, &after);
    CHECK((before.sa_handler == after.sa_handler));
    b::signal_watch works{SIGUSR1};
    CHECK_THROWS_AS((b::signal_watch{SIGUSR2}), b::misuse_error);
    co_return;
  }());
  CHECK_THROWS_AS((b::signal_watch{SIGUSR1}), b::misuse_error);
}

TEST_CASE("signal_watch: several waiters and several signals, each signal is given once, in any turn") {
  b::loop loop;
  std::atomic<int> seen = 0;
  loop.run([](std::atomic<int>& count) -> b::task<> {
    b::signal_watch watch{SIGUSR1};
    auto waits = [](b::signal_watch& on, std::atomic<int>& to) -> b::task<> {
      CHECK(co_await on.next() == SIGUSR1);
      ++to;
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(waits, std::ref(watch), std::ref(count));
      g.spawn(waits, std::ref(watch), std::ref(count));
      co_await b::yield();
      co_await b::yield();
      ::raise(SIGUSR1);
      ::raise(SIGUSR1);
      ::raise(SIGUSR1);
      co_return;
    });
    CHECK(count == 2);
    CHECK(co_await watch.next() == SIGUSR1);  // the third was kept
  }(seen));
}

TEST_CASE("loop: run from two threads at the same time, one of them is refused") {
  for (int round = 0; round < 50; ++round) {
    b::loop loop;
    std::latch both(2);
    std::atomic<int> ran = 0;
    std::atomic<int> refused = 0;
    const auto runs = [&] {
      both.arrive_and_wait();
      try {
        loop.run([](std::atomic<int>& count, std::atomic<int>& others) -> b::task<> {
          ++count;
          for (int i = 0; i < 1000 && others == 0; ++i) co_await b::yield();
        }(ran, refused));
      } catch (const b::misuse_error&) {
        ++refused;
      }
    };
    std::thread other(runs);
    runs();
    other.join();
    CHECK(ran + refused == 2);
    CHECK(ran >= 1);
  }
}

TEST_CASE(
    "signal_watch: a waiting task says so; signals that nobody takes need no more memory, and come in turn") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    b::signal_watch watch{SIGUSR1, SIGUSR2};
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([](b::signal_watch& on) -> b::task<> { CHECK(co_await on.next() == SIGUSR2); },
              std::ref(watch));
      co_await b::yield();
      CHECK(b::describe(b::live_tasks()).find("waits for a signal since") != std::string::npos);
      ::raise(SIGUSR2);
    });
    for (int i = 0; i < 3; ++i) {
      ::raise(SIGUSR1);
      ::raise(SIGUSR2);
      co_await b::sleep_for(1ms);
    }
    for (int i = 0; i < 3; ++i) {
      CHECK(co_await watch.next() == SIGUSR1);
      CHECK(co_await watch.next() == SIGUSR2);
    }
  }());
}
