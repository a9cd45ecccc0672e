// SPDX-License-Identifier: Apache-2.0
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <memory>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

b::task<int> breaks(std::string words) {
  throw unavailable(std::move(words));
  co_return 0;
}

TEST_CASE("fallback: a value, a function, a function of the failure, a task") {
  t::test_loop loop;
  const auto program = []() -> b::task<> {
    CHECK(co_await b::fallback{7}(breaks, "x") == 7);
    CHECK(co_await b::fallback{7}(gives, 1) == 1);
    CHECK(co_await b::fallback{[] { return 8; }}(breaks, "x") == 8);
    CHECK(co_await b::fallback{[](const b::failure& why) { return static_cast<int>(why.message().size()); }}(
              breaks, "four") == 4);
    const auto slow = [](const b::failure& why) -> b::task<int> {
      co_await b::sleep_for(1s);
      co_return static_cast<int>(why.message().size());
    };
    CHECK(co_await b::fallback{slow}(breaks, "three") == 5);
    const auto no_failure = []() -> b::task<int> { co_return 10; };
    CHECK(co_await b::fallback{no_failure}(breaks, "x") == 10);
  };
  loop.run(program());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("fallback: void, references, move-only results") {
  t::test_loop loop;
  const auto program = []() -> b::task<> {
    const auto nothing = []() -> b::task<> {
      throw unavailable("x");
      co_return;
    };
    co_await b::fallback{}(nothing);
    int told = 0;
    co_await b::fallback{[&told] { ++told; }}(nothing);
    CHECK(told == 1);
    int kept = 3;
    const auto reference = [&kept](bool good) -> b::task<int&> {
      if (!good) throw unavailable("x");
      co_return kept;
    };
    int other = 4;
    CHECK(&co_await b::fallback{std::ref(other)}(reference, false) == &other);
    CHECK(&co_await b::fallback{std::ref(other)}(reference, true) == &kept);
    const auto unique = []() -> b::task<std::unique_ptr<int>> {
      throw unavailable("x");
      co_return nullptr;
    };
    CHECK(*co_await b::fallback{[] { return std::make_unique<int>(5); }}(unique) == 5);
  };
  loop.run(program());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("fallback: the failure that was replaced is told and kept, and not lost") {
  t::test_loop loop;
  trail events;
  const b::fallback guarded{7, {.name = "last quote", .listener = listening_to(events)}};
  CHECK(loop.run(guarded(breaks, "the original")) == 7);
  CHECK(events == trail{"replaced: the original"});
  CHECK(guarded.statistics().replaced == 1);
  CHECK(guarded.statistics().last.message() == "the original");
  CHECK(loop.lost_errors().empty());
  CHECK(guarded.describe() == "fallback 'last quote': to a value");
}

TEST_CASE("fallback: a rejection is replaced too, and can still be seen [row 382]") {
  t::test_loop loop;
  trail events;
  const auto rejected = []() -> b::task<int> {
    throw b::rejected_error(b::error_kind::unavailable, "circuit_open", "the circuit is open");
    co_return 0;
  };
  CHECK(loop.run(b::fallback{7, {.listener = listening_to(events)}}(rejected)) == 7);
  CHECK(events == trail{"replaced: the circuit is open"});
}

TEST_CASE("fallback: what is not to be replaced comes out") {
  t::test_loop loop;
  const auto bug = []() -> b::task<int> {
    throw std::logic_error("a bug");
    co_return 0;
  };
  CHECK_THROWS_AS(loop.run(b::fallback{7}(bug)), std::logic_error);
  CHECK(loop.run(b::fallback{7, {.on = b::types<std::logic_error>()}}(bug)) == 7);
  const b::fallback broken{7, {.on = b::error_filter([](const b::failure&) -> bool { throw boom("on"); })}};
  const b::failure what = failure_of(loop, broken(bug));
  CHECK(what.message() == "a bug");
  CHECK(what.attached()[0].message() == "on");
}

TEST_CASE("fallback: when it fails itself, its error comes out with the original attached [row 399]") {
  t::test_loop loop;
  trail events;
  const auto fails_too = [](const b::failure&) -> b::task<int> {
    co_await b::yield();
    throw boom("the fallback");
  };
  const b::fallback guarded{fails_too, {.listener = listening_to(events)}};
  const b::failure what = failure_of(loop, guarded(breaks, "the original"));
  CHECK(what.message() == "the fallback");
  REQUIRE(what.attached().size() == 1);
  CHECK(what.attached()[0].message() == "the original");
  CHECK(what.notes()[0] == "fallback: failed itself, after belay::error: the original");
  CHECK(events.empty());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("fallback: a function that rethrows what it was given") {
  t::test_loop loop;
  const b::fallback guarded{[](const b::failure& why) -> int { why.rethrow(); }};
  const b::failure what = failure_of(loop, guarded(breaks, "the original"));
  CHECK(what.message() == "the original");
  CHECK(what.attached().empty());
}

TEST_CASE("fallback: is not run for a cancellation [row 398]") {
  t::test_loop loop;
  int runs = 0;
  const b::fallback guarded{[&runs] { ++runs; }, {.on = b::any_error()}};
  const auto program = [&]() -> b::task<> {
    CHECK_FALSE((co_await b::move_on_after(1s, guarded(naps, 1h))).has_value());
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(guarded, naps, b::duration(1h));
      co_await b::sleep_for(1s);
      g.cancel();
    });
  };
  loop.run(program());
  CHECK(runs == 0);
  CHECK(guarded.statistics().replaced == 0);
}

TEST_CASE("fallback: at every await") {
  drive("fallback", [](t::stage& s) -> b::task<> {
    const auto work = []() -> b::task<int> {
      co_await b::sleep_for(1s);
      throw unavailable("always");
    };
    const auto instead = []() -> b::task<int> {
      co_await b::sleep_for(1s);
      co_return 7;
    };
    auto& live = s.make<int>(0);
    s.expect("all is destroyed", [&live] { return live == 0; });
    const b::fallback guarded{
        [instead, kept = counted(live)]() -> b::task<int> { co_return co_await instead(); }};
    const int got = co_await guarded(work);
    CHECK(got == 7);
  });
}

TEST_CASE("fallback: the error of a cleanup after a cancellation is not replaced") {
  t::test_loop loop;
  trail events;
  const auto late = []() -> b::task<int> {
    co_await b::sleep_for(1s);
    co_return 43;
  };
  const b::fallback value{42, {.listener = listening_to(events)}};
  const b::fallback task{late, {.listener = listening_to(events)}};
  CHECK(end_when_cancelled(loop, value(fails_in_cleanup)) == "rollback");
  CHECK(end_when_cancelled(loop, task(fails_in_cleanup)) == "rollback");
  CHECK(end_when_cancelled(loop, b::pipeline{value, b::timeout{1h}}(fails_in_cleanup)) == "rollback");
  CHECK(events.empty());
  CHECK(value.statistics().replaced == 0);
  CHECK(loop.lost_errors().empty());
  // A timeout inside is an error like others, and so is a cleanup that fails after it.
  CHECK(loop.run(b::pipeline{value, b::timeout{1s}}(fails_in_cleanup)) == 42);
}

TEST_CASE("fallback: cancelled while it runs, the failure that it has not replaced is told all the same") {
  t::test_loop loop;
  trail events;
  const auto slow = []() -> b::task<int> {
    co_await b::sleep_for(10s);
    co_return 1;
  };
  const b::fallback guarded{slow, {.listener = listening_to(events)}};
  CHECK(end_when_cancelled(loop, guarded(breaks, "the original")) == "cancelled");
  CHECK(events == trail{"gave_up (the fallback was cancelled): the original"});
  CHECK(guarded.statistics().replaced == 0);
  CHECK(guarded.statistics().cancelled == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("fallback: an empty function is refused when it is made") {
  const std::function<int()> none;
  int (*no_function)() = nullptr;
  CHECK_THROWS_WITH_AS(b::fallback{none}, "fallback: the function is empty", b::misuse_error);
  CHECK_THROWS_AS(b::fallback{no_function}, b::misuse_error);
  const std::shared_ptr<int> nothing;  // a value like others
  CHECK(b::fallback{nothing}.describe() == "fallback: to a value");
}

}  // namespace
