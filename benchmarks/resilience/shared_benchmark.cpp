// SPDX-License-Identifier: Apache-2.0
// What it costs to be let in and to be counted: by the breakers and limiters of one loop, and by those of all loops.

#include <belay/core/sleep.hpp>
#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_circuit_breaker.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>

#include "../core/measure.hpp"

namespace {

namespace b = belay;
using namespace std::chrono_literals;

template <class Breaker>
void breaker_pass(benchmark::State& state) {
  const Breaker breaker;
  for (auto step : state) {
    auto pass = breaker.try_admit();
    pass.succeeded();
  }
}
template <class Breaker>
void breaker_pass_by_rate(benchmark::State& state) {
  const Breaker breaker({.consecutive_failures = 0, .failure_rate = 0.5});
  for (auto step : state) {
    auto pass = breaker.try_admit();
    pass.succeeded();
  }
}
template <class Limiter>
void limiter_enter(benchmark::State& state) {
  const Limiter limiter({.permits = 10'000'000, .per = 1s, .burst = 1'000'000'000});
  for (auto step : state) benchmark::DoNotOptimize(limiter.try_enter());
}
void clock_alone(benchmark::State& state) {
  for (auto step : state) benchmark::DoNotOptimize(b::now());
}
void bulkhead_place(benchmark::State& state) {
  const b::bulkhead in({.most_running = 2});
  for (auto step : state) benchmark::DoNotOptimize(static_cast<bool>(in.try_enter()));
}

// A whole call, with a task, beside the bare one.
[[gnu::noinline]] b::task<int> work() { co_return 1; }
b::task<> bare_call(benchmark::State& state) {
  for (auto step : state) benchmark::DoNotOptimize(co_await work());
}
template <class Policy>
b::task<> call_through(benchmark::State& state) {
  const Policy through;
  for (auto step : state) benchmark::DoNotOptimize(co_await through(work));
}

BENCHMARK(breaker_pass<b::circuit_breaker>);
BENCHMARK(breaker_pass<b::shared_circuit_breaker>);
BENCHMARK(breaker_pass_by_rate<b::circuit_breaker>);
BENCHMARK(breaker_pass_by_rate<b::shared_circuit_breaker>);
BENCHMARK(clock_alone);
BENCHMARK(limiter_enter<b::rate_limiter>);
BENCHMARK(limiter_enter<b::shared_rate_limiter>);
BENCHMARK(bulkhead_place);
BENCHMARK(bench::on_belay<bare_call>);
BENCHMARK(bench::on_belay<call_through<b::circuit_breaker>>);
BENCHMARK(bench::on_belay<call_through<b::shared_circuit_breaker>>);
BENCHMARK(bench::on_belay<call_through<b::bulkhead>>);

}  // namespace
