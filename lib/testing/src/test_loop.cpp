// SPDX-License-Identifier: Apache-2.0
// The loop for tests.

#include <belay/testing/test_loop.hpp>

namespace belay::testing {

namespace {

loop_options with_test_parts(loop_options options, belay::clock& time, std::mutex& mutex,
                             std::vector<std::string>& lost, std::vector<diagnostic>& diagnostics) {
  options.clock = &time;
  if (!options.random_seed) options.random_seed = options.schedule_seed.value_or(0);
  options.on_lost_failure = [&mutex, &lost](const failure& what) {
    const std::lock_guard lock(mutex);
    lost.push_back(describe(what));
  };
  options.on_diagnostic = [&mutex, &diagnostics](const diagnostic& what) {
    const std::lock_guard lock(mutex);
    diagnostics.push_back(what);
  };
  return options;
}

}  // namespace

test_loop::test_loop(loop_options options, duration hang_limit)
    : loop_(with_test_parts(std::move(options), clock_, mutex_, lost_, diagnostics_)),
      watch_(loop_, hang_limit) {}

bool test_loop::nothing_left() const noexcept {
  const loop_statistics now = loop_.statistics();
  return now.live_tasks == 0 && now.timers == 0 && now.blocking_jobs == 0;
}

namespace {

std::string counted(std::size_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

}  // namespace

report no_leaks(const test_loop& loop) {
  report out;
  out.name = "no_leaks";
  const loop_statistics now = loop.loop().statistics();
  std::vector<std::string> left;
  if (now.live_tasks != 0) left.push_back(counted(now.live_tasks, "task that lives", "tasks that live"));
  if (now.timers != 0)
    left.push_back(counted(now.timers, "timer that is still armed", "timers that are still armed"));
  if (now.blocking_jobs != 0) left.push_back(counted(now.blocking_jobs, "thread at work", "threads at work"));
  if (left.empty()) return out;
  finding one;
  one.rule = rules::nothing_left;
  one.what = left.front();
  for (std::size_t i = 1; i < left.size(); ++i) one.what += (i + 1 == left.size() ? " and " : ", ") + left[i];
  one.what = "the loop still has " + one.what;
  one.left = std::move(left);
  out.findings.push_back(std::move(one));
  return out;
}

report no_lost_errors(const test_loop& loop) {
  report out;
  out.name = "no_lost_errors";
  for (const std::string& text : loop.lost_errors()) {
    finding one;
    one.rule = rules::no_error_lost;
    one.what = "an error that nobody looked at: " + text;
    out.findings.push_back(std::move(one));
  }
  return out;
}

report no_diagnostics(const test_loop& loop) {
  report out;
  out.name = "no_diagnostics";
  for (const diagnostic& noticed : loop.diagnostics()) {
    finding one;
    one.rule = rules::nothing_noticed;
    one.what = std::string(to_string(noticed.kind)) + ": " + describe(noticed);
    if (!noticed.places.empty()) one.at = noticed.places.front();
    out.findings.push_back(std::move(one));
  }
  return out;
}

}  // namespace belay::testing
