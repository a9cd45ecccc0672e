// SPDX-License-Identifier: Apache-2.0
// Ten million children that complete at once.

#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

TEST_CASE("task: ten million children that complete at once do not grow the stack [row 30]") {
  b::testing::test_loop loop;
  auto child = [](std::uintptr_t& lowest) -> b::task<int> {
    lowest = std::min(lowest, stack_address());
    co_return 1;
  };
  auto sum = [](auto& call, long count, std::uintptr_t& lowest) -> b::task<long> {
    long total = 0;
    co_await call(lowest);
    const std::uintptr_t first = lowest;
    for (long i = 0; i < count; ++i) total += co_await call(lowest);
    CHECK(lowest == first);
    co_return total;
  };
  std::uintptr_t lowest = UINTPTR_MAX;
  CHECK(loop.run(sum(child, 10'000'000, lowest)) == 10'000'000);
}
