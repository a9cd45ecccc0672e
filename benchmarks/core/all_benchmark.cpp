// SPDX-License-Identifier: Apache-2.0
// Three tasks at once, and all of their values.

#include <belay/core/all.hpp>
#include <belay/core/sleep.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "measure.hpp"

namespace bench {
namespace {

[[gnu::noinline]] belay::task<int> belay_yields_once(int value) {
  co_await belay::yield();
  co_return value;
}
[[gnu::noinline]] asio_task<int> asio_yields_once(int value) {
  co_await boost::asio::post(co_await boost::asio::this_coro::executor, use_asio_task);
  co_return value;
}

belay::task<> belay_all(benchmark::State& state) {
  benchmark::DoNotOptimize(
      co_await belay::all(belay_yields_once(1), belay_yields_once(2), belay_yields_once(3)));
  const allocation_meter meter;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        co_await belay::all(belay_yields_once(1), belay_yields_once(2), belay_yields_once(3)));
  }
  meter.report(state);
}

asio_task<> asio_operator(benchmark::State& state) {
  using namespace boost::asio::experimental::awaitable_operators;
  const allocation_meter meter;
  for (auto _ : state) {
    benchmark::DoNotOptimize(co_await (asio_yields_once(1) && asio_yields_once(2) && asio_yields_once(3)));
  }
  meter.report(state);
}
asio_task<> asio_parallel_group(benchmark::State& state) {
  namespace experimental = boost::asio::experimental;
  const auto here = co_await boost::asio::this_coro::executor;
  const allocation_meter meter;
  for (auto _ : state) {
    const auto ended = co_await experimental::make_parallel_group(
                           boost::asio::co_spawn(here, asio_yields_once(1), experimental::deferred),
                           boost::asio::co_spawn(here, asio_yields_once(2), experimental::deferred),
                           boost::asio::co_spawn(here, asio_yields_once(3), experimental::deferred))
                           .async_wait(experimental::wait_for_one_error(), use_asio_task);
    benchmark::DoNotOptimize(std::get<2>(ended));
  }
  meter.report(state);
}

BENCHMARK(on_belay<belay_all>)->Name("all_of_3/belay");
BENCHMARK(on_asio<asio_operator>)->Name("all_of_3/asio_operator");
BENCHMARK(on_asio<asio_parallel_group>)->Name("all_of_3/asio_parallel_group");

}  // namespace
}  // namespace bench
