// SPDX-License-Identifier: Apache-2.0
// A hundred callers, one load; then the value is kept. The page docs/policies/cache.md.
//   ./cache     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/cache.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

belay::task<double> fetch(std::string symbol) {
  co_await belay::sleep_for(1ms);
  std::printf("  fetched %s\n", symbol.c_str());
  co_return 12.5;
}

// [snippet cache]
const belay::pipeline guarded{belay::retry{}, belay::timeout{1s}};

belay::task<int> program() {
  belay::cache<std::string, double> quotes(
      [](const std::string& symbol) -> belay::task<double> { co_return co_await guarded(fetch, symbol); },
      {.fresh_for = 30s, .stale_for = 10min, .name = "quotes"});

  co_await belay::with_group([&](belay::group& g) -> belay::task<> {
    const auto reader = [](belay::cache<std::string, double>& from) -> belay::task<> {
      co_await from.call("ABC");
    };
    for (int i = 0; i < 100; ++i) g.spawn(reader, std::ref(quotes));
    co_return;
  });
  std::printf("%.1f\n", co_await quotes.call("ABC"));
  std::printf("%s\n", quotes.describe().c_str());
  co_return 0;
}
// [end]

int main() { return belay::run(program()); }
