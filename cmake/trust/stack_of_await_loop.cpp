// SPDX-License-Identifier: Apache-2.0
// Finds: co_await of children that finish at once must leave the stack as it was, without optimisation and under
// sanitizers too. A compiler that nests them overflows an 8 MiB stack within this loop.

#include "probe.hpp"

namespace trust {
namespace {

task<int> sum_of_ones(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await give(1);
  co_return sum;
}

}  // namespace

const char* stack_of_await_loop() {
  constexpr int count = 300'000;
  return sum_of_ones(count).run(-1) == count ? nullptr : "the loop lost a child's result";
}

}  // namespace trust
