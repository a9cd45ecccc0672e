// SPDX-License-Identifier: Apache-2.0
// What lives how long when a stream is iterated. The code of docs/hazards/stream-items.md.
//   ./stream_items     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/stream.hpp>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

using belay::task;

// [snippet keep]
belay::stream<std::string> words() {
  std::string word;
  for (const char letter : {'a', 'b', 'b', 'c'}) {
    word = letter;
    co_yield word;  // the consumer gets this very variable
  }
}

task<std::vector<std::string>> without_repetitions() {
  std::vector<std::string> kept;
  co_await belay::for_each(words(), [&kept](std::string& word) {
    if (kept.empty() || kept.back() != word) kept.push_back(std::move(word));  // the generator fills it anew
  });
  co_return kept;
}
// [end]

task<> program() {
  for (const std::string& word : co_await without_repetitions()) std::printf("%s\n", word.c_str());
}

int main() { return belay::run(program()); }
