// SPDX-License-Identifier: Apache-2.0
// Trouble on purpose, the same each time. The page docs/policies/chaos.md.
//   ./chaos     exit: 0
#include <belay/core/run.hpp>
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<int> fetch() { co_return 42; }

// [snippet chaos]
belay::task<int> program() {
  // In a service: chaos_switch::from_environment(), which is off unless BELAY_CHAOS says otherwise.
  const belay::chaos_switch trouble = belay::chaos_switch::on("this example");
  const belay::pipeline guarded{
      belay::retry{{.max_attempts = 10, .delay = belay::backoff::constant(1ms)}},
      belay::chaos{{.error_rate = 0.5, .seed = 7}, trouble},  // innermost: the retry sees the trouble
  };
  for (int i = 0; i < 100; ++i) co_await guarded(fetch);
  std::printf("%s\n", guarded.describe().c_str());
  std::printf("all of 100 succeeded, %s of the runs were made to fail\n",
              guarded.get<1>().statistics().failed > 50 ? "many" : "few");
  trouble.turn_off();
  std::printf("%s\n", guarded.get<1>().describe().c_str());
  co_return 0;
}
// [end]

int main() { return belay::run(program()); }
