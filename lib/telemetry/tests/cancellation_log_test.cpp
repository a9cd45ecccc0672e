// SPDX-License-Identifier: Apache-2.0
// Cancellations in the log.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/telemetry/cancellation.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>
#include <stdexcept>

#include "support.hpp"

namespace json = boost::json;
using namespace belay::telemetry;
using namespace std::chrono_literals;
using telemetry_test::fixture;

namespace {

struct says_goodbye {
  const logger& log;
  ~says_goodbye() { log.warn("stopped", {{"cancelled", to_value(belay::current_cancellation())}}); }
};

belay::task<> works(const logger& log) {
  const says_goodbye at_end{log};
  co_await belay::sleep_for(1h);
}

}  // namespace

TEST_CASE("cancellation log: who asked a task to stop, why and where, is in its record") {
  fixture f;
  belay::testing::test_loop loop;
  static_cast<void>(loop.run(belay::move_on_after({.limit = 1s, .name = "dashboard"}, works(f.log))));
  const json::object cancelled = f.record().at("cancelled").as_object();
  CHECK(cancelled.at("reason").as_string() == "deadline passed");
  CHECK(cancelled.at("who").as_string() == "scope 'dashboard'");
  CHECK(cancelled.at("at").as_string().find("cancellation_log_test.cpp:") == 0);
  CHECK(!cancelled.contains("cause"));
}

TEST_CASE("cancellation log: the failure behind it is told; nobody asked: null") {
  fixture f;
  belay::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(belay::with_group([&](belay::group& g) -> belay::task<> {
    g.spawn(works, std::ref(f.log));
    co_await belay::yield();
    throw std::runtime_error("the disk is full");
  })),
                  std::runtime_error);
  CHECK(f.record().at("cancelled").at("cause").as_string() == "the disk is full");
  CHECK(f.record().at("cancelled").at("reason").as_string() == "sibling failed");
  fixture none;
  none.log.info("quiet", {{"cancelled", to_value(belay::current_cancellation())}});
  CHECK(none.record().at("cancelled").is_null());
}
