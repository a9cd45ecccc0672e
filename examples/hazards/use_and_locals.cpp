// SPDX-License-Identifier: Apache-2.0
// When a resource of use() is closed: after the locals on a normal end, before them on a cancellation.
//   ./use_and_locals     exit: 0
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

struct local {
  ~local() { std::puts("  the local is destroyed"); }
};

belay::managed<int> resource() {
  int value = 1;
  co_yield value;
  std::puts("  the resource closes");
}

// [snippet order]
belay::task<> uses(bool wait, bool fail) {
  const local here;
  co_await belay::use(resource());
  if (wait) co_await belay::sleep_for(1h);
  if (fail) throw belay::error("failed");
}
// [end]

// [snippet with]
// A resource that refers to a local: with() closes it while the local is there, however the block ends.
belay::managed<std::string> appends_to(std::string& text) {
  co_yield text;
  text += ", closed";
}

belay::task<std::string> safe() {
  std::string text = "opened";
  co_await belay::with(appends_to(text), [](std::string& t) -> belay::task<> {
    t += ", used";
    co_return;
  });
  co_return text;
}
// [end]

belay::task<> program() {
  std::puts("normal end:");
  co_await uses(false, false);
  std::puts("error:");
  const belay::outcome<void> how = co_await belay::as_outcome(uses(false, true));
  std::printf("  %s\n", how.failure().message().c_str());
  std::puts("cancelled:");
  co_await belay::move_on_after(10ms, uses(true, false));
  std::puts((co_await safe()).c_str());
}

int main() { return belay::run(program()); }
