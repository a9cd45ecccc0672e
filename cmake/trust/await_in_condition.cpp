// SPDX-License-Identifier: Apache-2.0
// Finds: co_await in a condition, in a body that declares nothing before it. g++ 12.2 skips the body and returns 0.

#include "probe.hpp"

namespace trust {
namespace {

task<int> in_if() {
  if (co_await give(1) == 1) co_return 5;
  co_return 6;
}

task<int> in_switch() {
  switch (co_await give(2)) {
    case 2:
      co_return 5;
    default:
      co_return 6;
  }
}

task<int> in_while() {
  while (co_await give(1) == 1) co_return 5;
  co_return 6;
}

task<int> in_for() {
  for (; co_await give(1) == 1;) co_return 5;
  co_return 6;
}

task<int> after_statement() {
  co_await give(7);
  if (co_await give(1) == 1) co_return 5;
  co_return 6;
}

task<int> inside_try() {
  try {
    if (co_await give(1) == 1) co_return 5;
  } catch (int) {
    co_return 7;
  }
  co_return 6;
}

}  // namespace

const char* await_in_condition() {
  if (in_if().run(-1) != 5) return "if (co_await f() == 1) co_return 5; co_return 6;  did not return 5";
  if (in_switch().run(-1) != 5) return "switch (co_await f()) did not take the case of the value";
  if (in_while().run(-1) != 5) return "while (co_await f() == 1) did not enter its body";
  if (in_for().run(-1) != 5) return "for (; co_await f() == 1;) did not enter its body";
  if (after_statement().run(-1) != 5) return "if (co_await f() == 1) after co_await g(); took the wrong branch";
  if (inside_try().run(-1) != 5) return "if (co_await f() == 1) inside try took the wrong branch";
  return nullptr;
}

}  // namespace trust
