// SPDX-License-Identifier: Apache-2.0
// One item after the other: a stream beside Asio's experimental generator, a channel, and a plain callback; and as_completed.

#include <belay/core/as_completed.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/stream.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/coro.hpp>
#include <boost/asio/experimental/use_coro.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <cstdint>
#include <optional>
#include <vector>

#include "measure.hpp"

namespace bench {
namespace {

[[gnu::noinline]] belay::stream<std::int64_t> belay_counts() {
  for (std::int64_t i = 0;; ++i) co_yield i;
}
[[gnu::noinline]] belay::stream<std::int64_t> belay_counts_between_turns() {
  for (std::int64_t i = 0;; ++i) {
    co_await belay::yield();
    co_yield i;
  }
}
template <belay::stream<std::int64_t> (*Make)()>
belay::task<> belay_stream(benchmark::State& state) {
  co_await belay::with(Make(), [&state](belay::open_stream<std::int64_t>& items) -> belay::task<> {
    static_cast<void>(co_await items.next());
    const allocation_meter meter;
    for (auto _ : state) benchmark::DoNotOptimize(*co_await items.next());
    meter.report(state);
  });
}
// To open one, take an item, and leave it.
belay::task<> belay_open_and_leave(benchmark::State& state) {
  const auto body = [](belay::open_stream<std::int64_t>& items) -> belay::task<> {
    benchmark::DoNotOptimize(*co_await items.next());
  };
  co_await belay::with(belay_counts(), body);
  const allocation_meter meter;
  for (auto _ : state) co_await belay::with(belay_counts(), body);
  meter.report(state);
}

namespace asio = boost::asio;

// The only generator that Asio has, and the only way to await it.
asio::experimental::coro<std::int64_t> asio_counts(asio::any_io_executor) {
  for (std::int64_t i = 0;; ++i) co_yield i;
}
void asio_coro(benchmark::State& state) {
  asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  asio::experimental::coro<std::int64_t> items = asio_counts(context.get_executor());
  const auto sum = [&items, &state](asio::any_io_executor) -> asio::experimental::coro<void> {
    static_cast<void>(co_await items);
    const allocation_meter meter;
    for (auto _ : state) benchmark::DoNotOptimize(*co_await items);
    meter.report(state);
  };
  asio::experimental::coro<void> sums = sum(context.get_executor());
  sums.async_resume([](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  });
  context.run();
}

// What most people write: a coroutine that sends into a channel, and another one that receives.
using asio_channel = asio::experimental::basic_channel<asio_executor, asio::experimental::channel_traits<>,
                                                       void(boost::system::error_code, std::int64_t)>;
asio_task<> asio_produces(asio_channel& into) {
  for (std::int64_t i = 0;; ++i) co_await into.async_send(boost::system::error_code(), i, use_asio_task);
}
asio_task<> asio_by_channel(benchmark::State& state) {
  const auto here = co_await asio::this_coro::executor;
  asio_channel items(here, 1);
  bool ended = false;
  asio::co_spawn(here, asio_produces(items), [&ended](std::exception_ptr) { ended = true; });
  benchmark::DoNotOptimize(co_await items.async_receive(use_asio_task));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await items.async_receive(use_asio_task));
  meter.report(state);
  items.close();
  items.cancel();
  while (!ended) co_await asio::post(here, use_asio_task);
}

// The floor: a function that calls another one for each item, through a pointer.
[[gnu::noinline]] void plain_counts(std::int64_t count, void (*each)(void*, std::int64_t), void* with) {
  benchmark::DoNotOptimize(each);  // not to be seen through
  for (std::int64_t i = 0; i < count; ++i) each(with, i);
}
void callback(benchmark::State& state) {
  constexpr std::int64_t batch = 1000;
  std::int64_t sum = 0;
  while (state.KeepRunningBatch(batch)) {
    plain_counts(batch, [](void* to, std::int64_t item) { *static_cast<std::int64_t*>(to) += item; }, &sum);
  }
  benchmark::DoNotOptimize(sum);
}

constexpr int batch = 1000;
[[gnu::noinline]] belay::task<int> belay_child(int value) { co_return value; }
belay::task<> belay_as_completed(benchmark::State& state) {
  const auto one_batch = []() -> belay::task<> {
    std::vector<belay::task<int>> work;
    work.reserve(batch);
    for (int i = 0; i < batch; ++i) work.push_back(belay_child(i));
    co_await belay::for_each(belay::as_completed(std::move(work)),
                             [](belay::completed<int>& item) { benchmark::DoNotOptimize(item.value()); });
  };
  co_await one_batch();
  const allocation_meter meter;
  while (state.KeepRunningBatch(batch)) co_await one_batch();
  meter.report(state);
}

BENCHMARK(on_belay<belay_stream<belay_counts>>)->Name("stream_item/belay");
BENCHMARK(asio_coro)->Name("stream_item/asio_experimental_coro");
BENCHMARK(on_asio<asio_by_channel>)->Name("stream_item/asio_channel");
BENCHMARK(callback)->Name("stream_item/callback");
BENCHMARK(on_belay<belay_stream<belay_counts_between_turns>>)->Name("stream_item_after_yield/belay");
BENCHMARK(on_belay<belay_open_and_leave>)->Name("stream_open_and_leave/belay");
BENCHMARK(on_belay<belay_as_completed>)->Name("as_completed_1000/belay");

}  // namespace
}  // namespace bench
