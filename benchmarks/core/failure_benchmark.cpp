// SPDX-License-Identifier: Apache-2.0
// An error that crosses 1, 8 or 32 awaiting frames: thrown, and passed on without a throw.

#include <belay/core/task.hpp>
#include <stdexcept>
#include <system_error>
#include <variant>

#include "measure.hpp"

namespace bench {
namespace {

// What the machine itself needs: a throw through plain function frames.
[[gnu::noinline]] int plain_throw(int depth) {
  if (depth == 1) throw std::runtime_error("no such user");
  const int below = plain_throw(depth - 1);
  benchmark::DoNotOptimize(below);
  return below;
}
void plain_throws(benchmark::State& state) {
  const auto depth = static_cast<int>(state.range(0));
  const allocation_meter meter;
  for (auto _ : state) {
    try {
      benchmark::DoNotOptimize(plain_throw(depth));
    } catch (const std::runtime_error& e) {
      benchmark::DoNotOptimize(&e);
    }
  }
  meter.report(state);
}

[[gnu::noinline]] belay::task<int> belay_throw(int depth) {
  if (depth == 1) throw std::runtime_error("no such user");
  co_return co_await belay_throw(depth - 1);
}
[[gnu::noinline]] asio_task<int> asio_throw(int depth) {
  if (depth == 1) throw std::runtime_error("no such user");
  co_return co_await asio_throw(depth - 1);
}

template <class Task, auto Thrower>
Task catch_all_throws(benchmark::State& state) {
  const auto depth = static_cast<int>(state.range(0));
  const allocation_meter meter;
  for (auto _ : state) {
    try {
      benchmark::DoNotOptimize(co_await Thrower(depth));
    } catch (const std::runtime_error& e) {
      benchmark::DoNotOptimize(&e);
    }
  }
  meter.report(state);
}

[[gnu::noinline]] belay::task<int> belay_fail(int depth) {
  if (depth > 1) co_return co_await belay::or_fail(belay_fail(depth - 1));
  co_await belay::fail(std::runtime_error("no such user"));
  co_return 0;
}
belay::task<> belay_fails(benchmark::State& state) {
  const auto depth = static_cast<int>(state.range(0));
  const allocation_meter meter;
  for (auto _ : state) {
    const belay::outcome<int> how = co_await belay::as_outcome(belay_fail(depth));
    benchmark::DoNotOptimize(how.failure());
  }
  meter.report(state);
}

// Asio has nothing of the kind; what its users do by hand is to return a code and look at it in each frame.
using value_or_code = std::variant<int, std::error_code>;
[[gnu::noinline]] asio_task<value_or_code> asio_fail(int depth) {
  if (depth == 1) co_return std::make_error_code(std::errc::no_such_file_or_directory);
  const value_or_code below = co_await asio_fail(depth - 1);
  if (below.index() == 1) co_return std::get<1>(below);
  co_return std::get<0>(below);
}
asio_task<> asio_fails(benchmark::State& state) {
  const auto depth = static_cast<int>(state.range(0));
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await asio_fail(depth));
  meter.report(state);
}

BENCHMARK(plain_throws)->Name("throw/plain_functions")->Arg(1)->Arg(8)->Arg(32);
BENCHMARK(on_belay<catch_all_throws<belay::task<>, belay_throw>>)
    ->Name("throw/belay")
    ->Arg(1)
    ->Arg(8)
    ->Arg(32);
BENCHMARK(on_asio<catch_all_throws<asio_task<>, asio_throw>>)->Name("throw/asio")->Arg(1)->Arg(8)->Arg(32);
BENCHMARK(on_belay<belay_fails>)->Name("or_fail/belay")->Arg(1)->Arg(8)->Arg(32);
BENCHMARK(on_asio<asio_fails>)->Name("or_fail/asio_codes_by_hand")->Arg(1)->Arg(8)->Arg(32);

}  // namespace
}  // namespace bench
