// SPDX-License-Identifier: Apache-2.0
// The one slow answer of a hundred is overtaken by a second run. The page docs/policies/hedge.md.
//   ./hedge     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/hedge.hpp>

#include <cstdio>

using namespace std::chrono_literals;

// The first run has bad luck.
belay::task<int> lookup(int& runs) {
  const int mine = ++runs;
  if (mine == 1) co_await belay::sleep_for(1h);
  co_return mine;
}

// [snippet hedge]
const belay::hedge hedged({.name = "lookup", .delay = 5ms, .budget = 0.1});

belay::task<int> twice_if_slow(int& runs) {
  co_return co_await hedged(belay::repeatable(lookup, std::ref(runs)));  // may run twice: it only reads
}
// [end]

// [snippet percentile]
// After 20 calls: what 95 % of the latest 200 calls have taken.
const belay::hedge by_percentile({.percentile = 0.95});
// [end]

belay::task<> program() {
  int runs = 0;
  std::printf("the answer of run %d\n", co_await twice_if_slow(runs));
  std::printf("%s\n%s\n", hedged.describe().c_str(), by_percentile.describe().c_str());
}

int main() { return belay::run(program()); }
