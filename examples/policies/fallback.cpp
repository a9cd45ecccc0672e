// SPDX-License-Identifier: Apache-2.0
// The last known answer in the place of an error. The page docs/policies/fallback.md.
//   ./fallback     exit: 0
#include <belay/core/run.hpp>
#include <belay/resilience/fallback.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

belay::task<std::string> fetch() {
  throw belay::error(belay::error_kind::unavailable, "refused", "the server is away");
  co_return "";
}

// [snippet fallback]
belay::task<std::string> read_last() { co_return "yesterday's quote"; }

belay::task<int> program() {
  const belay::pipeline guarded{
      belay::fallback{[](const belay::failure& why) -> belay::task<std::string> {
                        co_return co_await read_last() + " (" + why.message() + ")";
                      },
                      {.name = "last quote"}},
      belay::timeout{1s},
  };
  std::printf("%s\n", (co_await guarded(fetch)).c_str());
  std::printf("replaced: %s\n", guarded.get<0>().statistics().last.message().c_str());
  co_return 0;
}
// [end]

int main() { return belay::run(program()); }
