// SPDX-License-Identifier: Apache-2.0
// What a coroutine refers to must outlive it: groups, lambdas with captures, reference parameters.
//   ./lifetimes     exit: 0
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>

#include <cstdio>
#include <functional>
#include <string>

using namespace std::chrono_literals;
using belay::task;

// [snippet group]
task<> fill(int& counter) {
  co_await belay::sleep_for(5ms);
  ++counter;
}

task<int> count() {
  int counter = 0;  // outside of the body: it is there until the group has ended
  co_await belay::with_group([&counter](belay::group& g) -> task<> {
    g.spawn(fill, std::ref(counter));
    g.spawn(fill, std::ref(counter));
    co_return;  // the body ends here, its tasks go on
  });
  co_return counter;
}
// [end]

// [snippet captures]
task<> kept_by_spawn(std::string name) {
  co_await belay::with_group([&name](belay::group& g) -> task<> {
    g.spawn([name]() -> task<> {  // spawn keeps the lambda until its task has ended
      co_await belay::sleep_for(5ms);
      std::printf("hello, %s\n", name.c_str());
    });
    co_return;
  });
}

task<> without_captures(std::string name) {
  auto greet = [](std::string whom) -> task<> {  // what it needs is a parameter: kept in the frame
    co_await belay::sleep_for(5ms);
    std::printf("hello, %s\n", whom.c_str());
  };
  co_await greet(name);
}
// [end]

// [snippet parameters]
task<std::size_t> length_of(const std::string& text) {  // refers to the caller's string
  co_await belay::sleep_for(5ms);
  co_return text.size();
}

task<std::size_t> fine(std::string text) {
  co_return co_await length_of(text + "!");  // the temporary lives until the end of the full expression
}

task<std::size_t> fine_too(std::string text) {
  co_return co_await belay::with_group([&text](belay::group& g) -> task<std::size_t> {
    co_return co_await g.spawn(length_of, text + "!");  // spawn keeps a copy, length_of refers to that
  });
}
// [end]

// [snippet handle]
task<int> measure() {
  co_await belay::sleep_for(5ms);
  co_return 7;
}

task<> use_it(belay::child<int>& shared) { std::printf("measured %d\n", co_await shared); }

task<> share_a_result() {
  belay::child<int> shared;  // outside of the group: it outlives everybody who awaits it
  co_await belay::with_group([&shared](belay::group& g) -> task<> {
    shared = g.spawn(measure);
    g.spawn(use_it, std::ref(shared));
    g.spawn(use_it, std::ref(shared));
    co_return;
  });
}
// [end]

task<> program() {
  std::printf("%d\n", co_await count());
  co_await kept_by_spawn("Ada");
  co_await without_captures("Bob");
  co_await share_a_result();
  std::printf("%zu %zu\n", co_await fine("abc"), co_await fine_too("abc"));
}

int main() { return belay::run(program()); }
