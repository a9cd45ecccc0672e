// SPDX-License-Identifier: Apache-2.0
// Finds: a class-typed ?: next to co_await. g++ 12.2 destroys the result twice.

#include "probe.hpp"

namespace trust {
namespace {

task<int> chosen_operand(bool first) {
  tracked result = first ? (co_await give(1), tracked{}) : tracked{};
  (void)result;
  co_return 1;
}

task<tracked> make() { co_return tracked{}; }

task<int> awaited_operand(bool first) {
  tracked result = first ? co_await make() : tracked{};
  (void)result;
  co_return 1;
}

bool balanced(task<int> (*body)(bool), bool first) {
  const int before = tracked::alive;
  const bool right_value = body(first).run(-1) == 1;
  return right_value && tracked::alive == before;
}

}  // namespace

const char* conditional_beside_await() {
  for (bool first : {true, false}) {
    if (!balanced(chosen_operand, first)) return "c ? (co_await f(), x{}) : x{}: the object is not destroyed exactly once";
    if (!balanced(awaited_operand, first)) return "c ? co_await f() : x{}: the object is not destroyed exactly once";
  }
  return nullptr;
}

}  // namespace trust
