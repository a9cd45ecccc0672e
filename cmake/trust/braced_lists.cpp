// SPDX-License-Identifier: Apache-2.0
// Finds, by not compiling: braced lists next to co_await. g++ 12.2 says "array used as initializer".

#include "probe.hpp"

#include <initializer_list>

namespace {

struct names {
  names(std::initializer_list<const char*> list) : count{static_cast<int>(list.size())} {}
  int count;
};

struct numbers {
  numbers(std::initializer_list<int> list) {
    for (int value : list) sum += value;
  }
  int sum = 0;
};

trust::task<int> count(names given) { co_return given.count; }

trust::task<int> braced_argument() { co_return co_await count({"a", "b"}); }

trust::task<int> braced_awaits() {
  numbers both{co_await trust::give(1), co_await trust::give(2)};
  co_return both.sum;
}

}  // namespace

int main() { return braced_argument().run(-1) == 2 && braced_awaits().run(-1) == 3 ? 0 : 1; }
