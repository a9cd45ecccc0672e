// SPDX-License-Identifier: Apache-2.0
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <cstdlib>
#include <limits>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

const b::chaos_switch on = b::chaos_switch::on("a test");

TEST_CASE("chaos: never on by accident") {
  t::test_loop loop;
  const b::chaos_options all{.latency_rate = 1, .error_rate = 1};
  const b::chaos silent{all};
  CHECK(loop.run(silent(gives, 7)) == 7);
  CHECK(loop.elapsed() == 0s);
  CHECK(silent.statistics().calls == 0);
  CHECK(silent.describe() == "chaos: off");

  ::unsetenv("BELAY_CHAOS_TEST");
  CHECK_FALSE(b::chaos_switch::from_environment("BELAY_CHAOS_TEST").is_on());
  for (const char* off : {"", "0", "off", "false"}) {
    ::setenv("BELAY_CHAOS_TEST", off, 1);
    CHECK_FALSE(b::chaos_switch::from_environment("BELAY_CHAOS_TEST").is_on());
  }
  ::setenv("BELAY_CHAOS_TEST", "yes please", 1);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(b::chaos_switch::from_environment("BELAY_CHAOS_TEST")),
      "chaos_switch: BELAY_CHAOS_TEST is yes please; it must be 1, on or true; or 0, off or false; or missing",
      b::misuse_error);
  ::setenv("BELAY_CHAOS_TEST", "1", 1);
  const b::chaos_switch by_variable = b::chaos_switch::from_environment("BELAY_CHAOS_TEST");
  CHECK(by_variable.is_on());
  CHECK(by_variable.reason() == "BELAY_CHAOS_TEST=1");
  ::unsetenv("BELAY_CHAOS_TEST");
}

TEST_CASE("chaos: is switched while the program runs; copies of the switch are one") {
  t::test_loop loop;
  const b::chaos_switch trouble;
  const b::chaos guarded{{.error_rate = 1}, trouble};
  CHECK(loop.run(guarded(gives, 7)) == 7);
  trouble.turn_on("now");
  CHECK_THROWS_WITH_AS(loop.run(guarded(gives, 7)), "chaos: an injected error", b::error);
  trouble.turn_off();
  CHECK(loop.run(guarded(gives, 7)) == 7);
}

TEST_CASE("chaos: by rates, the same for the same seed") {
  const auto pattern = [](std::uint64_t seed) {
    t::test_loop loop;
    const b::chaos guarded{{.latency_rate = 0.5, .most_latency = 1s, .error_rate = 0.3, .seed = seed}, on};
    std::string marks;
    const auto program = [&]() -> b::task<> {
      for (int i = 0; i < 200; ++i) {
        const b::time_point before = b::now();
        const auto how = co_await b::as_outcome(guarded(gives, 7));
        const b::duration took = b::now() - before;
        CHECK((took == 0s || (took >= 100ms && took <= 1s)));
        marks += how.succeeded() ? (took > 0s ? 'l' : '.') : 'x';
        static_cast<void>(how.failure());
      }
    };
    loop.run(program());
    const b::chaos_statistics counts = guarded.statistics();
    CHECK(counts.calls == 200);
    CHECK(counts.failed > 40);
    CHECK(counts.failed < 80);
    CHECK(counts.delayed > 75);
    CHECK(counts.delayed < 125);
    CHECK(loop.lost_errors().empty());
    return marks;
  };
  CHECK(pattern(1) == pattern(1));
  CHECK(pattern(1) != pattern(2));
}

TEST_CASE("chaos: the errors that were given, each as likely; the operation is not run") {
  t::test_loop loop;
  int runs = 0;
  const auto op = [&runs]() -> b::task<> {
    ++runs;
    co_return;
  };
  const b::chaos guarded{{.error_rate = 1, .errors = t::errors_of(boom("a"), std::logic_error("b"))}, on};
  int booms = 0;
  for (int i = 0; i < 100; ++i) {
    if (failure_of(loop, guarded(op)).type_name() == "core_tests::boom") ++booms;
  }
  CHECK(runs == 0);
  CHECK(booms > 30);
  CHECK(booms < 70);
}

TEST_CASE("chaos: by plan, and told") {
  t::test_loop loop;
  trail events;
  const auto plan = [](std::uint64_t call) -> b::chaos_step {
    if (call == 1) return {.latency = 2s};
    if (call == 2) return {.error = std::make_exception_ptr(unavailable("planned"))};
    if (call == 3) return {.other_value = true};
    if (call == 4) return {.latency = -1s};
    if (call == 5) throw boom("the plan");
    return {};
  };
  const auto guarded =
      b::chaos{{.plan = plan, .listener = listening_to(events)}, on}.with_value([] { return 99; });
  CHECK(loop.run(guarded(gives, 7)) == 7);
  CHECK(loop.elapsed() == 2s);
  CHECK_THROWS_WITH_AS(loop.run(guarded(gives, 7)), "planned", b::error);
  CHECK(loop.run(guarded(gives, 7)) == 99);
  CHECK_THROWS_AS(loop.run(guarded(gives, 7)), b::misuse_error);
  CHECK_THROWS_WITH_AS(loop.run(guarded(gives, 7)), "the plan", boom);
  CHECK(loop.run(guarded(gives, 7)) == 7);
  CHECK(events == trail{"injected 1 2 s (latency)", "injected 2 (error): planned", "injected 3 (value)"});
  CHECK(guarded.statistics().replaced == 1);
  CHECK(guarded.describe() == "chaos: by plan, on for: a test");
  CHECK_THROWS_AS(loop.run(b::chaos{{.value_rate = 1}, on}(gives, 7)), b::misuse_error);
}

TEST_CASE("chaos: the policies outside of it see the trouble") {
  t::test_loop loop;
  const auto plan = [](std::uint64_t call) -> b::chaos_step { return {.latency = call < 3 ? 10s : 0s}; };
  const b::pipeline guarded{b::retry{steady(3)}, b::timeout{1s}, b::chaos{{.plan = plan}, on}};
  CHECK(loop.run(guarded(gives, 7)) == 7);
  CHECK(loop.elapsed() == 4s);
  CHECK(guarded.describe() ==
        "retry: 3 attempts, constant 1 s, no jitter\n  timeout: 1 s\n    chaos: by plan, on for: a test");
}

TEST_CASE("chaos: options out of range; in words") {
  CHECK_THROWS_WITH_AS(b::chaos({.error_rate = 1.5}), "chaos: error_rate is 1.5; it must be from 0 to 1",
                       b::misuse_error);
  CHECK_THROWS_AS(b::chaos({.latency_rate = -0.1}), b::misuse_error);
  CHECK_THROWS_AS(b::chaos({.value_rate = std::numeric_limits<double>::quiet_NaN()}), b::misuse_error);
  CHECK_THROWS_WITH_AS(b::chaos({.least_latency = 2s}),
                       "chaos: most_latency is 1 s; it must be at least least_latency, 2 s", b::misuse_error);
  CHECK_THROWS_AS(b::chaos({.least_latency = -1s}), b::misuse_error);
  CHECK_THROWS_AS(b::chaos({.errors = {nullptr}}), b::misuse_error);
  CHECK(b::chaos{{.latency_rate = 0.2, .error_rate = 0.1}, on}.describe() ==
        "chaos: 10 % errors, 20 % latency from 100 ms to 1 s, seed 1, on for: a test");
}

TEST_CASE("chaos: at every await") {
  drive("chaos", [](t::stage&) -> b::task<> {
    const auto plan = [](std::uint64_t call) -> b::chaos_step {
      return {.latency = 1s, .other_value = call == 2};
    };
    const auto guarded = b::chaos{{.plan = plan}, on}.with_value([] { return 99; });
    const int first = co_await guarded(gives_after, b::duration(1s), 1);
    CHECK(first == 1);
    const int second = co_await guarded(gives_after, b::duration(1s), 1);
    CHECK(second == 99);
  });
}

TEST_CASE(
    "chaos: a rate of values without with_value is refused at the first call; an empty function at once") {
  t::test_loop loop;
  const auto op = []() -> b::task<int> { co_return 1; };
  const b::chaos rare{{.value_rate = 0.000001}, on};
  CHECK_THROWS_AS(loop.run(rare(op)), b::misuse_error);
  CHECK(loop.run(b::chaos{{.value_rate = 0.5}}(op)) == 1);  // off
  CHECK(loop.run(rare.with_value([] { return 2; })(op)) >= 1);
  const std::function<int()> none;
  CHECK_THROWS_WITH_AS(static_cast<void>(rare.with_value(none)), "chaos::with_value: the function is empty",
                       b::misuse_error);
}

TEST_CASE("chaos: latencies of any unit, up to the longest there is") {
  const auto late = [](std::chrono::hours least, std::uint64_t seed) {
    b::detail::chaos_shared shared(
        {.latency_rate = 1, .least_latency = least, .most_latency = std::chrono::hours::max(), .seed = seed},
        on);
    return shared.next(false).latency.value();
  };
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    CHECK(late(std::chrono::hours(1), seed) >= 1h);
    CHECK(late(std::chrono::hours::max(), seed) == b::duration::max());
  }
}

}  // namespace
