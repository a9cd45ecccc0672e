// SPDX-License-Identifier: Apache-2.0
// The drivers in Catch2.

#define CATCH_CONFIG_MAIN
#include <belay/core/sleep.hpp>
#include <belay/testing/everywhere.hpp>
#include <catch2/catch.hpp>

namespace {

belay::task<> keeps_its_promises() { co_await belay::sleep_for(std::chrono::seconds(1)); }

belay::task<> keeps_a_count(belay::testing::stage& s) {
  int& busy = s.make<int>(0);
  s.expect("nobody is busy", [&busy] { return busy == 0; });
  ++busy;
  co_await belay::sleep_for(std::chrono::seconds(1));
  --busy;
}

}  // namespace

TEST_CASE("reports are plain values") {
  const auto found = belay::testing::everywhere(keeps_its_promises);
  INFO(found);
  CHECK(found.ok());
}

TEST_CASE("require throws") {
  CHECK_NOTHROW(belay::testing::everywhere(keeps_its_promises).require());
  CHECK_THROWS_AS(belay::testing::everywhere(keeps_a_count).require(), belay::testing::promise_broken);
}
