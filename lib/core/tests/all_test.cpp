// SPDX-License-Identifier: Apache-2.0
// all: values in order, the first failure cancels the rest.

#include <belay/core/all.hpp>
#include <belay/core/sleep.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;

namespace {
belay::task<int> one() { co_return 1; }
}
TEST_CASE("all: no task, gives an empty result at once [row 176]") {
  belay::testing::test_loop loop;
  CHECK(loop.run(belay::all(std::vector<belay::task<int>>())).empty());
  CHECK(loop.run(belay::all(one(), one())) == std::tuple(1, 1));
}
