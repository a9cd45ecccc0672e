// SPDX-License-Identifier: Apache-2.0
// The price of a time limit that is not reached, around a child that yields once.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>

#include "measure.hpp"

namespace bench {
namespace {

using std::chrono::seconds;
using asio_timer =
    boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                      boost::asio::wait_traits<std::chrono::steady_clock>, asio_executor>;

[[gnu::noinline]] belay::task<int> belay_yields_once(int value) {
  co_await belay::yield();
  co_return value;
}
[[gnu::noinline]] asio_task<int> asio_yields_once(int value) {
  co_await boost::asio::post(co_await boost::asio::this_coro::executor, use_asio_task);
  co_return value;
}

belay::task<> belay_unbounded(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await belay_yields_once(1));
  meter.report(state);
}
belay::task<> belay_timeout(benchmark::State& state) {
  benchmark::DoNotOptimize(co_await belay::with_timeout(seconds(1), belay_yields_once(1)));
  const allocation_meter meter;
  for (auto _ : state)
    benchmark::DoNotOptimize(co_await belay::with_timeout(seconds(1), belay_yields_once(1)));
  meter.report(state);
}

asio_task<> asio_unbounded(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await asio_yields_once(1));
  meter.report(state);
}
asio_task<> asio_operator(benchmark::State& state) {
  using namespace boost::asio::experimental::awaitable_operators;
  const auto here = co_await boost::asio::this_coro::executor;
  const allocation_meter meter;
  for (auto _ : state) {
    asio_timer limit(here, seconds(1));
    const auto first = co_await (asio_yields_once(1) || limit.async_wait(use_asio_task));
    benchmark::DoNotOptimize(std::get<0>(first));
  }
  meter.report(state);
}
asio_task<> asio_parallel_group(benchmark::State& state) {
  namespace experimental = boost::asio::experimental;
  const auto here = co_await boost::asio::this_coro::executor;
  const allocation_meter meter;
  for (auto _ : state) {
    asio_timer limit(here, seconds(1));
    const auto ended = co_await experimental::make_parallel_group(
                           boost::asio::co_spawn(here, asio_yields_once(1), experimental::deferred),
                           limit.async_wait(experimental::deferred))
                           .async_wait(experimental::wait_for_one(), use_asio_task);
    benchmark::DoNotOptimize(std::get<2>(ended));
  }
  meter.report(state);
}

BENCHMARK(on_belay<belay_unbounded>)->Name("no_timeout/belay");
BENCHMARK(on_asio<asio_unbounded>)->Name("no_timeout/asio");
BENCHMARK(on_belay<belay_timeout>)->Name("with_timeout/belay");
BENCHMARK(on_asio<asio_operator>)->Name("with_timeout/asio_operator");
BENCHMARK(on_asio<asio_parallel_group>)->Name("with_timeout/asio_parallel_group");

}  // namespace
}  // namespace bench
