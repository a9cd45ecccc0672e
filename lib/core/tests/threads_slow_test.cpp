// SPDX-License-Identifier: Apache-2.0
// What crosses threads, many times over, with whatever timing the machine gives: for the thread sanitizer above all.

#include <belay/core/all.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/thread.hpp>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <latch>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "driven.hpp"

using namespace core_tests;

namespace {

// A moment of varying length, without a clock.
void dawdle(unsigned turns) noexcept {
  for (unsigned i = 0; i < turns; ++i) std::this_thread::yield();
}

struct alive {
  std::atomic<int>& count;
  explicit alive(std::atomic<int>& c) : count(c) { ++count; }
  alive(const alive&) = delete;
  alive& operator=(const alive&) = delete;
  ~alive() { --count; }
};

b::task<int> visits(std::atomic<int>& live, int turns) {
  const alive here(live);
  for (int i = 0; i < turns; ++i) co_await b::yield();
  if (turns % 5 == 4) throw boom("every fifth");
  co_return turns;
}

}  // namespace

TEST_CASE(
    "stress: many threads post and spawn while the loop ends: run or refused, never dropped [row 24] [row 219]") {
  constexpr int rounds = 600;
  constexpr int threads = 4;
  constexpr int ahead = 256;  // `post` has no bound: a thread that outruns the loop would fill the memory
  for (int round = 0; round < rounds; ++round) {
    auto loop = std::make_unique<b::loop>();
    std::atomic<int> accepted = 0;
    std::atomic<int> ran = 0;
    std::atomic<int> live = 0;
    std::atomic<int> answered = 0;
    std::atomic<int> started = 0;
    std::latch begun(1);
    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t) {
      posters.emplace_back([&, t] {
        begun.wait();
        try {
          for (;;) {
            if (t % 2 == 0) {
              if (accepted - ran > ahead) {
                std::this_thread::yield();
                continue;
              }
              ++accepted;
              try {
                loop->post([&ran] { ++ran; });
              } catch (...) {
                --accepted;
                throw;
              }
            } else {
              b::remote_child<int> one = b::spawn_on(*loop, visits, std::ref(live), 1);
              ++started;
              try {
                const int got = one.get();
                CHECK(got == 1);
              } catch (const b::child_cancelled&) {
                static_cast<void>(one);  // the loop ended before it had: an answer, too
              } catch (const b::loop_closed_error&) {
                static_cast<void>(one);  // taken by the loop when its end had begun: refused by an answer
              }
              ++answered;
            }
          }
        } catch (const b::loop_closed_error&) {
          return;
        }
      });
    }
    loop->run([](std::latch& l, int turns) -> b::task<> {
      l.count_down();
      for (int i = 0; i < turns; ++i) co_await b::yield();
    }(begun, round));
    for (std::thread& one : posters) one.join();
    CHECK(accepted == ran);
    CHECK(started == answered);
    CHECK(live == 0);
  }
}

TEST_CASE("stress: to_thread, waited for or abandoned: cancelled at any moment, each call ends once") {
  b::loop loop({.blocking_threads = 3});
  auto live = std::make_shared<std::atomic<int>>(0);
  std::mt19937 random(1);
  loop.run([](std::shared_ptr<std::atomic<int>> count, std::mt19937& dice) -> b::task<> {
    for (int round = 0; round < 2000; ++round) {
      const auto late = static_cast<unsigned>(dice() % 20);
      co_await b::with_group([&](b::group& g) -> b::task<> {
        for (unsigned i = 0; i < 6; ++i) {
          const auto calls = [](std::shared_ptr<std::atomic<int>> to, unsigned turns,
                                bool leave) -> b::task<int> {
            const auto work = [](const std::shared_ptr<std::atomic<int>>& in, unsigned n) {
              const alive here(*in);
              dawdle(n);
              return std::make_unique<unsigned>(n);
            };
            std::unique_ptr<unsigned> got;
            if (leave) {
              got = co_await b::to_thread(b::abandon("dawdle"), work, to, turns);
            } else {
              got = co_await b::to_thread(work, to, turns);
            }
            CHECK(*got == turns);
            co_return 1;
          };
          g.spawn(calls, count, static_cast<unsigned>(dice() % 30), i % 2 == 0);
        }
        co_await b::yield();
        dawdle(late);
        co_await b::yield();
        g.cancel();
      });
    }
    while (b::loop::current()->statistics().abandoned_jobs != 0) co_await b::sleep_for(1ms);
  }(live, random));
  CHECK(*live == 0);
  CHECK(loop.statistics().blocking_jobs == 0);
}

TEST_CASE(
    "stress: four loops call each other, with errors and cancellations at any moment; all is answered") {
  b::loop home;
  std::atomic<int> live = 0;
  std::atomic<int> values = 0;
  std::atomic<int> errors = 0;
  std::atomic<int> cancelled = 0;
  constexpr int calls = 3000;
  home.run(b::run_on_each(4, [&](unsigned index, std::span<b::loop* const> all) -> b::task<> {
    std::mt19937 random(index);
    for (int i = 0; i < calls; ++i) {
      b::loop& other = *all[random() % all.size()];
      const int turns = static_cast<int>(random() % 8);
      const auto limit = std::chrono::microseconds(random() % 200);
      try {
        const auto got = co_await b::move_on_after(limit, b::on_loop(other, visits, std::ref(live), turns));
        ++(got.has_value() ? values : cancelled);
      } catch (const boom&) {
        ++errors;
      }
    }
  }));
  CHECK(live == 0);
  CHECK(values + errors + cancelled == 4 * calls);
  CHECK(home.statistics().live_tasks == 0);
}

TEST_CASE("stress: loops that come and go while others call them") {
  b::loop home;
  std::atomic<int> live = 0;
  home.run([](std::atomic<int>& count) -> b::task<> {
    for (int round = 0; round < 200; ++round) {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        const auto caller = [](std::atomic<int>& in, int turns) -> b::task<> {
          b::loop& mine = co_await b::use(b::loop_thread());
          const auto there = [](std::atomic<int>& to, int n) -> b::task<int> {
            b::loop& further = co_await b::use(b::loop_thread());
            co_return co_await b::on_loop(further, visits, std::ref(to), n);
          };
          static_cast<void>(co_await b::on_loop(mine, there, std::ref(in), turns));
        };
        for (int i = 0; i < 3; ++i) g.spawn(caller, std::ref(count), i);
        for (int i = 0; i < round * 4; ++i) co_await b::yield();
        if (round % 2 == 0) g.cancel();
      });
      CHECK(count == 0);
    }
  }(live));
  CHECK(home.statistics().live_tasks == 0);
}

TEST_CASE("stress: one exception on its way in several threads at once: each has its own record [row 505]") {
  std::exception_ptr shared;
  try {
    try {
      throw boom("below");
    } catch (const boom&) {
      throw b::error(b::error_kind::conflict, "shared", "in all threads");
    }
  } catch (const b::error&) {
    shared = std::current_exception();
  }
  constexpr int threads = 4;
  std::latch together(threads);
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&together, shared, t] {
      b::testing::test_loop loop;
      together.arrive_and_wait();
      for (int i = 0; i < 300; ++i) {
        loop.run([](std::exception_ptr what, int who) -> b::task<> {
          const auto throws = [](const std::exception_ptr& which) -> b::task<> {
            co_await b::yield();
            std::rethrow_exception(which);
          };
          const b::outcome<void> how = co_await b::as_outcome(throws(what));
          b::failure mine = how.failure();
          mine.note("thread " + std::to_string(who));
          mine.attach(b::failure::of(std::make_exception_ptr(boom("beside it"))));
          // Attached to a failure that hangs together with it: its ways back are cut.
          b::failure under = mine.cause();
          CHECK(under.message() == "below");
          b::failure first = b::failure::of(std::make_exception_ptr(boom("the first")));
          first.attach(mine);
          CHECK(mine.attached().size() == 1);
          CHECK(mine.notes().size() == 1);
          CHECK(mine.exception() == what);
          CHECK(b::describe(first).find("in all threads") != std::string::npos);
          for (const b::failure& one : first.flatten()) one.observe();
          try {
            mine.rethrow();
          } catch (const b::error& e) {
            CHECK(e.code() == "shared");
            CHECK(e.cause().message() == "below");
          }
        }(shared, t));
      }
      CHECK(loop.lost_errors().empty());
    });
  }
  for (std::thread& one : all) one.join();
}

TEST_CASE("stress: one exception comes out of calls on threads and on loops, at the same time [row 505]") {
  b::loop home;
  const std::exception_ptr shared = std::make_exception_ptr(boom("shared"));
  std::atomic<int> seen = 0;
  home.run(b::run_on_each(3, [&](unsigned index, std::span<b::loop* const> all) -> b::task<> {
    for (int i = 0; i < 500; ++i) {
      const auto there = [](std::exception_ptr what) -> b::task<> {
        co_await b::yield();
        std::rethrow_exception(what);
      };
      const auto on_thread = [](std::exception_ptr what) -> b::task<> {
        co_await b::to_thread([](const std::exception_ptr& which) { std::rethrow_exception(which); }, what);
      };
      b::outcome<void> one = co_await b::as_outcome(b::on_loop(*all[(index + 1) % 3], there, shared));
      b::outcome<void> two = co_await b::as_outcome(on_thread(shared));
      b::failure first = one.failure();
      first.attach(two.failure());  // the same exception: kept once
      CHECK(first.exception() == shared);
      CHECK(first.attached().empty());
      ++seen;
    }
  }));
  CHECK(seen == 1500);
}

TEST_CASE(
    "stress: signals while several loops run, begin and end: each one sent by itself is seen [row 513]") {
  b::loop home;
  home.run([]() -> b::task<> {
    b::signal_watch watch{SIGUSR2};
    for (int round = 0; round < 100; ++round) {
      b::loop& other = co_await b::use(b::loop_thread());
      const auto sends = []() -> b::task<> {
        co_await b::yield();
        ::kill(::getpid(), SIGUSR2);
      };
      auto [sent, number] =
          co_await b::all(b::on_loop(other, sends),
                          [](b::signal_watch& on) -> b::task<int> { co_return co_await on.next(); }(watch));
      CHECK(number == SIGUSR2);
    }
  }());
}
