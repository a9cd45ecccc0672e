// SPDX-License-Identifier: Apache-2.0
// Calls on threads that are left behind: nobody waits for them, and nothing of them is lost.

#include <belay/core/all.hpp>
#include <belay/core/detail/thread_start.hpp>
#include <belay/core/thread.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>

#include "driven.hpp"

using namespace core_tests;

namespace {

// What a call on a thread shares with its test; owned by both.
struct shared_gate {
  std::latch begun{1};
  std::latch go{1};
  std::atomic<bool> asked = false;
  std::atomic<bool> returned = false;
};
using gate = std::shared_ptr<shared_gate>;

// Blocks until the test lets it go on; then fails, if there are words.
int blocks(std::stop_token stop, const gate& at, const std::string& words) {
  at->begun.count_down();
  at->go.wait();
  at->asked = stop.stop_requested();
  at->returned = true;
  if (!words.empty()) throw boom(words);
  return 7;
}
b::task<int> abandonable(gate at, std::string words) {
  co_return co_await b::to_thread(b::abandon("blocks"), blocks, at, words);
}
// Begun, then left behind.
b::task<> leave_behind(gate at, std::string words) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> call = g.spawn(abandonable, at, words);
    co_await b::yield();
    at->begun.wait();
    call.cancel();
    static_cast<void>(co_await b::as_outcome(call));
  });
}

// Until no abandoned call runs any more; a real loop, real time.
b::task<> until_returned() {
  while (b::loop::current()->statistics().abandoned_jobs != 0) co_await b::sleep_for(1ms);
}

// As many threads as the system will give; all again when it goes.
struct granted {
  explicit granted(int threads) { b::detail::threads_granted = threads; }
  granted(const granted&) = delete;
  granted& operator=(const granted&) = delete;
  ~granted() { b::detail::threads_granted = -1; }
};

// Says on which thread the last of its copies went.
struct last_seen {
  explicit last_seen(std::shared_ptr<std::atomic<int>> to) : deaths(std::move(to)) {}
  last_seen(last_seen&&) noexcept = default;
  last_seen(const last_seen&) = delete;
  ~last_seen() {
    if (deaths) ++*deaths;
  }
  std::shared_ptr<std::atomic<int>> deaths;
};

}  // namespace

TEST_CASE("abandon: a call that nobody cancels is as any other: values, void, move-only, errors") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(co_await b::to_thread(
              b::abandon(), [](int x, const std::string& y) { return std::to_string(x) + y; }, 4,
              std::string("x")) == "4x");
    co_await b::to_thread(b::abandon("nothing"), [] {});
    const std::unique_ptr<int> box = co_await b::to_thread(
        b::abandon(), [](std::unique_ptr<int> in) { return in; }, std::make_unique<int>(3));
    CHECK(*box == 3);
    CHECK(co_await b::to_thread(b::abandon(), [](std::stop_token stop) { return stop.stop_possible(); }));
    const auto failing = []() -> b::task<> {
      co_await b::to_thread(b::abandon(), [] { throw boom("on the thread"); });
    };
    CHECK_THROWS_WITH_AS(co_await failing(), "on the thread", boom);
  }());
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
  CHECK(loop.loop().statistics().abandoned_ever == 0);
}

TEST_CASE(
    "abandon: cancelled while it runs, the task goes on at once; the stop token is asked, the thread runs to its end [row 213]") {
  b::loop loop;
  loop.run([]() -> b::task<> {
    b::loop& here = *b::loop::current();
    const auto limited = [](b::duration limit, gate at) -> b::task<> {
      CHECK_THROWS_AS(static_cast<void>(co_await b::with_timeout(limit, abandonable(at, ""))),
                      b::timeout_error);
    };
    // Again, with more patience, if the limit passed before a thread had begun it.
    for (b::duration limit = 1ms; here.statistics().abandoned_ever == 0; limit *= 2) {
      const gate at = std::make_shared<shared_gate>();
      co_await limited(limit, at);
      CHECK(!at->returned);
      CHECK(here.statistics().blocking_jobs == 0);
      if (here.statistics().abandoned_ever == 0) continue;
      CHECK(here.statistics().abandoned_jobs == 1);
      REQUIRE(here.abandoned_calls().size() == 1);
      CHECK(here.abandoned_calls().front().find("'blocks' at abandon_test.cpp:") == 0);
      at->go.count_down();
      co_await until_returned();
      CHECK(at->returned);
      CHECK(at->asked);
      CHECK(here.abandoned_calls().empty());
    }
  }());
}

TEST_CASE("abandon: cancelled while it waits for a free thread, it does not run, and is not counted") {
  b::loop loop({.blocking_threads = 1});
  const gate first = std::make_shared<shared_gate>();
  const gate second = std::make_shared<shared_gate>();
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(abandonable, first, std::string());
    co_await b::yield();
    first->begun.wait();
    b::child<int> waits = g.spawn(abandonable, second, std::string());
    co_await b::yield();
    waits.cancel();
    co_await b::yield();
    CHECK(waits.done());
    CHECK(b::loop::current()->statistics().abandoned_ever == 0);
    first->go.count_down();
  }));
  CHECK(!second->returned);
}

TEST_CASE("abandon: its result, its function and its arguments are destroyed, once, by its thread") {
  b::loop loop;
  auto deaths = std::make_shared<std::atomic<int>>(0);
  const gate at = std::make_shared<shared_gate>();
  loop.run([](std::shared_ptr<std::atomic<int>> count, gate g) -> b::task<> {
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      tasks.spawn(
          [](std::shared_ptr<std::atomic<int>> to, gate in) -> b::task<> {
            static_cast<void>(co_await b::to_thread(
                b::abandon(),
                [](const last_seen& argument, const gate& inside) {
                  inside->begun.count_down();
                  inside->go.wait();
                  return last_seen(argument.deaths);
                },
                last_seen(to), in));
          },
          count, g);
      co_await b::yield();
      g->begun.wait();
      tasks.cancel();
    });
    CHECK(*count == 0);
    g->go.count_down();
    while (*count != 2) co_await b::sleep_for(1ms);
  }(deaths, at));
  CHECK(*deaths == 2);
}

TEST_CASE(
    "abandon: an error that comes later reaches the sink with its story, on the loop's thread, and nobody else [row 215]") {
  std::vector<std::string> lost;
  std::thread::id reported_on;
  b::loop loop({.on_lost_failure = [&](const b::failure& what) {
    lost.push_back(b::describe(what));
    reported_on = std::this_thread::get_id();
  }});
  const gate at = std::make_shared<shared_gate>();
  loop.run([](gate g, std::vector<std::string>& seen) -> b::task<> {
    co_await leave_behind(g, "too late");
    g->go.count_down();
    while (seen.empty()) co_await b::sleep_for(1ms);
  }(at, lost));
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].find("too late") != std::string::npos);
  CHECK(lost[0].find("thrown by a call that had been abandoned: 'blocks' at abandon_test.cpp:") !=
        std::string::npos);
  CHECK(reported_on == std::this_thread::get_id());
  CHECK(loop.statistics().lost_failures == 1);
  CHECK(loop.statistics().abandoned_ever == 1);
}

TEST_CASE(
    "abandon: an error that comes while the loop does not run is reported by its next run, or by its end [row 215]") {
  for (const bool runs_again : {true, false}) {
    int lost = 0;
    {
      b::loop loop({.on_lost_failure = [&](const b::failure&) { ++lost; }});
      const gate at = std::make_shared<shared_gate>();
      loop.run(leave_behind(at, "too late"));
      at->go.count_down();
      while (loop.statistics().abandoned_jobs != 0) std::this_thread::yield();
      CHECK(lost == 0);
      if (runs_again) {
        while (lost == 0) loop.run(naps(1ms));
      }
    }
    CHECK(lost == 1);
  }
}

TEST_CASE("abandon: the loop's end waits for the thread [row 214]") {
  const gate at = std::make_shared<shared_gate>();
  std::thread later;
  {
    b::loop loop;
    loop.run(leave_behind(at, ""));
    later = std::thread([at] {
      std::this_thread::yield();
      at->go.count_down();
    });
  }
  CHECK(at->returned);
  CHECK(at->asked);
  later.join();
}

TEST_CASE("abandon: a thread that does not end is named, and left behind [row 214]") {
  const process_end end = in_process([] {
    const gate at = std::make_shared<shared_gate>();
    {
      b::loop loop({.abandon_limit = 1ms});
      loop.run(leave_behind(at, "into the void"));
    }
    at->go.count_down();
    while (!at->returned) std::this_thread::yield();
    return 5;
  });
  CHECK(end.code == 5);
  CHECK(end.said.find("a call that was abandoned has not returned; its thread is left behind: 'blocks' at "
                      "abandon_test.cpp:") != std::string::npos);
}

TEST_CASE("abandon: a call takes its thread until it returns") {
  b::loop loop({.blocking_threads = 1});
  const gate at = std::make_shared<shared_gate>();
  loop.run([](gate g) -> b::task<> {
    co_await leave_behind(g, "");
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      b::child<int> next =
          tasks.spawn([]() -> b::task<int> { co_return co_await b::to_thread([] { return 1; }); });
      for (int i = 0; i < 10; ++i) co_await b::yield();
      CHECK(!next.done());
      g->go.count_down();
      CHECK(co_await next == 1);
    });
  }(at));
}

TEST_CASE("abandon: a limit below zero is refused") {
  CHECK_THROWS_AS(b::loop({.abandon_limit = -1ms}), b::misuse_error);
  const b::loop fine({.abandon_limit = b::duration::max()});
}

TEST_CASE(
    "to_thread: no thread can be started: the error comes out, nothing is queued, the next call works [row 217]") {
  b::testing::test_loop loop({.blocking_threads = 2});
  loop.run([]() -> b::task<> {
    const auto call = []() -> b::task<int> { co_return co_await b::to_thread([] { return 1; }); };
    const auto leaving = []() -> b::task<int> {
      co_return co_await b::to_thread(b::abandon(), [] { return 2; });
    };
    {
      const granted none(0);
      CHECK_THROWS_AS(static_cast<void>(co_await call()), std::system_error);
      CHECK_THROWS_AS(static_cast<void>(co_await leaving()), std::system_error);
      CHECK(b::loop::current()->statistics().blocking_jobs == 0);
    }
    CHECK(co_await call() == 1);
    {
      const granted none(0);  // the one that is there will do
      auto [x, y] = co_await b::all(call(), leaving());
      CHECK(x + y == 3);
    }
    auto [x, y] = co_await b::all(call(), leaving());
    CHECK(x + y == 3);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "to_thread: all threads are in abandoned calls and no other can be started: the error comes out [row 217]") {
  b::loop loop({.blocking_threads = 2});
  const gate at = std::make_shared<shared_gate>();
  loop.run([](gate g) -> b::task<> {
    co_await leave_behind(g, "");
    const auto call = []() -> b::task<int> { co_return co_await b::to_thread([] { return 1; }); };
    {
      const granted none(0);
      CHECK_THROWS_AS(static_cast<void>(co_await call()), std::system_error);
    }
    CHECK(co_await call() == 1);
    g->go.count_down();
  }(at));
}

TEST_CASE(
    "to_thread: a call that waits for a thread which is then abandoned gets another, once one can be started [row 217]") {
  b::loop loop({.blocking_threads = 2});
  const gate at = std::make_shared<shared_gate>();
  loop.run([](gate g) -> b::task<> {
    const auto call = []() -> b::task<int> { co_return co_await b::to_thread([] { return 1; }); };
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      b::child<int> queued;
      {
        b::child<void> leaves = tasks.spawn(
            [](gate in) -> b::task<> {
              co_await b::to_thread(
                  b::abandon("hangs"),
                  [](const gate& its) {
                    its->begun.count_down();
                    its->go.wait();
                  },
                  in);
            },
            g);
        co_await b::yield();
        g->begun.wait();
        const granted none(0);
        queued = tasks.spawn(call);
        co_await b::yield();
        co_await b::yield();
        b::detail::threads_granted = -1;
        leaves.cancel();
      }
      CHECK(co_await std::move(queued) == 1);
    });
    g->go.count_down();
  }(at));
}

TEST_CASE("abandon: many cancellations against many completions, every call ends once") {
  b::loop loop({.blocking_threads = 4});
  auto live = std::make_shared<std::atomic<int>>(0);
  loop.run([](std::shared_ptr<std::atomic<int>> count) -> b::task<> {
    for (int round = 0; round < 50; ++round) {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        for (int i = 0; i < 20; ++i) {
          g.spawn(
              [](std::shared_ptr<std::atomic<int>> to) -> b::task<> {
                static_cast<void>(co_await b::to_thread(
                    b::abandon(),
                    [](const std::shared_ptr<std::atomic<int>>& inside) {
                      ++*inside;
                      std::this_thread::yield();
                      --*inside;
                      return std::make_unique<int>(1);
                    },
                    to));
              },
              count);
        }
        for (int i = 0; i < round; ++i) co_await b::yield();
        g.cancel();
      });
    }
    co_await until_returned();
  }(live));
  CHECK(*live == 0);
  CHECK(loop.statistics().blocking_jobs == 0);
  CHECK(loop.statistics().abandoned_jobs == 0);
}

TEST_CASE("everywhere: abandonable calls on threads") {
  drive("abandonable calls", [](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("no local is left", [&live] { return live == 0; });
    const auto call = [](int& count, int x) -> b::task<int> {
      const counted here(count);
      co_return co_await b::to_thread(b::abandon("adds"), [](int y) { return y + 1; }, x);
    };
    const int two = co_await call(live, 1);
    CHECK(two == 2);
    auto [x, y] = co_await b::all(call(live, 1), call(live, 2));
    CHECK(x + y == 5);
  });
}
