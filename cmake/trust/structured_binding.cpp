// SPDX-License-Identifier: Apache-2.0
// Finds: auto [a, b] = co_await x. g++ 15 skips the destructor (a leak) or runs it on garbage.

#include "probe.hpp"

namespace trust {
namespace {

struct pair {
  tracked first;
  tracked second;
};

task<pair> make_pair() { co_return pair{}; }

task<int> bind() {
  auto [first, second] = co_await make_pair();
  (void)first;
  (void)second;
  co_return co_await give(1);
}

}  // namespace

const char* structured_binding() {
  const int before = tracked::alive;
  if (bind().run(-1) != 1) return "auto [a, b] = co_await f(): the body did not finish";
  if (tracked::alive != before) return "auto [a, b] = co_await f(): the bound object is not destroyed exactly once";
  return nullptr;
}

}  // namespace trust
