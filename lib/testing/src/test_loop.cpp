// SPDX-License-Identifier: Apache-2.0
// The loop for tests.

#include <belay/testing/test_loop.hpp>

namespace belay::testing {

namespace {

loop_options with_test_parts(loop_options options, belay::clock& time, std::vector<std::string>& lost) {
  options.clock = &time;
  options.on_lost_failure = [&lost](const failure& what) { lost.push_back(describe(what)); };
  return options;
}

}  // namespace

test_loop::test_loop(loop_options options) : loop_(with_test_parts(std::move(options), clock_, lost_)) {}

bool test_loop::nothing_left() const noexcept {
  const loop_statistics now = loop_.statistics();
  return now.live_tasks == 0 && now.timers == 0 && now.blocking_jobs == 0;
}

}  // namespace belay::testing
