// SPDX-License-Identifier: Apache-2.0
// Breakers, bulkheads, limiters and hedges, alone and together, ended at every await: no place, permit or run may be left.

#include <belay/core/finally.hpp>
#include <belay/resilience/adaptive_limiter.hpp>
#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/hedge.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_circuit_breaker.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>

#include "admission_support.hpp"
#include "driven.hpp"

namespace {

namespace b = belay;
namespace t = belay::testing;
using namespace std::chrono_literals;
using admission_tests::outage;
using core_tests::counted;
using core_tests::drive;

struct place_of_work {
  int live = 0;
  int begun = 0;
  int cleaned = 0;
  int running = 0;
  int most_running = 0;
  int limit = 1'000'000;
};
place_of_work& make_work(t::stage& s) {
  auto& w = s.make<place_of_work>();
  s.expect("no local is left", [&w] { return w.live == 0 && w.running == 0; });
  s.expect("what was begun was cleaned up, unless that failed",
           [&w](const t::run_end& how) { return w.begun == w.cleaned || how.failed_in_cleanup; });
  s.expect("not more at a time than allowed", [&w] { return w.most_running <= w.limit; });
  return w;
}
b::task<int> works(place_of_work& w, b::duration length, bool fails) {
  const counted here(w.live);
  ++w.begun;
  const counted inside(w.running);
  w.most_running = std::max(w.most_running, w.running);
  co_return co_await b::finally(
      [length, fails]() -> b::task<int> {
        co_await b::sleep_for(length);
        if (fails) throw outage("down");
        co_return 1;
      },
      [&w]() -> b::task<> {
        co_await b::sleep_for(500ms);
        ++w.cleaned;
      });
}
// Errors of the scenario itself are looked at; those of the driver go on.
template <class P>
b::task<> calls(const P& through, place_of_work& w, b::duration length, bool fails) {
  b::outcome<int> how = co_await b::as_outcome(through(b::repeatable(works, std::ref(w), length, fails)));
  if (!how.failed()) co_return;
  const b::failure what = how.failure();
  if (what.find<t::injected_error>() != nullptr) what.rethrow();
}
template <class P>
b::task<> calls_many(const P& through, place_of_work& w, int tasks, bool fails) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < tasks; ++i)
      g.spawn(calls<P>, std::cref(through), std::ref(w), 1s * (1 + i % 2), fails && i % 2 == 0);
    g.spawn(
        [](const P& with, place_of_work& in) -> b::task<> {
          static_cast<void>(co_await b::move_on_after(1s, calls(with, in, 1s, false)));
        },
        std::cref(through), std::ref(w));
    co_await calls(through, w, 1s, false);
  });
}

template <class Breaker>
void drive_breaker(const char* name) {
  drive(name, [](t::stage& s) -> b::task<> {
    place_of_work& w = make_work(s);
    auto& breaker = s.make<Breaker>(b::circuit_breaker_options{.consecutive_failures = 2, .open_for = 2s});
    // Whatever happened: when the open time is over a probe gets in, and closes it.
    s.afterwards([&]() -> b::task<> {
      co_await b::sleep_for(2s);
      co_await calls(breaker, w, 1s, false);
      if (breaker.state() != b::breaker_state::closed) throw outage("it does not close again");
    });
    co_await calls_many(breaker, w, 2, true);
    co_await calls(breaker, w, 1s, true);
    co_await b::sleep_for(2s);
    co_await calls_many(breaker, w, 1, false);
  });
}

}  // namespace

TEST_CASE("everywhere: circuit_breaker") { drive_breaker<b::circuit_breaker>("circuit_breaker"); }
TEST_CASE("everywhere: shared_circuit_breaker") {
  drive_breaker<b::shared_circuit_breaker>("shared_circuit_breaker");
}

TEST_CASE("everywhere: bulkhead") {
  drive("bulkhead", [](t::stage& s) -> b::task<> {
    place_of_work& w = make_work(s);
    w.limit = 2;
    auto& in = s.make<b::bulkhead>(
        b::bulkhead_options{.most_running = 2, .most_waiting = 3, .longest_wait = 1500ms});
    s.expect("every place is free", [&in] { return in.statistics().running + in.statistics().waiting == 0; });
    s.afterwards([&]() -> b::task<> { co_await b::with_timeout(10s, calls_many(in, w, 2, false)); });
    co_await calls_many(in, w, 4, true);
  });
}

TEST_CASE("everywhere: adaptive_limiter") {
  drive("adaptive_limiter", [](t::stage& s) -> b::task<> {
    place_of_work& w = make_work(s);
    auto& in = s.make<b::adaptive_limiter>(b::adaptive_limiter_options{.algorithm = b::limit_algorithm::aimd,
                                                                       .first_limit = 2,
                                                                       .most_limit = 4,
                                                                       .too_slow = 5s,
                                                                       .most_waiting = 3,
                                                                       .longest_wait = 2s});
    w.limit = 4;
    s.expect("every place is free", [&in] { return in.statistics().running + in.statistics().waiting == 0; });
    s.afterwards([&]() -> b::task<> { co_await b::with_timeout(10s, calls_many(in, w, 2, false)); });
    co_await calls_many(in, w, 4, true);
  });
}

TEST_CASE("everywhere: rate_limiter") {
  for (const auto algorithm : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
    drive("rate_limiter", [algorithm](t::stage& s) -> b::task<> {
      place_of_work& w = make_work(s);
      auto& in = s.make<b::rate_limiter>(b::rate_limiter_options{
          .permits = 2, .per = 1s, .algorithm = algorithm, .most_waiting = 3, .longest_wait = 1200ms});
      s.expect("nobody waits", [&in] { return in.statistics().waiting == 0; });
      s.afterwards([&]() -> b::task<> { co_await b::with_timeout(10s, calls_many(in, w, 2, false)); });
      co_await calls_many(in, w, 4, false);
    });
  }
}

TEST_CASE("everywhere: shared_rate_limiter") {
  drive("shared_rate_limiter", [](t::stage& s) -> b::task<> {
    place_of_work& w = make_work(s);
    auto& in = s.make<b::shared_rate_limiter>(
        b::rate_limiter_options{.permits = 2, .per = 1s, .most_waiting = 3, .longest_wait = 1200ms});
    // All that was given up has come back: after a pause the whole bucket is there, and not more.
    s.afterwards([&]() -> b::task<> {
      co_await b::sleep_for(10s);
      if (!in.try_enter() || !in.try_enter() || in.try_enter()) throw outage("the bucket leaks");
    });
    co_await calls_many(in, w, 4, false);
  });
}

TEST_CASE("everywhere: hedge") {
  drive(
      "hedge",
      [](t::stage& s) -> b::task<> {
        place_of_work& w = make_work(s);
        auto& in = s.make<b::hedge>(b::hedge_options{.delay = 500ms, .most_runs = 3, .budget = 1});
        s.afterwards([&]() -> b::task<> { co_await calls_many(in, w, 1, false); });
        co_await calls(in, w, 2s, false);
        co_await calls(in, w, 1s, true);
        co_await calls_many(in, w, 1, true);
      },
      core_tests::lost::to_the_sink);
}

TEST_CASE("everywhere: breaker, rate limiter and bulkhead in one pipeline") {
  drive("admission pipeline", [](t::stage& s) -> b::task<> {
    place_of_work& w = make_work(s);
    w.limit = 2;
    using stack = b::pipeline<b::circuit_breaker, b::rate_limiter, b::bulkhead>;
    auto& in = s.make<stack>(b::circuit_breaker({.consecutive_failures = 3, .open_for = 1s}),
                             b::rate_limiter({.permits = 3, .per = 1s, .most_waiting = 2}),
                             b::bulkhead({.most_running = 2, .most_waiting = 2, .longest_wait = 1s}));
    s.expect("all is free", [&in] {
      return in.template get<1>().statistics().waiting == 0 && in.template get<2>().statistics().running == 0;
    });
    s.afterwards([&]() -> b::task<> {
      co_await b::sleep_for(2s);
      co_await calls(in, w, 1s, false);
    });
    co_await calls_many(in, w, 3, true);
    co_await calls_many(in, w, 1, false);
  });
}

TEST_CASE("everywhere: hedge round breaker and bulkhead") {
  drive(
      "hedged pipeline",
      [](t::stage& s) -> b::task<> {
        place_of_work& w = make_work(s);
        w.limit = 2;
        using stack = b::pipeline<b::hedge, b::circuit_breaker, b::bulkhead>;
        auto& in = s.make<stack>(b::hedge({.delay = 500ms, .budget = 1}),
                                 b::circuit_breaker({.consecutive_failures = 3, .open_for = 1s}),
                                 b::bulkhead({.most_running = 2, .most_waiting = 2, .longest_wait = 1s}));
        s.expect("every place is free", [&in] { return in.template get<2>().statistics().running == 0; });
        s.afterwards([&]() -> b::task<> {
          co_await b::sleep_for(2s);
          co_await calls(in, w, 1s, false);
        });
        co_await calls_many(in, w, 2, true);
      },
      core_tests::lost::to_the_sink);
}
