// SPDX-License-Identifier: Apache-2.0
// The three most frequent steps: awaiting a child that completes at once, giving up the turn, spawning and
// joining.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "measure.hpp"

namespace bench {
namespace {

// noinline: a frame that is elided into its awaiter would measure nothing.
[[gnu::noinline]] belay::task<int> belay_child(int value) { co_return value; }
[[gnu::noinline]] asio_task<int> asio_child(int value) { co_return value; }

belay::task<> belay_ready_child(benchmark::State& state) {
  benchmark::DoNotOptimize(co_await belay_child(1));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await belay_child(1));
  meter.report(state);
}
asio_task<> asio_ready_child(benchmark::State& state) {
  benchmark::DoNotOptimize(co_await asio_child(1));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await asio_child(1));
  meter.report(state);
}

belay::task<> belay_yield(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) co_await belay::yield();
  meter.report(state);
}
asio_task<> asio_yield(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  const allocation_meter meter;
  for (auto _ : state) co_await boost::asio::post(here, use_asio_task);
  meter.report(state);
}

belay::task<> belay_spawn_join(benchmark::State& state) {
  co_await belay::with_group([&state](belay::group& tasks) -> belay::task<> {
    {
      belay::child<int> first = tasks.spawn(belay_child, 1);
      co_await first;
    }
    const allocation_meter meter;
    for (auto _ : state) {
      belay::child<int> spawned = tasks.spawn(belay_child, 1);
      benchmark::DoNotOptimize(co_await spawned);
    }
    meter.report(state);
  });
}
asio_task<> asio_spawn_join(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  benchmark::DoNotOptimize(co_await boost::asio::co_spawn(here, asio_child(1), use_asio_task));
  const allocation_meter meter;
  for (auto _ : state) {
    benchmark::DoNotOptimize(co_await boost::asio::co_spawn(here, asio_child(1), use_asio_task));
  }
  meter.report(state);
}

// The way one spawns many: start a batch, then wait for all of it.
constexpr int batch = 1000;
belay::task<> belay_spawn_batch(benchmark::State& state) {
  const auto one_batch = [](belay::group& tasks) -> belay::task<> {
    for (int i = 0; i < batch; ++i) tasks.spawn(belay_child, i);
    co_return;
  };
  co_await belay::with_group(one_batch);
  const allocation_meter meter;
  while (state.KeepRunningBatch(batch)) co_await belay::with_group(one_batch);
  meter.report(state);
}
asio_task<> asio_spawn_batch(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  int left = 0;
  const auto one_batch = [&] {
    left = batch;
    for (int i = 0; i < batch; ++i) {
      boost::asio::co_spawn(here, asio_child(i), [&left](std::exception_ptr, int) { --left; });
    }
  };
  one_batch();
  while (left != 0) co_await boost::asio::post(here, use_asio_task);
  const allocation_meter meter;
  while (state.KeepRunningBatch(batch)) {
    one_batch();
    while (left != 0) co_await boost::asio::post(here, use_asio_task);
  }
  meter.report(state);
}

BENCHMARK(on_belay<belay_ready_child>)->Name("ready_child/belay");
BENCHMARK(on_asio<asio_ready_child>)->Name("ready_child/asio");
BENCHMARK(on_belay<belay_yield>)->Name("yield/belay");
BENCHMARK(on_asio<asio_yield>)->Name("yield/asio");
BENCHMARK(on_belay<belay_spawn_join>)->Name("spawn_join/belay");
BENCHMARK(on_asio<asio_spawn_join>)->Name("spawn_join/asio");
BENCHMARK(on_belay<belay_spawn_batch>)->Name("spawn_1000_join/belay");
BENCHMARK(on_asio<asio_spawn_batch>)->Name("spawn_1000_join/asio");

}  // namespace
}  // namespace bench
