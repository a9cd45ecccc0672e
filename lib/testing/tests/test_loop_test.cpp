// SPDX-License-Identifier: Apache-2.0
// The loop for tests: virtual time, deadlocks, what is left, what was lost.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <stdexcept>

using namespace std::chrono_literals;

namespace {

belay::task<> nap(belay::duration length) { co_await belay::sleep_for(length); }
belay::task<int> fails() {
  throw std::runtime_error("lost");
  co_return 1;
}
belay::task<> wait_for_ever() {
  belay::event never;
  co_await never.wait();
}

}  // namespace

TEST_CASE("test_loop: waiting costs no time and the clock shows it [row 114]") {
  belay::testing::test_loop loop;
  loop.run(nap(1h));
  CHECK(loop.elapsed() == 1h);
  loop.run(nap(24h * 365));
  CHECK(loop.elapsed() == 24h * 365 + 1h);
  CHECK(loop.nothing_left());
}

TEST_CASE("test_loop: when nothing can wake the tasks, a deadlock is reported, and they are unwound") {
  belay::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(wait_for_ever()), belay::deadlock_error);
  CHECK(loop.nothing_left());
  loop.run(nap(1s));
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("test_loop: with a limit around it, waiting for ever is no deadlock") {
  belay::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(belay::with_timeout(5s, wait_for_ever())), belay::timeout_error);
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("test_loop: a thread that works is waited for, and is no deadlock") {
  belay::testing::test_loop loop;
  CHECK(loop.run([]() -> belay::task<int> { co_return co_await belay::to_thread([] { return 4; }); }()) == 4);
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("test_loop: keeps the errors that nobody looked at, described, over several runs") {
  belay::testing::test_loop loop;
  for (std::size_t i = 1; i <= 2; ++i) {
    loop.run([]() -> belay::task<> { belay::outcome<int> dropped = co_await belay::as_outcome(fails()); }());
    CHECK(loop.lost_errors().size() == i);
  }
  CHECK(loop.lost_errors()[0].find("std::runtime_error: lost") == 0);
}

TEST_CASE("test_loop: replaces clock and sink of the options that it is given, and keeps the others") {
  belay::loop_options options;
  bool called = false;
  options.on_lost_failure = [&called](const belay::failure&) { called = true; };
  options.cleanup_limit = 3s;
  belay::testing::test_loop loop(std::move(options));
  loop.run([]() -> belay::task<> { belay::outcome<int> dropped = co_await belay::as_outcome(fails()); }());
  CHECK(!called);
  CHECK(loop.loop().cleanup_limit() == 3s);
  CHECK(loop.lost_errors().size() == 1);
}

TEST_CASE("test_loop: while tasks live it says so") {
  belay::testing::test_loop loop;
  loop.run(belay::with_group([&loop](belay::group& g) -> belay::task<> {
    g.spawn(nap, 1s);
    co_await belay::yield();
    CHECK(!loop.nothing_left());
    CHECK(loop.live_tasks() == 2);
  }));
  CHECK(loop.nothing_left());
}

TEST_CASE("virtual_clock: moves by advance and by jumps, never back, and stops at the end of time") {
  belay::testing::virtual_clock clock;
  CHECK(clock.elapsed() == 0s);
  clock.advance(5s);
  CHECK(clock.elapsed() == 5s);
  CHECK(clock.jump_to(clock.now() - 3s));
  CHECK(clock.elapsed() == 5s);
  CHECK(clock.jump_to(clock.now() + 2s));
  CHECK(clock.elapsed() == 7s);
  CHECK(clock.jump_to(belay::time_point::max()));
  CHECK(clock.elapsed() == 7s);
  clock.advance(belay::duration::max());
  CHECK(clock.now() == belay::time_point::max());
}

TEST_CASE("virtual_clock: a limit acts at exactly its time, computations take none") {
  belay::testing::test_loop loop;
  CHECK(!loop.run(belay::move_on_after(1500ms, nap(1h))));
  CHECK(loop.elapsed() == 1500ms);
}
