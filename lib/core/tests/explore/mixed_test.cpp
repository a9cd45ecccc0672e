// SPDX-License-Identifier: Apache-2.0
// Ten thousand schedules of the mixed scenario; tools/explore runs a million.

#include <doctest/doctest.h>

#include "mixed.hpp"

TEST_CASE("explore: ten thousand schedules of the mixed scenario run clean") {
  const belay::testing::report found = core_tests::explore_mixed(1, 10'000);
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.runs > 10'000);
}
