// SPDX-License-Identifier: Apache-2.0
// The loop for tests: virtual time, deadlocks, what is left.

#include <belay/core/event.hpp>
#include <belay/core/sleep.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;

namespace {

belay::task<> nap(belay::duration length) { co_await belay::sleep_for(length); }

belay::task<> wait_for_ever() {
  belay::event never;
  co_await never.wait();
}

}  // namespace

TEST_CASE("test_loop: waiting costs no time and the clock shows it [row 114]") {
  belay::testing::test_loop loop;
  loop.run(nap(1h));
  CHECK(loop.elapsed() == 1h);
  CHECK(loop.nothing_left());
}

TEST_CASE("test_loop: when nothing can wake the tasks, a deadlock is reported, and they are unwound") {
  belay::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(wait_for_ever()), belay::deadlock_error);
  CHECK(loop.nothing_left());
  loop.run(nap(1s));
  CHECK(loop.elapsed() == 1s);
}
