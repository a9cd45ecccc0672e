// SPDX-License-Identifier: Apache-2.0
// Compositions of three and more, ended at every await.
#include <belay/core/finally.hpp>
#include <belay/resilience/cache.hpp>
#include <belay/resilience/chaos.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

b::retry_options seeded(unsigned attempts) {
  b::retry_options options = steady(attempts);
  options.seed = 1;
  return options;
}

// Fails twice, with a resource and a cleanup each time; the third time it gives 7.
struct troublesome {
  int live = 0;
  int open = 0;
  int runs = 0;

  b::task<int> run() {
    const counted here(live);
    const auto body = [this]() -> b::task<int> {
      ++open;
      co_await b::sleep_for(500ms);
      if (++runs < 3) throw unavailable("run " + std::to_string(runs));
      co_return 7;
    };
    const auto cleanup = [this]() -> b::task<> {
      co_await b::sleep_for(100ms);
      --open;
    };
    co_return co_await b::finally(body, cleanup);
  }
};

// Drives `guarded` round it. It may fail with what the operation fails with: within a limit, a retry gives up.
template <class P>
void drive_composition(const char* name, P make) {
  drive(name, [make](t::stage& s) -> b::task<> {
    auto& op = s.make<troublesome>();
    s.expect("every attempt is destroyed", [&op] { return op.live == 0; });
    s.expect("what was opened is closed",
             [&op](const t::run_end& how) { return how.failed_in_cleanup || op.open == 0; });
    s.expect("no more attempts than allowed", [&op] { return op.runs <= 3; });
    auto guarded = make();
    const b::outcome<int> how = co_await b::as_outcome(guarded(&troublesome::run, std::ref(op)));
    const b::failure what = how.failure();
    if (what && b::current_deadline() == b::time_point::max()) what.rethrow();
  });
}

TEST_CASE("pipelines at every await: timeout, retry, timeout") {
  drive_composition("timeout retry timeout",
                    [] { return b::pipeline{b::timeout{20s}, b::retry{seeded(3)}, b::timeout{3s}}; });
}

TEST_CASE("pipelines at every await: fallback, retry, timeout") {
  drive_composition("fallback retry timeout",
                    [] { return b::pipeline{b::fallback{1}, b::retry{seeded(3)}, b::timeout{3s}}; });
}

TEST_CASE("pipelines at every await: retry, timeout, chaos") {
  drive_composition("retry timeout chaos", [] {
    const auto plan = [](std::uint64_t call) -> b::chaos_step {
      return {.latency = call == 2 ? 200ms : 0ms};
    };
    return b::pipeline{b::retry{seeded(3)}, b::timeout{3s},
                       b::chaos{{.plan = plan}, b::chaos_switch::on("test")}};
  });
}

TEST_CASE("pipelines at every await: fallback, timeout, retry on values, timeout, chaos") {
  drive_composition("five", [] {
    const auto plan = [](std::uint64_t call) -> b::chaos_step {
      return {.latency = call == 1 ? 200ms : 0ms};
    };
    const auto late = []() -> b::task<int> {
      co_await b::sleep_for(100ms);
      co_return 1;
    };
    return b::pipeline{b::fallback{late}, b::timeout{20s},
                       b::retry{seeded(3)}.on_value([](int value) { return value == 0; }), b::timeout{3s},
                       b::chaos{{.plan = plan}, b::chaos_switch::on("test")}};
  });
}

TEST_CASE("pipelines at every await: a limit of each policy's own passes") {
  const t::report limits = t::everywhere([](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("every attempt is destroyed", [&live] { return live == 0; });
    const b::pipeline guarded{b::fallback{1}, b::timeout{2500ms}, b::retry{seeded(3)}, b::timeout{1s}};
    const auto hangs = [&live]() -> b::task<int> {
      const counted here(live);
      co_await b::sleep_for(1h);
      co_return 2;
    };
    const int got = co_await guarded(hangs);
    CHECK(got == 1);
  });
  CHECK_MESSAGE(limits.ok(), limits.text());
}

}  // namespace
