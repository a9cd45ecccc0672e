// SPDX-License-Identifier: Apache-2.0
// Two tasks that wake each other in turn: by events, and by an item that goes through two channels and back.

#include <belay/core/channel.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/experimental/channel_error.hpp>

#include "measure.hpp"

namespace bench {
namespace {

// One step is a round trip: there and back, two switches.

belay::task<> belay_returns(belay::event& ball, belay::event& answer, const bool& over) {
  while (!over) {
    co_await ball.wait();
    ball.reset();
    answer.set();
  }
}
belay::task<> belay_events(benchmark::State& state) {
  belay::event ball;
  belay::event answer;
  bool over = false;
  co_await belay::with_group([&](belay::group& players) -> belay::task<> {
    players.spawn(belay_returns, std::ref(ball), std::ref(answer), std::cref(over));
    const allocation_meter meter;
    for (auto _ : state) {
      ball.set();
      co_await answer.wait();
      answer.reset();
    }
    meter.report(state);
    over = true;
    ball.set();
  });
}

belay::task<> belay_echoes(belay::channel<int>& in, belay::channel<int>& out) {
  while (auto item = co_await in.receive()) co_await out.send(*item);
}
belay::task<> belay_channels(benchmark::State& state) {
  const auto capacity = static_cast<std::size_t>(state.range(0));
  belay::channel<int> there(capacity);
  belay::channel<int> back(capacity);
  co_await belay::with_group([&](belay::group& players) -> belay::task<> {
    players.spawn(belay_echoes, std::ref(there), std::ref(back));
    const allocation_meter meter;
    for (auto _ : state) {
      co_await there.send(1);
      benchmark::DoNotOptimize(co_await back.receive());
    }
    meter.report(state);
    there.close();
  });
}

using asio_channel =
    boost::asio::experimental::basic_channel<asio_executor, boost::asio::experimental::channel_traits<>,
                                             void(boost::system::error_code, int)>;
asio_task<> asio_echoes(asio_channel& in, asio_channel& out) {
  for (;;) {
    const int item = co_await in.async_receive(use_asio_task);
    if (item < 0) co_return;
    co_await out.async_send({}, item, use_asio_task);
  }
}
asio_task<> asio_channels(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  const auto capacity = static_cast<std::size_t>(state.range(0));
  asio_channel there(here, capacity);
  asio_channel back(here, capacity);
  bool over = false;
  boost::asio::co_spawn(here, asio_echoes(there, back), [&over](std::exception_ptr) { over = true; });
  const allocation_meter meter;
  for (auto _ : state) {
    co_await there.async_send({}, 1, use_asio_task);
    benchmark::DoNotOptimize(co_await back.async_receive(use_asio_task));
  }
  meter.report(state);
  co_await there.async_send({}, -1, use_asio_task);
  while (!over) co_await boost::asio::post(here, use_asio_task);
}

BENCHMARK(on_belay<belay_events>)->Name("ping_pong_events/belay");
BENCHMARK(on_belay<belay_channels>)->Name("ping_pong_channels/belay")->Arg(0)->Arg(1);
BENCHMARK(on_asio<asio_channels>)->Name("ping_pong_channels/asio")->Arg(0)->Arg(1);

}  // namespace
}  // namespace bench
