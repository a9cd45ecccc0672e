// SPDX-License-Identifier: Apache-2.0
// managed

#include <belay/core/task.hpp>
#include <belay/core/sleep.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;

namespace {
belay::task<int> one() { co_return 1; }
}
TEST_CASE("managed: a task that returns at once gives its value") {
  belay::testing::test_loop loop;
  CHECK(loop.run(one()) == 1);
  CHECK(loop.nothing_left());
}
