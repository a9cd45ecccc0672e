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
