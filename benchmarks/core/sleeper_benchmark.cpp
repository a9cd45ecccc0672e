// SPDX-License-Identifier: Apache-2.0
// 100,000 sleeping tasks: what they take in memory, and what it costs to start and to cancel all of them.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <deque>

#include "measure.hpp"

namespace bench {
namespace {

using std::chrono::hours;
constexpr int sleepers = 100'000;

// Times are per sleeper, and CPU time: the first round, which gets the memory, is not timed.
struct round_figures {
  double start_seconds = 0;
  double cancel_seconds = 0;
  double bytes = 0;
  double start_allocations = 0;
  double cancel_allocations = 0;
};

void report(benchmark::State& state, const round_figures& first, const round_figures& timed) {
  const double rounds = static_cast<double>(state.iterations());
  state.counters["bytes/sleeper"] = first.bytes / sleepers;
  state.counters["allocs/start_cold"] = first.start_allocations / sleepers;
  state.counters["allocs/start"] = timed.start_allocations / rounds / sleepers;
  state.counters["allocs/cancel"] = timed.cancel_allocations / rounds / sleepers;
  state.counters["start_ns"] = 1e9 * timed.start_seconds / rounds / sleepers;
}

void add(benchmark::State& state, round_figures& sum, const round_figures& one) {
  state.SetIterationTime(one.cancel_seconds / sleepers);
  sum.start_seconds += one.start_seconds;
  sum.start_allocations += one.start_allocations;
  sum.cancel_allocations += one.cancel_allocations;
}

// The length differs from task to task, as it does in a service.
std::chrono::milliseconds nap(int i) { return hours(1) + std::chrono::milliseconds(i * 7919 % 60'000); }

[[gnu::noinline]] belay::task<> belay_sleeper(int i) { co_await belay::sleep_for(nap(i)); }

belay::task<round_figures> belay_round() {
  round_figures figures;
  double cancel_began = 0;
  const allocations before = allocations::now();
  allocations asleep;
  const double began = cpu_seconds();
  co_await belay::with_group([&](belay::group& tasks) -> belay::task<> {
    for (int i = 0; i < sleepers; ++i) tasks.spawn(belay_sleeper, i);
    co_await belay::yield();  // all of them are asleep afterwards
    asleep = allocations::now();
    cancel_began = cpu_seconds();
    tasks.cancel();
  });
  figures.cancel_seconds = cpu_seconds() - cancel_began;
  figures.start_seconds = cancel_began - began;
  figures.bytes = static_cast<double>(asleep.live_bytes - before.live_bytes);
  figures.start_allocations = static_cast<double>(asleep.calls - before.calls);
  figures.cancel_allocations = static_cast<double>(allocations::now().calls - asleep.calls);
  co_return figures;
}

belay::task<> belay_sleepers(benchmark::State& state) {
  const round_figures first = co_await belay_round();
  round_figures sum;
  for (auto _ : state) add(state, sum, co_await belay_round());
  report(state, first, sum);
}

[[gnu::noinline]] asio_task<> asio_sleeper(int i) {
  using timer =
      boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                        boost::asio::wait_traits<std::chrono::steady_clock>, asio_executor>;
  timer sleep(co_await boost::asio::this_coro::executor, nap(i));
  co_await sleep.async_wait(use_asio_task);
}

asio_task<round_figures> asio_round() {
  const auto here = co_await boost::asio::this_coro::executor;
  round_figures figures;
  const allocations before = allocations::now();
  const double began = cpu_seconds();
  int left = sleepers;
  std::deque<boost::asio::cancellation_signal> signals(sleepers);
  for (int i = 0; i < sleepers; ++i) {
    boost::asio::co_spawn(here, asio_sleeper(i),
                          boost::asio::bind_cancellation_slot(signals[static_cast<std::size_t>(i)].slot(),
                                                              [&left](std::exception_ptr) { --left; }));
  }
  co_await boost::asio::post(here, use_asio_task);
  const allocations asleep = allocations::now();
  const double cancel_began = cpu_seconds();
  for (auto& one : signals) one.emit(boost::asio::cancellation_type::terminal);
  while (left != 0) co_await boost::asio::post(here, use_asio_task);
  figures.cancel_seconds = cpu_seconds() - cancel_began;
  figures.start_seconds = cancel_began - began;
  figures.bytes = static_cast<double>(asleep.live_bytes - before.live_bytes);
  figures.start_allocations = static_cast<double>(asleep.calls - before.calls);
  figures.cancel_allocations = static_cast<double>(allocations::now().calls - asleep.calls);
  co_return figures;
}

asio_task<> asio_sleepers(benchmark::State& state) {
  const round_figures first = co_await asio_round();
  round_figures sum;
  for (auto _ : state) add(state, sum, co_await asio_round());
  report(state, first, sum);
}

BENCHMARK(on_belay<belay_sleepers>)->Name("cancel_sleeper/belay")->UseManualTime()->Iterations(20);
BENCHMARK(on_asio<asio_sleepers>)->Name("cancel_sleeper/asio")->UseManualTime()->Iterations(3);

}  // namespace
}  // namespace bench
