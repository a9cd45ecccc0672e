// SPDX-License-Identifier: Apache-2.0
// Runs many seeds of the mixed scenario: one process of tools/explore.
//   belay_core_explore FROM SEEDS     writes the number of seeds done, a line each thousand; exit: 0 clean, 1 findings, 2 usage
// With BELAY_REPLAY from a finding: only that run, with a line for each await.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "mixed.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: belay_core_explore FROM SEEDS\n", stderr);
    return 2;
  }
  const std::uint64_t from = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t seeds = std::strtoull(argv[2], nullptr, 10);
  for (std::uint64_t done = 0; done < seeds;) {
    const std::uint64_t now = std::min<std::uint64_t>(1000, seeds - done);
    const belay::testing::report found = core_tests::explore_mixed(from + done, now);
    if (!found.ok()) {
      std::fputs((found.text() + "\n").c_str(), stderr);
      return 1;
    }
    done += now;
    std::printf("%llu\n", static_cast<unsigned long long>(done));
    std::fflush(stdout);
  }
  return 0;
}
