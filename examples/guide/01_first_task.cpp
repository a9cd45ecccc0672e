// SPDX-License-Identifier: Apache-2.0
// Tasks: written, awaited, run. The guide's chapter 1.
//   ./01_first_task     exit: 3, the length of the word
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

// [snippet task]
belay::task<std::string> fetch(std::string key) {
  std::printf("fetching %s\n", key.c_str());
  co_await belay::sleep_for(10ms);  // stands for a question to a database
  co_return "one";
}
// [end]

// [snippet run]
belay::task<int> program() {
  belay::task<std::string> later = fetch("first");  // nothing runs yet
  std::puts("not begun");
  const std::string word = co_await std::move(later);
  std::printf("got %s\n", word.c_str());
  co_return static_cast<int>(word.size());
}

int main() { return belay::run(program()); }
// [end]
