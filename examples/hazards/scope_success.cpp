// SPDX-License-Identifier: Apache-2.0
// A guard that asks std::uncaught_exceptions() takes a cancellation for a success.
//   ./scope_success     exit: 0
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <exception>
#include <stdexcept>

using namespace std::chrono_literals;

// [snippet guard]
class commit_on_success {  // as in many libraries: scope_success, scope_fail
 public:
  ~commit_on_success() {
    std::puts(std::uncaught_exceptions() > entered_ ? "  guard: rollback" : "  guard: commit");
  }

 private:
  int entered_ = std::uncaught_exceptions();
};

belay::task<> with_guard(bool fail) {
  const commit_on_success guard;
  if (fail) throw std::runtime_error("failed");
  co_await belay::sleep_for(1h);  // cancelled here: the guard says commit
}
// [end]

// [snippet managed]
belay::managed<int> commits_on_success() {
  int handle = 1;
  const belay::exit_status how = co_yield handle;
  std::puts(how.succeeded()   ? "  managed: commit"
            : how.cancelled() ? "  managed: rollback, cancelled"
                              : "  managed: rollback");
}

belay::task<> with_managed(bool fail) {
  co_await belay::use(commits_on_success());
  if (fail) throw std::runtime_error("failed");
  co_await belay::sleep_for(1h);
}
// [end]

belay::task<> program() {
  std::puts("an error:");
  static_cast<void>((co_await belay::as_outcome(with_guard(true))).failure());
  static_cast<void>((co_await belay::as_outcome(with_managed(true))).failure());
  std::puts("a cancellation:");
  co_await belay::move_on_after(5ms, with_guard(false));
  co_await belay::move_on_after(5ms, with_managed(false));
}

int main() { return belay::run(program()); }
