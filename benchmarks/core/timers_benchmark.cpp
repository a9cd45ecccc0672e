// SPDX-License-Identifier: Apache-2.0
// A million timers in flight, of up to 100 ms, each set again when it has fired: CPU time for one of them.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cstdint>

#include "measure.hpp"

namespace bench {
namespace {

constexpr int sleepers = 1'000'000;
constexpr int naps = 4;  // of each sleeper, after the first, which is for getting the memory

// The same lengths for both: 0 to 100 ms in microseconds, in an order that no structure likes.
std::chrono::microseconds nap(std::uint32_t& seed) noexcept {
  seed = seed * 1'664'525u + 1'013'904'223u;
  return std::chrono::microseconds((seed >> 8) % 100'000);
}

struct race_course {
  int asleep = 0;  // those in their first nap
  double began = 0;

  void first_nap_over() noexcept {
    if (--asleep == 0) began = cpu_seconds();
  }
};

[[gnu::noinline]] belay::task<> belay_sleeper(race_course& course, std::uint32_t seed) {
  co_await belay::sleep_for(nap(seed));
  course.first_nap_over();
  for (int i = 0; i < naps; ++i) co_await belay::sleep_for(nap(seed));
}
belay::task<> belay_timers(benchmark::State& state) {
  for (auto _ : state) {
    race_course course{sleepers};
    co_await belay::with_group([&course](belay::group& all) -> belay::task<> {
      for (int i = 0; i < sleepers; ++i) {
        all.spawn(belay_sleeper, std::ref(course), static_cast<std::uint32_t>(i) * 2'654'435'761u);
      }
      co_return;
    });
    state.SetIterationTime((cpu_seconds() - course.began) / sleepers / naps);
  }
}

using asio_timer =
    boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                      boost::asio::wait_traits<std::chrono::steady_clock>, asio_executor>;
[[gnu::noinline]] asio_task<> asio_sleeper(race_course& course, int& left, std::uint32_t seed) {
  {
    asio_timer timer(co_await boost::asio::this_coro::executor);
    timer.expires_after(nap(seed));
    co_await timer.async_wait(use_asio_task);
    course.first_nap_over();
    for (int i = 0; i < naps; ++i) {
      timer.expires_after(nap(seed));
      co_await timer.async_wait(use_asio_task);
    }
  }
  --left;
}
asio_task<> asio_timers(benchmark::State& state) {
  const auto here = co_await boost::asio::this_coro::executor;
  for (auto _ : state) {
    race_course course{sleepers};
    int left = sleepers;
    for (int i = 0; i < sleepers; ++i) {
      boost::asio::co_spawn(here, asio_sleeper(course, left, static_cast<std::uint32_t>(i) * 2'654'435'761u),
                            [](std::exception_ptr) {});
    }
    asio_timer look(here);
    while (left != 0) {
      look.expires_after(std::chrono::milliseconds(1));
      co_await look.async_wait(use_asio_task);
    }
    state.SetIterationTime((cpu_seconds() - course.began) / sleepers / naps);
  }
}

BENCHMARK(on_belay<belay_timers>)->Name("million_timers/belay")->UseManualTime()->Iterations(1);
BENCHMARK(on_asio<asio_timers>)->Name("million_timers/asio")->UseManualTime()->Iterations(1);

}  // namespace
}  // namespace bench
