// SPDX-License-Identifier: Apache-2.0
// An operation that fails twice, and one that fails always. The page docs/policies/retry.md.
//   ./retry     exit: 0
#include <belay/core/failure.hpp>
#include <belay/core/run.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<int> fetch(int& calls, int failures) {
  if (++calls <= failures)
    throw belay::error(belay::error_kind::unavailable, "refused", "connect to quotes:443: refused");
  co_return calls;
}

// [snippet retry]
const belay::retry_budget budget{{.ratio = 0.1}};  // for all that leads to the same server

const belay::pipeline guarded{
    belay::retry{{
        .max_attempts = 4,
        .delay = belay::backoff::exponential(1ms, 1s),
        .on = belay::transient_errors() || belay::kinds({belay::error_kind::conflict}),
        .budget = budget,
        .name = "quotes",
    }},
    belay::timeout{1s},
};
// [end]

// [snippet values]
struct answer {
  int status = 200;
};
belay::task<answer> ask(int& calls) { co_return answer{++calls < 3 ? 503 : 200}; }

belay::task<> on_values() {
  const auto patient = belay::retry{{.delay = belay::backoff::constant(1ms)}}.on_value(
      [](const answer& got) { return got.status == 503; });
  int calls = 0;
  std::printf("status %d\n", (co_await patient(ask, std::ref(calls))).status);
}
// [end]

belay::task<int> program() {
  int calls = 0;
  std::printf("attempt %d succeeded\n", co_await guarded(fetch, std::ref(calls), 2));
  calls = 0;
  try {
    co_await guarded(fetch, std::ref(calls), 100);
  } catch (const belay::error& e) {
    const belay::failure what = belay::current_failure();
    std::printf("%s\n  %zu earlier errors are attached\n  %s\n", e.what(), what.attached().size(),
                what.notes().back().c_str());
  }
  co_await on_values();
  std::printf("%s\n", guarded.describe().c_str());
  co_return 0;
}

int main() { return belay::run(program()); }
