// SPDX-License-Identifier: Apache-2.0
// Bound fields belong to a logger, which is a value: tasks at the same time cannot mix theirs, and there is nothing to restore.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/testing/test_loop.hpp>

#include <functional>
#include <stdexcept>
#include <string>

#include "support.hpp"

using namespace belay::telemetry;
using namespace std::chrono_literals;
using belay::task;
using telemetry_test::fixture;

namespace {

enum class ending { value, error, cancelled };

task<> work(const logger& outer, int number, ending how) {
  const logger log = outer.with({{"task", number}});
  log.info("begins");
  co_await belay::sleep_for(number * 1ms);
  log.info("goes_on");
  if (how == ending::error) throw std::runtime_error("on purpose");
  if (how == ending::cancelled) co_await belay::sleep_for(1h);
}

}  // namespace

TEST_CASE("bound fields: of tasks at the same time do not mix, however they end [row 471]") {
  fixture f;
  belay::testing::test_loop loop;
  loop.run([](const logger& log) -> task<> {
    co_await belay::with_group(
        {.policy = belay::group_policy::supervise}, [&log](belay::group& all) -> task<> {
          belay::child<void> first = all.spawn(work, std::cref(log), 1, ending::value);
          belay::child<void> second = all.spawn(work, std::cref(log), 2, ending::error);
          belay::child<void> third = all.spawn(work, std::cref(log), 3, ending::cancelled);
          co_await belay::sleep_for(10ms);
          third.cancel();
          const belay::outcome<void>& failed = co_await belay::as_outcome(second);
          failed.failure().observe();
        });
    log.info("after");
  }(f.log));
  const auto lines = f.sink->lines();
  REQUIRE(lines.size() == 7);
  for (int number = 1; number != 4; ++number) {
    const std::string own = "\"task\":" + std::to_string(number);
    CHECK(lines[static_cast<std::size_t>(number - 1)].find(own) != std::string::npos);
    CHECK(lines[static_cast<std::size_t>(number + 2)].find(own) != std::string::npos);
  }
  CHECK(lines[6].find("\"task\"") == std::string::npos);
}
