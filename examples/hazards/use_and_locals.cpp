// SPDX-License-Identifier: Apache-2.0
// When a resource of use() is closed: after the locals on a normal end, before them on a cancellation or after fail.
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
enum class ending { normal, error, fail, wait };

belay::task<> uses(ending how) {
  const local here;
  co_await belay::use(resource());
  if (how == ending::error) throw belay::error("failed");
  if (how == ending::fail) co_await belay::fail(belay::error("failed"));
  if (how == ending::wait) co_await belay::sleep_for(1h);
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
  co_await uses(ending::normal);
  std::puts("error:");
  static_cast<void>((co_await belay::as_outcome(uses(ending::error))).failure());
  std::puts("fail, or_fail:");
  static_cast<void>((co_await belay::as_outcome(uses(ending::fail))).failure());
  std::puts("cancelled:");
  co_await belay::move_on_after(10ms, uses(ending::wait));
  std::puts((co_await safe()).c_str());
}

int main() { return belay::run(program()); }
