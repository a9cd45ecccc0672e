// SPDX-License-Identifier: Apache-2.0
// One request cancels a tree: ten branches, each ten groups deep, with a thousand sleeping leaves at its end. Time is for one leaf.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <vector>

#include "measure.hpp"

namespace bench {
namespace {

using std::chrono::hours;
constexpr int depth = 10;
constexpr int width = 10;
constexpr int leaves = 10'000;

[[gnu::noinline]] belay::task<> belay_leaf() { co_await belay::sleep_for(hours(1)); }
belay::task<> belay_branch(int level) {
  co_await belay::with_group([level](belay::group& below) -> belay::task<> {
    if (level < depth) {
      below.spawn(belay_branch, level + 1);
    } else {
      for (int i = 0; i < leaves / width; ++i) below.spawn(belay_leaf);
    }
    co_return;
  });
}
belay::task<> belay_tree(benchmark::State& state) {
  for (auto _ : state) {
    double began = 0;
    co_await belay::with_group([&began](belay::group& root) -> belay::task<> {
      for (int i = 0; i < width; ++i) root.spawn(belay_branch, 1);
      for (int i = 0; i < depth + 1; ++i) co_await belay::yield();  // all of them are asleep afterwards
      began = cpu_seconds();
      root.cancel();
    });
    state.SetIterationTime((cpu_seconds() - began) / leaves);
  }
}

using asio_timer =
    boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                      boost::asio::wait_traits<std::chrono::steady_clock>, asio_executor>;
[[gnu::noinline]] asio_task<> asio_leaf() {
  asio_timer sleep(co_await boost::asio::this_coro::executor, hours(1));
  co_await sleep.async_wait(use_asio_task);
}
// Asio's group of a number known at run time.
template <class Make>
asio_task<> asio_group(int members, Make make) {
  namespace experimental = boost::asio::experimental;
  const auto here = co_await boost::asio::this_coro::executor;
  using operation = decltype(boost::asio::co_spawn(here, make(), boost::asio::deferred));
  std::vector<operation> all;
  all.reserve(static_cast<std::size_t>(members));
  for (int i = 0; i < members; ++i) {
    all.push_back(boost::asio::co_spawn(here, make(), boost::asio::deferred));
  }
  co_await experimental::make_parallel_group(std::move(all))
      .async_wait(experimental::wait_for_all(), use_asio_task);
}
asio_task<> asio_branch(int level) {
  if (level < depth) {
    co_await asio_group(1, [level] { return asio_branch(level + 1); });
  } else {
    co_await asio_group(leaves / width, asio_leaf);
  }
}
asio_task<> asio_tree(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  for (auto _ : state) {
    bool over = false;
    boost::asio::cancellation_signal root;
    boost::asio::co_spawn(
        here, asio_group(width, [] { return asio_branch(1); }),
        boost::asio::bind_cancellation_slot(root.slot(), [&over](std::exception_ptr) { over = true; }));
    for (int i = 0; i < 1'000; ++i) co_await boost::asio::post(here, use_asio_task);
    const double began = cpu_seconds();
    root.emit(boost::asio::cancellation_type::terminal);
    while (!over) co_await boost::asio::post(here, use_asio_task);
    state.SetIterationTime((cpu_seconds() - began) / leaves);
  }
}

BENCHMARK(on_belay<belay_tree>)->Name("cancel_tree/belay")->UseManualTime()->Iterations(20);
BENCHMARK(on_asio<asio_tree>)->Name("cancel_tree/asio_parallel_group")->UseManualTime()->Iterations(3);

}  // namespace
}  // namespace bench
