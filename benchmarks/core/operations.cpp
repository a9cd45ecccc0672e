// SPDX-License-Identifier: Apache-2.0
// Each operation a given number of times, and nothing else: tools/count_instructions counts what one of them costs.
//   operations NAME TIMES     exit: 0, 2 for a name that it does not know

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

using belay::task;

[[gnu::noinline]] task<int> child(int value) { co_return value; }

[[gnu::noinline]] task<int> fails(int depth) {
  if (depth == 0) co_await belay::fail(belay::error("no"));
  co_return co_await belay::or_fail(fails(depth - 1));
}

task<> ready_child(long times) {
  for (long i = 0; i < times; ++i) static_cast<void>(co_await child(1));
}
task<> yields(long times) {
  for (long i = 0; i < times; ++i) co_await belay::yield();
}
task<> sleeps(long times) {
  for (long i = 0; i < times; ++i) co_await belay::sleep_for(belay::duration(0));
}
task<> spawns_and_joins(long times) {
  co_await belay::with_group([times](belay::group& g) -> task<> {
    for (long i = 0; i < times; ++i) static_cast<void>(co_await g.spawn(child, 1));
  });
}
task<> with_timeouts(long times) {
  for (long i = 0; i < times; ++i) {
    static_cast<void>(co_await belay::with_timeout(std::chrono::seconds(1), child(1)));
  }
}
task<> permits(long times) {
  belay::semaphore pool(1);
  for (long i = 0; i < times; ++i) const auto mine = co_await pool.acquire();
}
task<> failures(long times) {
  for (long i = 0; i < times; ++i) {
    const auto how = co_await belay::as_outcome(fails(8));
    static_cast<void>(how.failure());
  }
}

struct operation {
  std::string_view name;
  task<> (*run)(long times);
};
constexpr operation operations[] = {
    {"ready_child", ready_child},
    {"yield", yields},
    {"sleep", sleeps},
    {"spawn_join", spawns_and_joins},
    {"with_timeout", with_timeouts},
    {"permit", permits},
    {"or_fail_8", failures},
};

}  // namespace

int main(int count, char** words) {
  for (const operation& one : operations) {
    if (count == 3 && one.name == words[1]) {
      belay::loop loop;
      loop.run(one.run(std::atol(words[2])));
      return 0;
    }
  }
  std::fputs("usage: operations NAME TIMES, with NAME one of", stderr);
  for (const operation& one : operations) std::fprintf(stderr, " %s", one.name.data());
  std::fputs("\n", stderr);
  return 2;
}
