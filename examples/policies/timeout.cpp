// SPDX-License-Identifier: Apache-2.0
// A limit for each attempt and one for all of them. The page docs/policies/timeout.md.
//   ./timeout     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>

using namespace std::chrono_literals;

// Hangs the first time.
belay::task<int> fetch(int& calls) {
  if (++calls == 1) co_await belay::sleep_for(1h);
  co_return 42;
}

// [snippet timeout]
const belay::pipeline guarded{
    belay::timeout{10s},  // all attempts, and the waiting between them
    belay::retry{{.delay = belay::backoff::constant(1ms)}}, belay::timeout{20ms},  // one attempt
};

belay::task<int> program() {
  int calls = 0;
  const int answer = co_await guarded(fetch, std::ref(calls));
  std::printf("%d, in attempt %d\n", answer, calls);
  co_return 0;
}
// [end]

int main() { return belay::run(program()); }
