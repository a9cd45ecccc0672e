// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scenario that is another one for each seed: groups in groups, limits, channels, locks, resources, failing cleanups, supervisors.

#include <belay/testing/everywhere.hpp>
#include <cstdint>

namespace core_tests {

// Runs the seeds `from`, `from` + 1, ... The rules: nothing lost, nothing left, no other errors than the expected ones, each lock and counter
// as it must be.
[[nodiscard]] belay::testing::report explore_mixed(std::uint64_t from, std::uint64_t seeds);

}  // namespace core_tests
