// SPDX-License-Identifier: Apache-2.0
// Reports that take long must not take every connection. The page docs/policies/bulkhead.md.
//   ./bulkhead     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/bulkhead.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<> make_report(const char* name) {
  std::printf("begin %s\n", name);
  co_await belay::sleep_for(10ms);
}

// [snippet bulkhead]
const belay::bulkhead reports({.name = "reports", .most_running = 1, .most_waiting = 2, .longest_wait = 5s});
const belay::bulkhead urgent_reports = reports.with_priority(belay::call_priority::high);  // the same place

belay::task<> ask(const belay::bulkhead& through, const char* name) {
  try {
    co_await through(make_report, name);
  } catch (const belay::overload_error& e) {
    std::printf("%s: %s\n", name, e.what());
  }
}
// [end]

int main() {
  return belay::run([]() -> belay::task<> {
    co_await belay::with_group([](belay::group& g) -> belay::task<> {
      g.spawn(ask, std::cref(reports), "first");
      g.spawn(ask, std::cref(reports), "second");
      g.spawn(ask, std::cref(urgent_reports), "urgent");
      g.spawn(ask, std::cref(reports), "one too many");
      co_return;
    });
    std::printf("%s\n", reports.describe().c_str());
  }());
}
