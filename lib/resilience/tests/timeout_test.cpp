// SPDX-License-Identifier: Apache-2.0
#include <belay/core/finally.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <limits>
#include <memory>

#include "driven.hpp"
#include "support.hpp"

namespace {

namespace b = belay;
namespace t = belay::testing;
using namespace core_tests;

TEST_CASE("timeout: a value in time, of every type") {
  t::test_loop loop;
  const auto program = []() -> b::task<> {
    const b::timeout limit{1s};
    CHECK(co_await limit(gives_after, 500ms, 7) == 7);
    co_await limit(naps, 500ms);
    int kept = 3;
    const auto reference = [&kept]() -> b::task<int&> { co_return kept; };
    CHECK(&co_await limit(reference) == &kept);
    const auto unique = []() -> b::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
    CHECK(*co_await limit(unique) == 4);
    CHECK(co_await limit([held = std::make_unique<int>(5)]() -> b::task<int> { co_return *held; }) == 5);
  };
  loop.run(program());
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "timeout: at the limit, an ordinary error that names the policy, the limit and the place [row 112]") {
  t::test_loop loop;
  trail events;
  const b::timeout limit{b::timeout_policy_options{
      .limit = 250ms, .name = "quotes", .listener = [&events](const b::policy_event& e) {
        events.push_back(std::string(b::to_string(e.action)) + " " + std::string(e.policy) + " " +
                         std::to_string(e.length / 1ms) + " " + e.what.type_name());
      }}};
  std::string said;
  const auto program = [&]() -> b::task<> {
    try {
      co_await limit(naps, 1h);
    } catch (const b::timeout_error& e) {
      said = e.what();
    }
  };
  loop.run(program());
  CHECK(said.find("timeout 'quotes': timed out after 250 ms, set by timeout at timeout_test.cpp:") == 0);
  CHECK(events == trail{"timed_out quotes 250 belay::timeout_error"});
  CHECK(loop.elapsed() == 250ms);
  CHECK(limit.describe() == "timeout 'quotes': 250 ms");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("timeout: the cleanup of the operation is waited for, and its error beats the timeout") {
  t::test_loop loop;
  const auto slow_cleanup = [](bool fails_too) -> b::task<> {
    const auto cleanup = [fails_too]() -> b::task<> {
      co_await b::sleep_for(2s);
      if (fails_too) throw boom("cleanup");
    };
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); }, cleanup);
  };
  const b::timeout limit{1s};
  CHECK_THROWS_AS(loop.run(limit(slow_cleanup, false)), b::timeout_error);
  CHECK(loop.elapsed() == 3s);
  CHECK_THROWS_AS(loop.run(limit(slow_cleanup, true)), boom);
  CHECK(loop.elapsed() == 6s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("timeout: a call that throws before it gives a task is a failure of the operation") {
  t::test_loop loop;
  struct thrower {
    BELAY_CORO_WRAPPER b::task<int> operator()() const { throw boom("no task"); }
  };
  CHECK_THROWS_AS(loop.run(b::timeout{1s}(thrower{})), boom);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "timeout: a cancellation from outside is no timeout, and the scope is restored [row 100] [row 403]") {
  t::test_loop loop;
  int told = 0;
  const b::timeout limit{
      b::timeout_policy_options{.limit = 1s, .listener = [&told](const b::policy_event&) { ++told; }}};
  const auto program = [&]() -> b::task<> {
    CHECK_FALSE((co_await b::move_on_after(500ms, limit(naps, 1h))).has_value());
    CHECK(b::current_deadline() == b::time_point::max());
    co_await limit(naps, 1ms);
    CHECK(b::current_deadline() == b::time_point::max());
    co_await b::sleep_for(10s);
  };
  loop.run(program());
  CHECK(told == 0);
}

TEST_CASE("timeout: limits out of range") {
  CHECK_THROWS_WITH_AS(b::timeout{0s}, "timeout: limit is 0 s; it must be more than zero", b::misuse_error);
  CHECK_THROWS_WITH_AS(b::timeout{-1ms}, "timeout: limit is -1 ms; it must be more than zero",
                       b::misuse_error);
  CHECK_THROWS_AS(b::timeout{std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())},
                  b::misuse_error);
  CHECK(b::timeout{b::duration::max()}.describe() == "timeout: no limit");
  CHECK(b::timeout{std::chrono::hours::max()}.limit() == b::duration::max());
  CHECK(b::timeout{{.limit = std::chrono::hours::max()}}.limit() == b::duration::max());
  CHECK(b::timeout{std::chrono::duration<double>(1.5)}.limit() == 1500ms);
}

TEST_CASE("timeout: at every await") {
  drive("timeout", [](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("the operation is destroyed", [&live] { return live == 0; });
    const b::timeout limit{3s};
    const auto work = [&live, kept = counted(live)]() -> b::task<int> {
      const counted here(live);
      co_await b::sleep_for(1s);
      co_return 1;
    };
    co_await limit(work);
  });
}

TEST_CASE(
    "timeout: the limit that passed is told when a cleanup fails, too; not when somebody else cancels") {
  t::test_loop loop;
  trail events;
  const b::timeout limit{{.limit = 1s, .listener = [&events](const b::policy_event& e) {
                            events.push_back(std::string(b::to_string(e.action)) + ": " + e.what.message());
                          }}};
  const auto op = []() -> b::task<> {
    const auto cleanup = []() -> b::task<> {
      co_await b::yield();
      throw boom("cleanup");
    };
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); }, cleanup);
  };
  CHECK_THROWS_AS(loop.run(limit(op)), boom);
  CHECK(events == trail{"timed_out: cleanup"});
  CHECK_THROWS_AS(loop.run(b::with_timeout(500ms, limit(op))), boom);
  CHECK(events.size() == 1);
}

}  // namespace
