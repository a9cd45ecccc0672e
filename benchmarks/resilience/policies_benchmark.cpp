// SPDX-License-Identifier: Apache-2.0
// What a policy costs when nothing goes wrong, beside the bare call: a child that is ready at once.

#include <belay/core/timeout.hpp>
#include <belay/resilience/adaptive_limiter.hpp>
#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/cache.hpp>
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/hedge.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>

#include "../core/measure.hpp"

namespace bench {
namespace {

using std::chrono::seconds;

[[gnu::noinline]] belay::task<int> ready(int value) { co_return value; }

belay::task<> measure(benchmark::State& state, const auto& guarded) {
  benchmark::DoNotOptimize(co_await guarded(ready, 1));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await guarded(ready, 1));
  meter.report(state);
}

// Does nothing: what the frame of any policy costs.
class through : public belay::policy<through> {
 public:
  template <belay::guarded_operation Next>
  belay::task<belay::guarded_result<Next>> run(Next next) const {
    auto how = co_await belay::detail::attempt(next);
    if (!how.succeeded()) co_await belay::detail::end_with(how);
    co_return how.get_forward();
  }
  [[nodiscard]] std::string_view name() const noexcept { return "through"; }
  [[nodiscard]] std::string describe() const { return "through"; }
};

belay::task<> bare(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await ready(1));
  meter.report(state);
}
belay::task<> with_timeout(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await belay::with_timeout(seconds(1), ready(1)));
  meter.report(state);
}
belay::task<> nothing(benchmark::State& state) { co_await measure(state, through()); }
belay::task<> timeout(benchmark::State& state) { co_await measure(state, belay::timeout{seconds(1)}); }
belay::task<> retry(benchmark::State& state) { co_await measure(state, belay::retry{}); }
belay::task<> retry_with_budget(benchmark::State& state) {
  co_await measure(state, belay::retry{{.budget = belay::retry_budget()}});
}
belay::task<> retry_on_value(benchmark::State& state) {
  co_await measure(state, belay::retry{}.on_value([](int value) { return value == 0; }));
}
belay::task<> retry_with_listener(benchmark::State& state) {
  co_await measure(state, belay::retry{{.listener = [](const belay::policy_event&) {}}});
}
belay::task<> fallback(benchmark::State& state) { co_await measure(state, belay::fallback{7}); }
belay::task<> chaos_off(benchmark::State& state) {
  co_await measure(state, belay::chaos{{.error_rate = 0.5}});
}
belay::task<> circuit_breaker(benchmark::State& state) { co_await measure(state, belay::circuit_breaker()); }
belay::task<> breaker_by_rate(benchmark::State& state) {
  co_await measure(state, belay::circuit_breaker({.failure_rate = 0.5}));
}
belay::task<> bulkhead(benchmark::State& state) { co_await measure(state, belay::bulkhead()); }
belay::task<> rate_limiter(benchmark::State& state) {
  co_await measure(state,
                   belay::rate_limiter({.permits = 10'000'000, .per = seconds(1), .burst = 1'000'000'000}));
}
belay::task<> adaptive_limiter(benchmark::State& state) {
  co_await measure(state, belay::adaptive_limiter());
}
belay::task<> hedge(benchmark::State& state) {
  const belay::hedge twice({.delay = seconds(1)});
  benchmark::DoNotOptimize(co_await twice(belay::repeatable(ready, 1)));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await twice(belay::repeatable(ready, 1)));
  meter.report(state);
}
belay::task<> typical(benchmark::State& state) {
  co_await measure(state,
                   belay::pipeline{belay::timeout{seconds(10)}, belay::retry{}, belay::circuit_breaker(),
                                   belay::timeout{seconds(1)}, belay::bulkhead()});
}
belay::task<> three(benchmark::State& state) {
  co_await measure(state, belay::pipeline{belay::fallback{7}, belay::retry{}, belay::timeout{seconds(1)}});
}
belay::task<> five(benchmark::State& state) {
  co_await measure(state, belay::pipeline{belay::fallback{7}, belay::timeout{seconds(10)}, belay::retry{},
                                          belay::timeout{seconds(1)}, belay::chaos{{.error_rate = 0.5}}});
}
belay::task<> five_nothings(benchmark::State& state) {
  co_await measure(state, belay::pipeline{through(), through(), through(), through(), through()});
}
belay::task<> cache_hit(benchmark::State& state) {
  belay::cache<int, int> values([](const int& key) -> belay::task<int> { co_return key; },
                                {.fresh_for = std::chrono::hours(1)});
  benchmark::DoNotOptimize(co_await values.call(1));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await values.call(1));
  meter.report(state);
}

BENCHMARK(on_belay<bare>)->Name("bare_call");
BENCHMARK(on_belay<with_timeout>)->Name("with_timeout");
BENCHMARK(on_belay<nothing>)->Name("policy/nothing");
BENCHMARK(on_belay<timeout>)->Name("policy/timeout");
BENCHMARK(on_belay<retry>)->Name("policy/retry");
BENCHMARK(on_belay<retry_with_budget>)->Name("policy/retry_with_budget");
BENCHMARK(on_belay<retry_on_value>)->Name("policy/retry_on_value");
BENCHMARK(on_belay<retry_with_listener>)->Name("policy/retry_with_listener");
BENCHMARK(on_belay<fallback>)->Name("policy/fallback");
BENCHMARK(on_belay<chaos_off>)->Name("policy/chaos_off");
BENCHMARK(on_belay<circuit_breaker>)->Name("policy/circuit_breaker");
BENCHMARK(on_belay<breaker_by_rate>)->Name("policy/circuit_breaker_by_rate");
BENCHMARK(on_belay<bulkhead>)->Name("policy/bulkhead");
BENCHMARK(on_belay<rate_limiter>)->Name("policy/rate_limiter");
BENCHMARK(on_belay<adaptive_limiter>)->Name("policy/adaptive_limiter");
BENCHMARK(on_belay<hedge>)->Name("policy/hedge");
BENCHMARK(on_belay<typical>)->Name("pipeline/typical");
BENCHMARK(on_belay<three>)->Name("pipeline/three");
BENCHMARK(on_belay<five>)->Name("pipeline/five");
BENCHMARK(on_belay<five_nothings>)->Name("pipeline/five_nothings");
BENCHMARK(on_belay<cache_hit>)->Name("cache/hit");

}  // namespace
}  // namespace bench
