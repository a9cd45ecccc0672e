// SPDX-License-Identifier: Apache-2.0
// How long the drivers take: a scenario of 100 awaits, each cancelled, failed, and cancelled and failed again during cleanup.

#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/everywhere.hpp>
#include <benchmark/benchmark.h>

#include <cstdlib>

namespace {

using namespace std::chrono_literals;
using belay::task;
using belay::testing::stage;

// Opens and closes with one await each.
belay::managed<int> session(belay::semaphore& pool) {
  const belay::permit mine = co_await pool.acquire();
  int number = 1;
  co_yield number;
  co_await belay::sleep_for(1ms);
}

task<> one_request(belay::semaphore& pool) {
  co_await belay::with(session(pool), [](int&) -> task<> {
    co_await belay::sleep_for(10ms);
    co_await belay::yield();
  });
}

// 16 requests of six awaits, by two tasks, and the awaits around them: 102.
task<> two_clients(stage& s) {
  auto& pool = s.make<belay::semaphore>(1u, "pool");
  co_await belay::with_group([&pool](belay::group& g) -> task<> {
    const auto client = [](belay::semaphore& of) -> task<> {
      for (int i = 0; i < 8; ++i) co_await one_request(of);
    };
    g.spawn(client, std::ref(pool));
    co_await client(pool);
  });
}

void drive_100_awaits(benchmark::State& state) {
  std::size_t awaits = 0;
  std::size_t runs = 0;
  for (auto _ : state) {
    const belay::testing::report found = belay::testing::everywhere(two_clients);
    if (!found.ok()) {
      state.SkipWithError(found.text().c_str());
      return;
    }
    awaits = found.awaits;
    runs = found.runs;
  }
  state.counters["awaits"] = static_cast<double>(awaits);
  state.counters["runs"] = static_cast<double>(runs);
}
BENCHMARK(drive_100_awaits)->Unit(benchmark::kMillisecond);

void explore_1000_schedules(benchmark::State& state) {
  for (auto _ : state) {
    const belay::testing::report found = belay::testing::explore(two_clients, 1000);
    if (!found.ok()) {
      state.SkipWithError(found.text().c_str());
      return;
    }
  }
}
BENCHMARK(explore_1000_schedules)->Unit(benchmark::kMillisecond);

}  // namespace
