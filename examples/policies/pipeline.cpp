// SPDX-License-Identifier: Apache-2.0
// Several policies as one: what it is, what is suspicious about its order, what it tells. The page docs/policies/pipeline.md.
//   ./pipeline     exit: 0
#include <belay/core/run.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

belay::task<int> fetch(int& calls) {
  if (++calls < 3) throw belay::error(belay::error_kind::unavailable, "refused", "refused");
  co_return 42;
}

// [snippet listener]
// One place for the events of all policies: a log, a metric, a span.
const belay::policy_listener listener([](const belay::policy_event& e) {
  std::printf("  %s %s %llu\n", std::string(e.policy).c_str(), std::string(to_string(e.action)).c_str(),
              static_cast<unsigned long long>(e.number));
});
// [end]

belay::task<int> program() {
  // [snippet pipeline]
  const belay::pipeline guarded{
      belay::fallback{0, {.listener = listener}},
      belay::retry{{.delay = belay::backoff::constant(1ms), .name = "quotes", .listener = listener}},
      belay::timeout{{.limit = 1s, .listener = listener}},
  };
  int calls = 0;
  std::printf("%d\n", co_await guarded(fetch, std::ref(calls)));
  std::printf("%s\n", guarded.describe().c_str());
  // [end]

  // [snippet warnings]
  const belay::pipeline odd{belay::timeout{1s}, belay::retry{}, belay::fallback{0}};
  for (const belay::pipeline_warning& one : odd.warnings())
    std::printf("%s: %s\n", std::string(one.code).c_str(), one.text.c_str());
  // [end]
  co_return 0;
}

int main() { return belay::run(program()); }
