// SPDX-License-Identifier: Apache-2.0
// What needs many: ten million children, failures a hundred thousand deep.

#include <belay/core/error.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

constexpr int levels = 100'000;

b::failure make(std::string words) { return b::failure::of(std::make_exception_ptr(boom(words))); }

b::task<> throws_deep_down(int n, bool wait) {
  if (n > 0) {
    co_await throws_deep_down(n - 1, wait);
  } else {
    if (wait) co_await b::yield();
    throw boom("deep down");
  }
}

}  // namespace

TEST_CASE("task: ten million children that complete at once do not grow the stack [row 30]") {
  b::testing::test_loop loop;
  auto child = [](std::uintptr_t& lowest) -> b::task<int> {
    lowest = std::min(lowest, stack_address());
    co_return 1;
  };
  auto sum = [](auto& call, long count, std::uintptr_t& lowest) -> b::task<long> {
    long total = 0;
    co_await call(lowest);
    const std::uintptr_t first = lowest;
    for (long i = 0; i < count; ++i) total += co_await call(lowest);
    CHECK(lowest == first);
    co_return total;
  };
  std::uintptr_t lowest = UINTPTR_MAX;
  CHECK(loop.run(sum(child, 10'000'000, lowest)) == 10'000'000);
}

TEST_CASE("task: a chain 100,000 deep, fails by a throw [row 30]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(throws_deep_down(levels, false)), boom);
  CHECK_THROWS_AS(loop.run(throws_deep_down(levels, true)), boom);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("failure: a hundred thousand attached: added, listed and destroyed in no time [row 30]") {
  b::failure first = make("first");
  first.observe();
  for (int i = 0; i < 100'000; ++i) first.attach(make("n"));
  CHECK(first.attached().size() == 100'000);
  CHECK(first.flatten().size() == 100'001);
  CHECK(b::describe(first).size() < 10'000);
}

TEST_CASE(
    "failure: a hundred thousand deep, by attaching and by replacing: listed and destroyed without recursion [row 30]") {
  b::failure deep = make("deepest");
  deep.observe();
  for (int i = 0; i < 100'000; ++i) {
    b::failure outer = make("n");
    outer.observe();
    outer.attach(std::move(deep));
    deep = std::move(outer);
  }
  CHECK(deep.flatten().size() == 100'001);
  CHECK(b::describe(deep).size() < 10'000);
  deep = {};

  std::exception_ptr latest = std::make_exception_ptr(b::error("deepest"));
  for (int i = 0; i < 20'000; ++i) {
    try {
      std::rethrow_exception(latest);
    } catch (const b::error&) {
      latest = std::make_exception_ptr(b::error("n"));
    }
  }
  const b::failure chain = b::failure::of(std::move(latest));
  chain.observe();
  CHECK(chain.flatten().size() == 20'001);
}
