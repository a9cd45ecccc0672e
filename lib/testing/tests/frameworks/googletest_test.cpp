// SPDX-License-Identifier: Apache-2.0
// The drivers in GoogleTest.

#include <belay/core/sleep.hpp>
#include <belay/testing/everywhere.hpp>
#include <gtest/gtest.h>

namespace {

belay::task<> keeps_its_promises() { co_await belay::sleep_for(std::chrono::seconds(1)); }

belay::task<> keeps_a_count(belay::testing::stage& s) {
  int& busy = s.make<int>(0);
  s.expect("nobody is busy", [&busy] { return busy == 0; });
  ++busy;
  co_await belay::sleep_for(std::chrono::seconds(1));
  --busy;
}

TEST(Everywhere, ReportsArePlainValues) {
  const auto found = belay::testing::everywhere(keeps_its_promises);
  EXPECT_TRUE(found.ok()) << found;
}

TEST(Everywhere, RequireThrows) {
  EXPECT_NO_THROW(belay::testing::everywhere(keeps_its_promises).require());
  EXPECT_THROW(belay::testing::everywhere(keeps_a_count).require(), belay::testing::promise_broken);
}

}  // namespace
