// SPDX-License-Identifier: Apache-2.0
// Event and semaphore: order, and nothing lost when waiters are cancelled.

#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> holds(b::semaphore& s, b::duration length, trail& out, std::string name) {
  const b::permit mine = co_await s.acquire();
  out.push_back(name);
  co_await b::sleep_for(length);
}

}  // namespace

TEST_CASE("event: wakes all who wait, in order; later waits return at once; reset closes it again") {
  b::testing::test_loop loop;
  trail out;
  b::event go;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto waits = [](b::event& e, trail& to, std::string name) -> b::task<> {
      co_await e.wait();
      to.push_back(name);
    };
    g.spawn(waits, std::ref(go), std::ref(out), std::string("a"));
    g.spawn(waits, std::ref(go), std::ref(out), std::string("b"));
    co_await b::sleep_for(1s);
    CHECK(!go.is_set());
    go.set();
    go.set();
    co_await b::yield();
    CHECK(out == trail{"a", "b"});
    co_await go.wait();
    go.reset();
    CHECK(!co_await b::move_on_after(1s, waits_for(go)));
  }));
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("event: a waiter that is cancelled leaves the line, wherever it stands") {
  b::testing::test_loop loop;
  for (std::size_t victim = 0; victim < 3; ++victim) {
    trail out;
    b::event go;
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      std::vector<b::child<void>> waiters;
      for (int i = 0; i < 3; ++i) {
        waiters.push_back(g.spawn(
            [](b::event& e, trail& to, int who) -> b::task<> {
              co_await e.wait();
              to.push_back(std::to_string(who));
            },
            std::ref(go), std::ref(out), i));
      }
      co_await b::yield();
      waiters[victim].cancel();
      co_await b::yield();
      go.set();
    }));
    CHECK(out.size() == 2);
    for (const std::string& who : out) CHECK(who != std::to_string(victim));
  }
}

TEST_CASE("semaphore: at most so many at once, first come first served") {
  b::testing::test_loop loop;
  trail out;
  b::semaphore two(2);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char* name : {"a", "b", "c", "d", "e"})
      g.spawn(holds, std::ref(two), 1s, std::ref(out), std::string(name));
    co_await b::sleep_for(500ms);
    CHECK(out == trail{"a", "b"});
    CHECK(two.waiting() == 3);
    CHECK(two.free() == 0);
  }));
  CHECK(out == trail{"a", "b", "c", "d", "e"});
  CHECK(loop.elapsed() == 3s);
  CHECK(two.free() == 2);
}

TEST_CASE("semaphore: a waiter that is cancelled takes no permit, those behind move up [row 222] [row 223]") {
  b::testing::test_loop loop;
  trail out;
  b::semaphore one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(holds, std::ref(one), 2s, std::ref(out), std::string("a"));
    b::child<void> second = g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("b"));
    g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("c"));
    co_await b::sleep_for(1s);
    second.cancel();
  }));
  CHECK(out == trail{"a", "c"});
  CHECK(one.free() == 1);
  CHECK(one.waiting() == 0);
}

TEST_CASE(
    "semaphore: a waiter is cancelled in the turn in which it gets its permit, the permit is not lost [row 220]") {
  b::testing::test_loop loop;
  for (const bool cancel_first : {true, false}) {
    trail out;
    b::semaphore one(1);
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      b::permit mine = co_await one.acquire();
      b::child<void> second = g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("b"));
      g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("c"));
      co_await b::yield();
      if (cancel_first) second.cancel();
      mine.release();
      if (!cancel_first) second.cancel();
    }));
    CHECK(out.back() == "c");
    CHECK(one.free() == 1);
  }
}

TEST_CASE("semaphore: permits can be moved, released early, once") {
  b::testing::test_loop loop;
  b::semaphore two(2);
  loop.run([](b::semaphore& s) -> b::task<> {
    b::permit one = co_await s.acquire();
    CHECK(static_cast<bool>(one));
    b::permit other = std::move(one);
    CHECK(!one);
    one = co_await s.acquire();
    CHECK(s.free() == 0);
    other.release();
    other.release();
    CHECK(s.free() == 1);
  }(two));
  CHECK(two.free() == 2);
}

TEST_CASE("semaphore: nobody overtakes those who wait") {
  b::testing::test_loop loop;
  trail out;
  b::semaphore one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::permit mine = co_await one.acquire();
    g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("first"));
    co_await b::yield();
    mine.release();
    co_await holds(one, 1s, out, "second");
  }));
  CHECK(out == trail{"first", "second"});
}

TEST_CASE("semaphore: of zero permits, is a misuse_error") {
  CHECK_THROWS_AS(b::semaphore(0), b::misuse_error);
}

TEST_CASE("semaphore: try_acquire never waits and never overtakes") {
  b::testing::test_loop loop;
  trail out;
  b::semaphore one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::permit mine = one.try_acquire();
    CHECK(static_cast<bool>(mine));
    CHECK(!one.try_acquire());
    g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("a"));
    co_await b::yield();
    mine.release();
    CHECK(!one.try_acquire());
    co_await b::sleep_for(2s);
    CHECK(static_cast<bool>(one.try_acquire()));
  }));
  CHECK(one.free() == 1);
}

TEST_CASE("semaphore: of a negative number of permits, is a misuse_error") {
  CHECK_THROWS_AS(b::semaphore(static_cast<std::size_t>(-1)), b::misuse_error);
}

TEST_CASE(
    "semaphore: known bug CPython gh-90155, cancelled waiters neither block nor let others overtake [row 222]") {
  for (unsigned before = 0; before < 8; ++before) {
    for (unsigned after = 0; after < 8; ++after) {
      b::testing::test_loop loop;
      trail out;
      b::semaphore one(1);
      loop.run(b::with_group([&](b::group& g) -> b::task<> {
        b::permit mine = co_await one.acquire();
        std::vector<b::child<void>> waiters;
        for (const char* name : {"0", "1", "2"})
          waiters.push_back(g.spawn(holds, std::ref(one), 0s, std::ref(out), std::string(name)));
        co_await b::yield();
        for (unsigned i = 0; i < 3; ++i)
          if ((before >> i & 1) != 0) waiters[i].cancel();
        mine.release();
        for (unsigned i = 0; i < 3; ++i)
          if ((after >> i & 1) != 0) waiters[i].cancel();
      }));
      CHECK(std::is_sorted(out.begin(), out.end()));
      for (unsigned i = 0; i < 3; ++i) {
        if (((before | after) >> i & 1) == 0)
          CHECK(std::count(out.begin(), out.end(), std::to_string(i)) == 1);
      }
      CHECK(one.free() == 1);
      CHECK(one.waiting() == 0);
    }
  }
}

TEST_CASE("semaphore: a cancelled acquirer leaves a permit that a later one gets in time [row 223]") {
  b::testing::test_loop loop;
  trail out;
  b::semaphore one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("a"));
    b::child<void> second = g.spawn(holds, std::ref(one), 1s, std::ref(out), std::string("b"));
    co_await b::sleep_for(500ms);
    second.cancel();
    co_await b::with_timeout(1s, holds(one, 0s, out, "c"));
  }));
  CHECK(out == trail{"a", "c"});
}

TEST_CASE(
    "event, semaphore: in a cancelled scope, nothing is waited for and nothing is taken, although it could [row 38] [row 53] [row 234]") {
  b::testing::test_loop loop;
  b::event set;
  set.set();
  b::semaphore one(1);
  int went_on = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::event& e, int& count) -> b::task<> {
          co_await b::checkpoint();
          co_await e.wait();
          ++count;
        },
        std::ref(set), std::ref(went_on));
    auto waits = [](b::event& e, int& count) -> b::task<> {
      co_await e.wait();
      ++count;
    };
    auto acquires = [](b::semaphore& s, int& count) -> b::task<> {
      const b::permit mine = co_await s.acquire();
      ++count;
    };
    auto tries = [](b::group& in, auto& call, auto& what, int& count) -> b::task<> {
      in.cancel();
      co_await call(what, count);
    };
    co_await b::with_group([&](b::group& inner) -> b::task<> { co_await tries(inner, waits, set, went_on); });
    co_await b::with_group(
        [&](b::group& inner) -> b::task<> { co_await tries(inner, acquires, one, went_on); });
    g.cancel();
  }));
  CHECK(went_on == 0);
  CHECK(one.free() == 1);
}
