// SPDX-License-Identifier: Apache-2.0
// The drivers themselves: what they number, what they inject, what they check, and what they say.

#include <belay/core/all.hpp>
#include <belay/core/event.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include <chrono>

using namespace std::chrono_literals;
namespace b = belay;
namespace bt = belay::testing;

namespace {

b::task<> nap(b::duration length) { co_await b::sleep_for(length); }

b::managed<int> slow_resource(int& open) {
  co_await b::sleep_for(1s);
  ++open;
  int value = 1;
  co_yield value;
  --open;
  co_await b::sleep_for(1s);
}

}  // namespace

TEST_CASE("everywhere: a scenario that keeps its promises has no finding; its awaits are numbered") {
  const bt::report found = bt::everywhere([](bt::stage& s) -> b::task<> {
    int& open = s.make<int>(0);
    s.expect("all is closed", [&open] { return open == 0; });
    co_await b::with(slow_resource(open), [](int&) -> b::task<> { co_await b::sleep_for(1s); });
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.awaits == 5);  // with, sleep to open, the body's sleep, the sleep to close; the opening
  CHECK(found.runs > 15);
}

TEST_CASE("everywhere: cleanup written after an await is skipped, and the await is named") {
  const unsigned line = __LINE__ + 5;
  const bt::report found = bt::cancel_everywhere([](bt::stage& s) -> b::task<> {
    int& open = s.make<int>(0);
    s.expect("all is closed", [&open] { return open == 0; });
    ++open;
    co_await b::sleep_for(1s);
    --open;
  });
  REQUIRE(found.findings.size() == 1);
  CHECK(found.findings[0].at.line() == line);
  CHECK(found.findings[0].rule == "all is closed");
  CHECK(found.findings[0].what.find("cancelled before it waited for a timer at everywhere_test.cpp:") == 0);
  CHECK(found.findings[0].replay.find("cancel 1 before") != std::string::npos);
  CHECK_THROWS_AS(found.require(), bt::promise_broken);
  MESSAGE(found.text());
}

TEST_CASE("everywhere: a permit that is kept") {
  const bt::report found = bt::everywhere([](bt::stage& s) -> b::task<> {
    auto& pool = s.make<b::semaphore>(2u, "pool");
    auto& kept = s.make<b::permit>();
    kept = co_await pool.acquire();
    co_await nap(1s);
    kept.release();
  });
  REQUIRE(!found.ok());
  CHECK(found.findings[0].rule == bt::rules::nothing_left);
  CHECK(found.findings[0].left.at(0).find(
            "1 of 2 permits of semaphore 'pool', acquired at everywhere_test.cpp:") == 0);
}

TEST_CASE("everywhere: groups, limits, threads, all") {
  const bt::report found = bt::everywhere(
      [](bt::stage& s) -> b::task<> {
        auto& pool = s.make<b::semaphore>(1u, "pool");
        auto hold = [](b::semaphore& of) -> b::task<int> {
          const b::permit mine = co_await of.acquire();
          co_await b::sleep_for(10ms);
          co_return co_await b::to_thread([] { return 1; });
        };
        co_await b::with_timeout(1min, b::with_group([&](b::group& g) -> b::task<> {
                                   g.spawn(hold, std::ref(pool));
                                   g.spawn(hold, std::ref(pool));
                                   co_await b::all(hold(pool), hold(pool));
                                 }));
      },
      {.schedules = 3});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("explore: a bug that only one order shows") {
  const bt::report found = bt::explore(
      [](bt::stage& s) -> b::task<> {
        auto& order = s.make<std::vector<int>>();
        s.expect("the first is first", [&order] { return order.empty() || order[0] == 1; });
        auto note = [](std::vector<int>& into, int who) -> b::task<> {
          into.push_back(who);
          co_return;
        };
        co_await b::with_group([&](b::group& g) -> b::task<> {
          g.spawn(note, std::ref(order), 1);
          g.spawn(note, std::ref(order), 2);
          co_return;
        });
      },
      100);
  REQUIRE(found.findings.size() == 1);
  MESSAGE(found.text());
}

TEST_CASE("everywhere: speed") {
  const auto since = std::chrono::steady_clock::now();
  const bt::report found = bt::everywhere([](bt::stage&) -> b::task<> {
    for (int i = 0; i < 10; ++i) {
      co_await b::finally(
          []() -> b::task<> {
            co_await nap(1s);
            co_await nap(1s);
          },
          []() -> b::task<> {
            co_await nap(1s);
            co_await nap(1s);
          });
    }
  });
  const auto took = std::chrono::steady_clock::now() - since;
  MESSAGE(found.text() << std::chrono::duration<double, std::milli>(took).count());
}
