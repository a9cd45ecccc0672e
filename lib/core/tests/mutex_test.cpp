// SPDX-License-Identifier: Apache-2.0
// Mutex: order, hand-over, and nothing lost when waiters are cancelled.

#include <belay/core/mutex.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> holds(b::mutex& m, b::duration length, trail& out, std::string name) {
  const b::mutex_guard mine = co_await m.lock();
  out.push_back(name);
  co_await b::sleep_for(length);
}

}  // namespace

TEST_CASE("mutex: one at a time, first come first served") {
  b::testing::test_loop loop;
  trail out;
  b::mutex m("m");
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char* name : {"a", "b", "c"})
      g.spawn(holds, std::ref(m), 1s, std::ref(out), std::string(name));
    co_await b::sleep_for(500ms);
    CHECK(out == trail{"a"});
    CHECK(m.waiting() == 2);
    CHECK(m.locked());
  }));
  CHECK(out == trail{"a", "b", "c"});
  CHECK(loop.elapsed() == 3s);
  CHECK(!m.locked());
}

TEST_CASE("mutex: a free one is taken at once, without giving up the turn") {
  b::testing::test_loop loop;
  b::mutex m;
  bool other_ran = false;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](bool& ran) -> b::task<> {
          ran = true;
          co_return;
        },
        std::ref(other_ran));
    {
      const b::mutex_guard mine = co_await m.lock();
      CHECK(!other_ran);
    }
    CHECK(!m.locked());
  }));
  CHECK(other_ran);
}

TEST_CASE("mutex: unlocked, it belongs to the first in line at once: nobody overtakes") {
  b::testing::test_loop loop;
  trail out;
  b::mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::mutex_guard mine = co_await m.lock();
    g.spawn(holds, std::ref(m), 1s, std::ref(out), std::string("first"));
    co_await b::yield();
    mine.unlock();
    mine.unlock();
    CHECK(!mine);
    CHECK(m.locked());
    CHECK(!m.try_lock());
    co_await holds(m, 1s, out, "second");
  }));
  CHECK(out == trail{"first", "second"});
}

TEST_CASE("mutex: a waiter is cancelled in the turn in which it is unlocked, the next one has it [row 220]") {
  b::testing::test_loop loop;
  for (const bool cancel_first : {true, false}) {
    trail out;
    b::mutex m;
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      b::mutex_guard mine = co_await m.lock();
      b::child<void> second = g.spawn(holds, std::ref(m), 1s, std::ref(out), std::string("b"));
      g.spawn(holds, std::ref(m), 1s, std::ref(out), std::string("c"));
      co_await b::yield();
      if (cancel_first) second.cancel();
      mine.unlock();
      if (!cancel_first) second.cancel();
    }));
    CHECK(out.back() == "c");
    CHECK(!m.locked());
    CHECK(m.waiting() == 0);
  }
}

TEST_CASE(
    "mutex: known bug CPython bpo-27585, a cancelled waiter leaves a lock that can be taken [row 223]") {
  b::testing::test_loop loop;
  trail out;
  b::mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::mutex_guard mine = co_await m.lock();
    std::vector<b::child<void>> waiters;
    for (const char* name : {"a", "b", "c"})
      waiters.push_back(g.spawn(holds, std::ref(m), 1s, std::ref(out), std::string(name)));
    co_await b::yield();
    mine.unlock();  // "a" has it, and has not gone on
    for (auto& one : waiters) one.cancel();
    co_await b::with_timeout(3s, holds(m, 1s, out, "after"));
  }));
  CHECK(out == trail{"a", "after"});  // what was handed over before the cancel is delivered
  CHECK(!m.locked());
}

TEST_CASE(
    "mutex: known bug CPython bpo-32734, cancelled and unlocked at once, in any order, the line goes on") {
  // Which waiters are cancelled, before and after the unlock.
  for (unsigned before = 0; before < 8; ++before) {
    for (unsigned after = 0; after < 8; ++after) {
      b::testing::test_loop loop;
      trail out;
      b::mutex m;
      loop.run(b::with_group([&](b::group& g) -> b::task<> {
        b::mutex_guard mine = co_await m.lock();
        std::vector<b::child<void>> waiters;
        for (const char* name : {"0", "1", "2"})
          waiters.push_back(g.spawn(holds, std::ref(m), 0s, std::ref(out), std::string(name)));
        co_await b::yield();
        for (unsigned i = 0; i < 3; ++i)
          if ((before >> i & 1) != 0) waiters[i].cancel();
        mine.unlock();
        for (unsigned i = 0; i < 3; ++i)
          if ((after >> i & 1) != 0) waiters[i].cancel();
      }));
      for (unsigned i = 0; i < 3; ++i) {
        if (((before | after) >> i & 1) == 0)
          CHECK(std::count(out.begin(), out.end(), std::to_string(i)) == 1);
      }
      CHECK(!m.locked());
      CHECK(m.waiting() == 0);
    }
  }
}

TEST_CASE("mutex: known bug AnyIO, cancelled waiters do not deadlock those who come later") {
  b::testing::test_loop loop;
  trail out;
  b::mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(holds, std::ref(m), 3s, std::ref(out), std::string("holder"));
    co_await b::yield();
    CHECK(!co_await b::move_on_after(1s, holds(m, 1s, out, "given up")));
    CHECK(!co_await b::move_on_after(1s, holds(m, 1s, out, "given up")));
    CHECK(m.waiting() == 0);
    co_await holds(m, 1s, out, "late");
  }));
  CHECK(out == trail{"holder", "late"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("mutex: cancelled before the lock, a free mutex is not taken [row 38] [row 53] [row 234]") {
  b::testing::test_loop loop;
  b::mutex m;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    co_await holds(m, 1s, out, "never");
  }));
  CHECK(out.empty());
  CHECK(!m.locked());
}

TEST_CASE("mutex: locked by the task that holds it, is a misuse_error, and the lock is unharmed") {
  b::testing::test_loop loop;
  b::mutex m("ledger");
  loop.run([](b::mutex& it) -> b::task<> {
    const b::mutex_guard mine = co_await it.lock();
    CHECK(!it.try_lock());
    auto again = [](b::mutex& what) -> b::task<> { static_cast<void>(co_await what.lock()); };
    try {
      co_await again(it);
      FAIL("no error");
    } catch (const b::misuse_error& e) {
      CHECK(std::string(e.what()).find("mutex 'ledger': lock()") != std::string::npos);
    }
    CHECK(it.locked());
    CHECK(it.waiting() == 0);
    co_await b::yield();
  }(m));
  CHECK(!m.locked());
}

TEST_CASE("mutex: a guard can be moved: it counts as held where it was moved last") {
  b::testing::test_loop loop;
  b::mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::mutex_guard mine;
    CHECK(!mine);
    b::child<b::mutex_guard> locks = g.spawn(
        [](b::mutex& it) -> b::task<b::mutex_guard> {
          b::mutex_guard taken = co_await it.lock();
          co_return taken;
        },
        std::ref(m));
    mine = co_await std::move(locks);
    CHECK(static_cast<bool>(mine));
    CHECK(m.locked());
    auto again = [](b::mutex& what) -> b::task<> { static_cast<void>(co_await what.lock()); };
    CHECK((co_await b::as_outcome(again(m))).failure().find<b::misuse_error>() != nullptr);
    b::mutex_guard other = std::move(mine);
    mine = std::move(other);
    mine.unlock();
    CHECK(!m.locked());
    if (b::mutex_guard tried = m.try_lock()) {
      CHECK(m.locked());
      mine = std::move(tried);
    }
    CHECK(m.locked());
  }));
  CHECK(!m.locked());
}

TEST_CASE("mutex: unlocked when its holder fails") {
  b::testing::test_loop loop;
  b::mutex m;
  auto breaks = [](b::mutex& it) -> b::task<> {
    const b::mutex_guard mine = co_await it.lock();
    co_await b::sleep_for(1s);
    throw boom("while holding");
  };
  CHECK_THROWS_AS(loop.run(breaks(m)), boom);
  CHECK(!m.locked());
}

TEST_CASE("mutex: try_lock outside of a loop is a misuse_error") {
  b::mutex m;
  CHECK_THROWS_AS(static_cast<void>(m.try_lock()), b::misuse_error);
  CHECK(!m.locked());
}
