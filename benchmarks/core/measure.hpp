// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the benchmarks share: counted allocations, CPU time, and one way to run each library.

#include <belay/core/loop.hpp>
#include <belay/core/task.hpp>
#include <benchmark/benchmark.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <ctime>
#include <exception>

namespace bench {

// What malloc has been asked for by this thread. `live_bytes` counts what it really gave, with its header.
struct allocations {
  std::size_t calls = 0;
  std::size_t live_bytes = 0;

  [[nodiscard]] static allocations now() noexcept;
};

// Reports the calls of malloc per operation since its construction.
class allocation_meter {
 public:
  allocation_meter() noexcept : start_(allocations::now()) {}
  [[nodiscard]] double calls() const noexcept {
    return static_cast<double>(allocations::now().calls - start_.calls);
  }
  void report(benchmark::State& state) const {
    state.counters["allocs/op"] = calls() / static_cast<double>(state.iterations());
  }

 private:
  allocations start_;
};

// Seconds of CPU used by this process: other processes on the machine do not count.
[[nodiscard]] inline double cpu_seconds() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

// A benchmark whose loop over `state` is a task.
template <belay::task<> (*Body)(benchmark::State&)>
void on_belay(benchmark::State& state) {
  belay::loop loop;
  loop.run(Body(state));
}

// Asio as fast as it goes: a typed executor (no type erasure) and no locks.
using asio_executor = boost::asio::io_context::executor_type;
template <class T = void>
using asio_task = boost::asio::awaitable<T, asio_executor>;
inline constexpr boost::asio::use_awaitable_t<asio_executor> use_asio_task;

template <asio_task<> (*Body)(benchmark::State&)>
void on_asio(benchmark::State& state) {
  boost::asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  boost::asio::co_spawn(context, Body(state), [](std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
  });
  context.run();
}

}  // namespace bench
