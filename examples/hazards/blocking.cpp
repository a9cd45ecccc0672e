// SPDX-License-Identifier: Apache-2.0
// A blocking call stops every task of the loop; to_thread does not.
//   ./blocking     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>

#include <cstdio>
#include <functional>
#include <thread>

using namespace std::chrono_literals;
using belay::task;

// [snippet blocking]
int blocking_call() {
  std::this_thread::sleep_for(50ms);
  return 1;
}

task<> ticks(int& count) {
  for (;;) {
    co_await belay::sleep_for(1ms);
    ++count;
  }
}

task<int> ticks_during(bool in_a_thread) {
  int count = 0;
  co_await belay::with_group([&count, in_a_thread](belay::group& g) -> task<> {
    g.spawn(ticks, std::ref(count));
    co_await belay::yield();
    if (in_a_thread) {
      co_await belay::to_thread(blocking_call);
    } else {
      blocking_call();  // the loop stands still
    }
    g.cancel();
  });
  co_return count;
}
// [end]

task<> program() {
  const int blocked = co_await ticks_during(false);
  const int in_thread = co_await ticks_during(true);
  std::printf("blocking on the loop: %d ticks\n", blocked);
  std::printf("to_thread: %s\n", in_thread > 0 ? "the others went on" : "nobody went on");
}

int main() { return belay::run(program()); }
