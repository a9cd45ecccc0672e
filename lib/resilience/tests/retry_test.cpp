// SPDX-License-Identifier: Apache-2.0
#include <belay/core/finally.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <new>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

TEST_CASE("retry: cancelled before the first attempt, none is made [row 329]") {
  t::test_loop loop;
  flaky op{.failures = 1};
  const b::retry again{steady(3)};
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.cancel();
      const auto one = [&]() -> b::task<> { static_cast<void>(co_await again(&flaky::run, std::ref(op))); };
      g.spawn(one);
      co_return;
    });
  };
  loop.run(program());
  CHECK(op.runs == 0);
}

TEST_CASE("retry: max_attempts is the total; no waiting after the last [row 332]") {
  t::test_loop loop;
  flaky op{.failures = 10};
  CHECK_THROWS_WITH_AS(loop.run(b::retry{steady(3)}(&flaky::run, std::ref(op))), "attempt 3", b::error);
  CHECK(op.runs == 3);
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("retry: options out of range are refused when it is made [row 333]") {
  CHECK_THROWS_WITH_AS(b::retry({.max_attempts = 0}), "retry: max_attempts is 0; it must be at least 1",
                       b::misuse_error);
  CHECK_THROWS_WITH_AS(b::retry({.max_elapsed = 0s}), "retry: max_elapsed is 0 s; it must be more than zero",
                       b::misuse_error);
  CHECK_THROWS_WITH_AS(b::retry({.most_retry_after = -1s}),
                       "retry: most_retry_after is -1 s; it must be zero or more", b::misuse_error);
}

TEST_CASE(
    "retry: exhausted, the last error comes out bare, with the others attached and the course in its notes [row 334] [row 335]") {
  t::test_loop loop;
  const auto fails_differently = [number = 0]() mutable -> b::task<int> {
    switch (++number) {
      case 1: throw unavailable("A");
      case 2: throw b::timeout_error("B");
      default: throw boom("C");
    }
    co_return 0;
  };
  b::retry_options options = steady(3);
  options.on = b::any_error();
  const b::failure what = failure_of(loop, b::retry{options}(fails_differently));
  REQUIRE(what);
  CHECK(what.type_name() == "core_tests::boom");
  CHECK(what.message() == "C");
  REQUIRE(what.attached().size() == 2);
  CHECK(what.attached()[0].message() == "A");
  CHECK(what.attached()[1].message() == "B");
  CHECK(what.find<b::timeout_error>() != nullptr);
  REQUIRE(what.notes().size() == 3);
  CHECK(what.notes()[0] == "retry: attempt 1 failed: belay::error: A; waited 1 s");
  CHECK(what.notes()[1] == "retry: attempt 2 failed: belay::timeout_error: B; waited 1 s");
  CHECK(what.notes()[2] == "retry: gave up after attempt 3 of 3: no attempts left");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: of many attempts, the first and the last are kept") {
  t::test_loop loop;
  flaky op{.failures = 100};
  const b::failure what = failure_of(loop, b::retry{steady(100)}(&flaky::run, std::ref(op)));
  CHECK(what.attached().size() == 16);
  CHECK(what.attached().front().message() == "attempt 1");
  CHECK(what.attached()[7].message() == "attempt 8");
  CHECK(what.attached()[8].message() == "attempt 92");
  CHECK(what.attached().back().message() == "attempt 99");
  CHECK(what.notes()[8] == "retry: ... and 83 more");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: an attempt that throws the same object again, and one that throws before it gives a task") {
  t::test_loop loop;
  const auto stored = std::make_exception_ptr(unavailable("stored"));
  int runs = 0;
  struct thrower {
    std::exception_ptr what;
    int* count;
    BELAY_CORO_WRAPPER b::task<int> operator()() const {
      ++*count;
      std::rethrow_exception(what);
    }
  };
  const b::failure what = failure_of(loop, b::retry{steady(3)}(thrower{stored, &runs}));
  CHECK(runs == 3);
  CHECK(what.exception() == stored);
  CHECK(what.attached().empty());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: an error that does not match comes out at once, as it is [row 336]") {
  t::test_loop loop;
  int runs = 0;
  trail events;
  b::retry_options options = steady(3);
  options.listener = listening_to(events);
  const auto not_there = [&runs]() -> b::task<int> {
    ++runs;
    throw b::error(b::error_kind::not_found, "", "user 7");
    co_return 0;
  };
  const b::failure what = failure_of(loop, b::retry{options}(not_there));
  CHECK(runs == 1);
  CHECK(what.message() == "user 7");
  CHECK(what.notes().empty());
  CHECK(events.empty());
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("retry: an error that does not match after others have: it comes out with the history") {
  t::test_loop loop;
  const auto op = [number = 0]() mutable -> b::task<int> {
    if (++number == 1) throw unavailable("first");
    throw boom("second");
    co_return 0;
  };
  const b::failure what = failure_of(loop, b::retry{steady(5)}(op));
  CHECK(what.message() == "second");
  CHECK(what.attached().size() == 1);
  CHECK(what.notes().back() == "retry: gave up after attempt 2 of 5: this error is not one to try again");
}

TEST_CASE("retry: bugs are not tried again by default [row 354]") {
  t::test_loop loop;
  int runs = 0;
  const auto bug = [&runs](int kind) -> b::task<int> {
    ++runs;
    if (kind == 0) throw std::bad_alloc();
    if (kind == 1) throw std::logic_error("a bug");
    throw std::invalid_argument("a value");
    co_return 0;
  };
  const b::retry again;
  CHECK_THROWS_AS(loop.run(again(bug, 0)), std::bad_alloc);
  CHECK_THROWS_AS(loop.run(again(bug, 1)), std::logic_error);
  CHECK_THROWS_AS(loop.run(again(bug, 2)), std::invalid_argument);
  CHECK(runs == 3);
}

TEST_CASE(
    "retry: a group that fails is tried again only if each of its errors is one to try again [row 353]") {
  t::test_loop loop;
  int runs = 0;
  const auto both = [&runs](bool second_too) -> b::task<> {
    ++runs;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto late = [](bool transient) -> b::task<> {
        const auto cleanup = [transient]() -> b::task<> {
          if (transient) throw unavailable("second");
          throw boom("second");
          co_return;
        };
        co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); }, cleanup);
      };
      g.spawn(late, second_too);
      const auto soon = []() -> b::task<> {
        co_await b::yield();
        throw unavailable("first");
      };
      g.spawn(soon);
      co_return;
    });
  };
  const b::retry again{steady(3)};
  b::failure what = failure_of(loop, again(both, true));
  CHECK(what.message() == "first");
  CHECK(what.attached().size() == 3);  // its sibling, two attempts
  CHECK(runs == 3);
  runs = 0;
  what = failure_of(loop, again(both, false));
  CHECK(what.message() == "first");
  CHECK(runs == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "retry: a timeout outside cancels the attempt or the waiting; nothing is tried again [row 339] [row 401]") {
  t::test_loop loop;
  flaky slow{.failures = 10, .takes = 1h};
  CHECK_THROWS_AS(loop.run(b::pipeline{b::timeout{10s}, b::retry{steady(5)}}(&flaky::run, std::ref(slow))),
                  b::timeout_error);
  CHECK(slow.runs == 1);
  CHECK(loop.elapsed() == 10s);

  // In the waiting: only a limit that nobody could foresee.
  flaky quick{.failures = 10};
  b::retry_options options = steady(5);
  options.delay = b::backoff::constant(10s, b::jitter::none);
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto other = [&quick]() -> b::task<int> { co_return co_await quick.run(); };
      g.spawn(b::retry{options}, other);
      co_await b::sleep_for(5s);
      g.cancel();
    });
  };
  loop.run(program());
  CHECK(quick.runs == 1);
  CHECK(loop.elapsed() == 15s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: gives up rather than sleeping into the deadline") {
  t::test_loop loop;
  flaky op{.failures = 10};
  b::retry_options options = steady(10);
  options.delay = b::backoff::constant(2s, b::jitter::none);
  const b::failure what =
      failure_of(loop, b::pipeline{b::timeout{5s}, b::retry{options}}(&flaky::run, std::ref(op)));
  CHECK(what.message() == "attempt 3");
  CHECK(what.notes().back() == "retry: gave up after attempt 3 of 10: the deadline would have passed");
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("retry: max_elapsed") {
  t::test_loop loop;
  flaky op{.failures = 10, .takes = 500ms};
  b::retry_options options = steady(10);
  options.max_elapsed = 3s;
  const b::failure what = failure_of(loop, b::retry{options}(&flaky::run, std::ref(op)));
  CHECK(what.notes().back() == "retry: gave up after attempt 3 of 10: max_elapsed would have passed");
  CHECK(loop.elapsed() == 3500ms);
}

TEST_CASE("retry: a delay of one's own; none or a negative one falls back [row 345]") {
  t::test_loop loop;
  flaky op{.failures = 3};
  b::retry_options options = steady(4);
  options.delay_for = [](const b::retry_attempt& at) -> std::optional<b::duration> {
    CHECK(at.delay == 1s);
    if (at.number == 1) return {};
    if (at.number == 2) return -5s;
    return 7s;
  };
  CHECK(loop.run(b::retry{options}(&flaky::run, std::ref(op))) == 4);
  CHECK(loop.elapsed() == 9s);
}

TEST_CASE("retry: a function of its options that throws ends it; its error is attached") {
  t::test_loop loop;
  flaky op{.failures = 3};
  b::retry_options options = steady(4);
  options.delay_for = [](const b::retry_attempt&) -> std::optional<b::duration> { throw boom("delay_for"); };
  b::failure what = failure_of(loop, b::retry{options}(&flaky::run, std::ref(op)));
  CHECK(what.message() == "attempt 1");
  CHECK(what.attached()[0].message() == "delay_for");
  options.on = b::error_filter([](const b::failure&) -> bool { throw boom("on"); });
  what = failure_of(loop, b::retry{options}(&flaky::run, std::ref(op)));
  CHECK(what.message() == "attempt 2");
  CHECK(what.attached()[0].message() == "on");
  CHECK(what.notes().back() == "retry: gave up after attempt 1 of 4: a function of its options failed");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: a listener that throws is reported, and the retry goes on [row 346]") {
  t::test_loop loop;
  flaky op{.failures = 1};
  b::retry_options options = steady(3);
  options.listener = [](const b::policy_event&) { throw boom("the listener"); };
  CHECK(loop.run(b::retry{options}(&flaky::run, std::ref(op))) == 2);
  CHECK(loop.lost_errors().size() == 2);  // retrying, recovered
}

TEST_CASE("retry: success at the first attempt is silent [row 347]") {
  t::test_loop loop;
  flaky op;
  trail events;
  b::retry_options options = steady(3);
  options.listener = listening_to(events);
  CHECK(loop.run(b::retry{options}(&flaky::run, std::ref(op))) == 1);
  CHECK(events.empty());
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("retry: its events [row 352]") {
  t::test_loop loop;
  trail events;
  b::retry_options options = steady(3);
  options.listener = listening_to(events);
  const b::retry again{options};
  flaky op{.failures = 2};
  loop.run(again(&flaky::run, std::ref(op)));
  CHECK(events == trail{"retrying 1 1 s: attempt 1", "retrying 2 1 s: attempt 2", "recovered 3"});
  events.clear();
  op = {.failures = 5};
  static_cast<void>(failure_of(loop, again(&flaky::run, std::ref(op))));
  CHECK(events == trail{"retrying 1 1 s: attempt 1", "retrying 2 1 s: attempt 2",
                        "gave_up 3 (no attempts left): attempt 3"});
  CHECK(again.statistics().calls == 2);
  CHECK(again.statistics().retries == 4);
  CHECK(again.statistics().recovered == 1);
  CHECK(again.statistics().gave_up == 1);
}

TEST_CASE("retry: one object, used by many tasks at once; attempts are counted apart [row 348]") {
  t::test_loop loop;
  const b::retry again{steady(100)};
  std::vector<int> results;
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto one = [&](int failures) -> b::task<> {
        flaky op{.failures = failures, .takes = 10ms};
        results.push_back(co_await again(&flaky::run, std::ref(op)));
      };
      for (int i = 0; i < 100; ++i) g.spawn(one, i % 10);
      co_return;
    });
  };
  loop.run(program());
  REQUIRE(results.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(results[static_cast<std::size_t>(i)] == i / 10 + 1);
  CHECK(again.statistics().retries == 450);
}

TEST_CASE("retry: what must not be run again is run once [row 349]") {
  t::test_loop loop;
  int runs = 0;
  const auto upload = [&runs](std::unique_ptr<int> body) -> b::task<int> {
    ++runs;
    if (*body == 0) throw unavailable("upload");
    co_return *body;
  };
  const b::pipeline guarded{b::retry{steady(3)}, b::timeout{1s}};
  CHECK(loop.run(guarded(b::once(upload, std::make_unique<int>(5)))) == 5);
  const b::failure what = failure_of(loop, guarded(b::once(upload, std::make_unique<int>(0))));
  CHECK(runs == 2);
  CHECK(what.message() == "upload");
  CHECK(what.notes().back() == "retry: gave up after attempt 1 of 3: the operation must not be run again");
  auto referred = b::once(upload, std::make_unique<int>(0));
  static_cast<void>(failure_of(loop, guarded(std::ref(referred))));
  CHECK(runs == 3);
}

TEST_CASE("retry: an empty budget, shared with others: the error goes on at once, and says so [row 351]") {
  t::test_loop loop;
  const b::retry_budget budget{{.ratio = 0, .reserve = 3}};
  b::retry_options options = steady(3);
  options.budget = budget;
  const b::retry first{options};
  const b::retry second{options};
  flaky op{.failures = 100};
  static_cast<void>(failure_of(loop, first(&flaky::run, std::ref(op))));
  CHECK(op.runs == 3);
  static_cast<void>(failure_of(loop, second(&flaky::run, std::ref(op))));
  CHECK(op.runs == 5);
  const b::duration before = loop.elapsed();
  const b::failure what = failure_of(loop, first(&flaky::run, std::ref(op)));
  CHECK(op.runs == 6);
  CHECK(loop.elapsed() == before);
  CHECK(what.message() == "attempt 6");
  CHECK(what.notes().back() == "retry: gave up after attempt 1 of 3: the retry budget is used up");
  CHECK(budget.statistics().spent == 3);
}

TEST_CASE("retry: an error that asks to be left alone gets that, within bounds") {
  t::test_loop loop;
  const auto asks = [number = 0](b::duration first) mutable -> b::task<int> {
    if (++number == 1) throw b::rejected_error(b::error_kind::overloaded, "busy", "busy", first);
    co_return number;
  };
  b::retry_options options = steady(3);
  options.most_retry_after = 5s;
  const b::retry again{options};
  CHECK(loop.run(again(asks, b::duration(4s))) == 2);
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.run(again(asks, b::duration(10ms))) == 2);  // not sooner than the backoff
  CHECK(loop.elapsed() == 5s);
  const b::failure what = failure_of(loop, again(asks, b::duration(6s)));
  CHECK(what.notes().back() ==
        "retry: gave up after attempt 1 of 3: it asks to be left alone for longer than most_retry_after");
  CHECK(loop.elapsed() == 5s);
  // Fits the bounds, not the deadline.
  CHECK_THROWS_AS(loop.run(b::pipeline{b::timeout{2s}, again}(asks, b::duration(4s))), b::rejected_error);
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("retry: the same seed gives the same delays") {
  const auto times = [](std::uint64_t seed) {
    t::test_loop loop;
    flaky op{.failures = 5};
    loop.run(b::retry{{.max_attempts = 6, .seed = seed}}(&flaky::run, std::ref(op)));
    return loop.elapsed();
  };
  CHECK(times(1) == times(1));
  CHECK(times(1) != times(2));
}

TEST_CASE("retry: ten thousand attempts need no stack and little memory") {
  t::test_loop loop;
  flaky op{.failures = 9'999};
  CHECK(loop.run(b::retry{{.max_attempts = 10'000, .delay = b::backoff::none()}}(&flaky::run,
                                                                                 std::ref(op))) == 10'000);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: describes itself") {
  CHECK(b::retry{}.describe() == "retry: 3 attempts, exponential from 100 ms up to 10 s, full jitter");
  b::retry_options options = steady(1);
  options.name = "quotes";
  options.max_elapsed = 30s;
  options.budget = b::retry_budget();
  CHECK(
      b::retry{options}.describe() ==
      "retry 'quotes': 1 attempt within 30 s, constant 1 s, no jitter, budget 10 % of the calls, reserve 10");
}

TEST_CASE("retry: at every await") {
  drive("retry", [](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("every attempt is destroyed", [&live] { return live == 0; });
    auto& runs = s.make<int>(0);
    s.expect("no more attempts than allowed", [&runs] { return runs <= 3; });
    b::retry_options options = steady(3);
    options.seed = 1;
    const b::retry again{options};
    const auto work = [&live, &runs]() -> b::task<int> {
      const counted here(live);
      co_await b::sleep_for(1s);
      if (++runs < 3) throw unavailable("not yet");
      co_return 1;
    };
    // Within a limit it gives up rather than sleeping into it.
    const b::outcome<int> how = co_await b::as_outcome(again(work));
    const b::failure what = how.failure();
    if (what && b::current_deadline() == b::time_point::max()) what.rethrow();
  });
}

TEST_CASE("retry: a cancellation that was requested already acts at the first await, as without a retry") {
  t::test_loop loop;
  int runs = 0;
  bool went_on = false;
  const b::retry again{steady(3)};
  const auto op = [&runs]() -> b::task<int> {
    ++runs;
    co_await b::sleep_for(1s);
    co_return 1;
  };
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
        g.cancel();
        static_cast<void>(co_await again(op));
        went_on = true;
      });
      co_return;
    });
  };
  loop.run(program());
  CHECK(runs == 1);
  CHECK_FALSE(went_on);
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("retry: what was made by once stays so when it is given to a policy inside [row 349]") {
  t::test_loop loop;
  int runs = 0;
  const auto upload = [&runs](std::string) -> b::task<int> {
    ++runs;
    throw unavailable("upload");
    co_return 1;
  };
  const b::retry outer{steady(3)};
  const b::timeout inner{1s};
  const b::pipeline both{inner, b::retry{steady(2)}};
  const auto runs_of = [&](b::task<int> op) {
    runs = 0;
    static_cast<void>(failure_of(loop, std::move(op)));
    return runs;
  };
  CHECK(runs_of(outer(upload, std::string("body"))) == 3);
  CHECK(runs_of(outer(inner, b::once(upload, std::string("body")))) == 1);
  CHECK(runs_of(outer(both, b::once(upload, std::string("body")))) == 1);
  CHECK(runs_of(outer(std::cref(inner), b::once(upload, std::string("body")))) == 1);
  CHECK(runs_of(outer(outer, inner, b::once(upload, std::string("body")))) == 1);
  auto referred = b::once(upload, std::string("body"));
  CHECK(runs_of(outer(inner, std::ref(referred))) == 1);
  runs = 0;
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(outer, inner, b::once(upload, std::string("body")));
      co_return;
    });
  };
  CHECK_THROWS_AS(loop.run(program()), b::error);
  CHECK(runs == 1);
  // Nor is it declared repeatable, whatever is said of the whole.
  static_assert(!b::declared_repeatable<decltype(b::repeatable(inner, b::once(upload, std::string())))>);
  static_assert(b::declared_repeatable<decltype(b::repeatable(upload, std::string()))>);
}

TEST_CASE("retry: the error of a cleanup after a cancellation goes on, untouched") {
  t::test_loop loop;
  trail events;
  b::retry_options options = steady(3);
  options.listener = listening_to(events);
  const b::retry again{options};
  CHECK(end_when_cancelled(loop, fails_in_cleanup()) == "rollback");
  CHECK(end_when_cancelled(loop, again(fails_in_cleanup)) == "rollback");
  CHECK(events.empty());
  CHECK(again.statistics().gave_up == 0);
  CHECK(again.statistics().retries == 0);
  // In a later attempt, with the errors before it.
  int runs = 0;
  const auto later = [&runs]() -> b::task<int> {
    if (++runs == 1) throw unavailable("first");
    co_return co_await fails_in_cleanup();
  };
  const b::retry quick{{.max_attempts = 3, .delay = b::backoff::none()}};
  b::failure got;
  const auto keeps = [&]() -> b::task<int> {
    try {
      co_return co_await quick(later);
    } catch (const b::error&) {
      got = b::current_failure();
      throw;
    }
  };
  CHECK(end_when_cancelled(loop, keeps()) == "rollback");
  CHECK(runs == 2);
  REQUIRE(got.attached().size() == 1);
  CHECK(got.attached()[0].message() == "first");
  CHECK(quick.statistics().retries == 1);
  CHECK(quick.statistics().gave_up == 0);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("retry: the budget and the statistics count the attempts that have begun") {
  t::test_loop loop;
  const b::retry_budget budget{{.ratio = 0, .reserve = 5}};
  b::retry_options options{.max_attempts = 3, .delay = b::backoff::constant(10s, b::jitter::none)};
  options.budget = budget;
  const b::retry again{options};
  flaky op{.failures = 100};
  for (int i = 0; i < 5; ++i)
    CHECK(end_when_cancelled(loop, again(&flaky::run, std::ref(op))) == "cancelled");
  CHECK(op.runs == 5);
  CHECK(budget.statistics().spent == 0);
  CHECK(budget.statistics().available == 5);
  CHECK(again.statistics().retries == 0);
  static_cast<void>(failure_of(loop, again(&flaky::run, std::ref(op))));
  CHECK(op.runs == 8);
  CHECK(budget.statistics().spent == 2);
  CHECK(budget.statistics().available == 3);
  CHECK(again.statistics().retries == 2);
  const b::retry_budget full{{.ratio = 0, .reserve = 1}};
  full.give_back();
  CHECK(full.statistics().available == 1);
}

TEST_CASE("retry: a pause that an error asked for does not become the base of the delays that follow") {
  t::test_loop loop;
  std::vector<b::duration> waits;
  b::retry_options options{
      .max_attempts = 6, .delay = b::backoff::decorrelated(100ms, 1h), .seed = 3, .name = "r"};
  options.listener = [&](const b::policy_event& e) {
    if (e.action == b::policy_action::retrying) waits.push_back(e.length);
  };
  const b::retry again{options};
  const auto op = [number = 0]() mutable -> b::task<int> {
    if (++number == 1) throw b::with_retry_after(unavailable("x"), 30s);
    throw unavailable("y");
    co_return 1;
  };
  static_cast<void>(failure_of(loop, again(op)));
  REQUIRE(waits.size() == 5);
  CHECK(waits[0] == 30s);
  CHECK(waits[1] <= 900ms);  // three times the delay before, which was drawn from 100 to 300 ms
  CHECK(waits[2] <= 2700ms);
}

TEST_CASE("retry: what an attached error asks for is heard, too: the longest pause") {
  t::test_loop loop;
  trail events;
  b::retry_options options = steady(2);
  options.listener = listening_to(events);
  const auto op = [](b::duration second) -> b::task<int> {
    b::failure what = b::failure::of(std::make_exception_ptr(b::with_retry_after(unavailable("x"), 5s)));
    what.attach(b::failure::of(std::make_exception_ptr(b::with_retry_after(unavailable("y"), second))));
    co_await b::fail(std::move(what));
    co_return 1;
  };
  static_cast<void>(failure_of(loop, b::retry{options}(op, b::duration(20s))));
  CHECK(loop.elapsed() == 20s);
  const b::failure what = failure_of(loop, b::retry{options}(op, b::duration(40s)));
  CHECK(loop.elapsed() == 20s);
  CHECK(what.notes().back() ==
        "retry: gave up after attempt 1 of 2: it asks to be left alone for longer than most_retry_after");
}

TEST_CASE("retry: a delay without an end is no deadline; durations of any unit") {
  t::test_loop loop;
  b::retry_options options = steady(3);
  options.delay_for = [](const b::retry_attempt&) { return std::optional<b::duration>(b::duration::max()); };
  flaky op{.failures = 9};
  const b::failure what = failure_of(loop, b::retry{options}(&flaky::run, std::ref(op)));
  CHECK(what.notes().back() == "retry: gave up after attempt 1 of 3: the delay would never end");
  options = steady(3);
  options.max_elapsed = std::chrono::hours::max();
  options.most_retry_after = std::chrono::hours::max();
  CHECK(b::retry{options}.describe() == "retry: 3 attempts, constant 1 s, no jitter");
  CHECK_THROWS_AS(b::retry({.max_elapsed = std::chrono::hours::min()}), b::misuse_error);
}

}  // namespace
