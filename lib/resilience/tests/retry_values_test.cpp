// SPDX-License-Identifier: Apache-2.0
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <doctest/doctest.h>

#include <memory>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

TEST_CASE(
    "retry::on_value: values that are not wanted are destroyed before the waiting; the last one is the result [row 337]") {
  t::test_loop loop;
  int live = 0;
  std::vector<int> live_at_start;
  const auto ask = [&]() -> b::task<std::unique_ptr<counted>> {
    live_at_start.push_back(live);
    co_return std::make_unique<counted>(live);
  };
  trail events;
  b::retry_options options = steady(3);
  options.listener = listening_to(events);
  const auto again = b::retry{options}.on_value([](const std::unique_ptr<counted>&) { return true; });
  {
    const std::unique_ptr<counted> last = loop.run(b::pipeline{again}(ask));
    CHECK(last != nullptr);
    CHECK(live == 1);
  }
  CHECK(live_at_start == std::vector<int>{0, 0, 0});
  CHECK(loop.elapsed() == 2s);
  CHECK(events == trail{"retrying 1 1 s (a value that is not wanted)",
                        "retrying 2 1 s (a value that is not wanted)", "gave_up 3 (no attempts left)"});
}

TEST_CASE("retry::on_value: a good value at last; references") {
  t::test_loop loop;
  const auto counts = [number = 0]() mutable -> b::task<int> { co_return ++number < 3 ? 503 : 200; };
  const auto again = b::retry{steady(5)}.on_value([](int status) { return status == 503; });
  CHECK(loop.run(again(counts)) == 200);
  CHECK(again.statistics().recovered == 1);
  int kept = 503;
  const auto refers = [&kept]() -> b::task<int&> { co_return kept; };
  CHECK(&loop.run(again(refers)) == &kept);
}

TEST_CASE("retry::on_value: as an error when attempts are used up, if that is wanted") {
  t::test_loop loop;
  b::retry_options options = steady(2);
  options.last_value = b::exhausted_value::fails;
  const auto ask = [number = 0]() mutable -> b::task<int> {
    if (++number == 1) throw unavailable("first");
    co_return 503;
  };
  const auto again = b::retry{options}.on_value([](int status) { return status == 503; });
  const b::failure what = failure_of(loop, again(ask));
  CHECK(what.message() == "retry: attempt 2 of 2 gave a value that is not wanted: no attempts left");
  CHECK(what.find<b::error>()->code() == "unwanted_value");
  CHECK(what.attached()[0].message() == "first");
}

TEST_CASE("retry::on_value: a function that throws ends it; errors before it are attached") {
  t::test_loop loop;
  const auto ask = [number = 0]() mutable -> b::task<int> {
    if (++number == 1) throw unavailable("first");
    co_return 503;
  };
  const auto again = b::retry{steady(3)}.on_value([](int) -> bool { throw boom("the function"); });
  const b::failure what = failure_of(loop, again(ask));
  CHECK(what.message() == "the function");
  CHECK(what.attached()[0].message() == "first");
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("retry::on_value: run once") {
  t::test_loop loop;
  int runs = 0;
  const auto ask = [&runs]() -> b::task<int> {
    ++runs;
    co_return 503;
  };
  const auto again = b::retry{steady(3)}.on_value([](int) { return true; });
  CHECK(loop.run(again(b::once(ask))) == 503);
  CHECK(runs == 1);
}

TEST_CASE("retry::on_value: at every await") {
  drive("retry on value", [](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("every value is destroyed", [&live] { return live == 0; });
    const auto again = b::retry{steady(3)}.on_value([](const counted&) { return true; });
    const auto work = [&live]() -> b::task<counted> {
      co_await b::sleep_for(1s);
      co_return counted(live);
    };
    static_cast<void>(co_await again(work));
  });
}

TEST_CASE("retry::on_value: who is cancelled gets the value that there is") {
  t::test_loop loop;
  int runs = 0;
  const auto again = b::retry{steady(3)}.on_value([](int value) { return value == 503; });
  const auto stubborn = [&runs]() -> b::task<int> {
    ++runs;
    co_await b::shielded(10s, naps(2s));
    co_return 503;
  };
  CHECK(end_when_cancelled(loop, stubborn()) == "went on with 503");
  CHECK(end_when_cancelled(loop, again(stubborn)) == "went on with 503");
  CHECK(runs == 2);
}

TEST_CASE("retry::on_value: an empty function is refused") {
  const std::function<bool(const int&)> none;
  CHECK_THROWS_WITH_AS(static_cast<void>(b::retry{}.on_value(none)), "retry::on_value: the function is empty",
                       b::misuse_error);
}

}  // namespace
