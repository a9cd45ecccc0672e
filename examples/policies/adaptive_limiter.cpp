// SPDX-License-Identifier: Apache-2.0
// A limit that is learned: the service gets slow, and less is let through. The page docs/policies/adaptive_limiter.md.
//   ./adaptive_limiter     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/adaptive_limiter.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<> search(belay::duration takes) { co_await belay::sleep_for(takes); }

// [snippet adaptive]
const belay::adaptive_limiter searches({
    .name = "search",
    .algorithm = belay::limit_algorithm::aimd,
    .first_limit = 10,
    .most_limit = 200,
    .too_slow = 20ms,
});

belay::task<> all_at_once(int calls, belay::duration takes) {
  co_await belay::with_group([&](belay::group& g) -> belay::task<> {
    for (int i = 0; i < calls; ++i) g.spawn([takes]() -> belay::task<> { co_await searches(search, takes); });
    co_return;
  });
}
// [end]

belay::task<> program() {
  co_await all_at_once(10, 50ms);  // too slow
  std::printf("%s\n", searches.statistics().limit < 10 ? "the limit has come down" : "it has not");
}

int main() { return belay::run(program()); }
