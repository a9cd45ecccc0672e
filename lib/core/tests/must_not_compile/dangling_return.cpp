// SPDX-License-Identifier: Apache-2.0
// A task must not be returned that refers to a local variable.

#include <belay/core/task.hpp>

#pragma clang diagnostic error "-Wreturn-stack-address"

belay::task<> work(const int& number);

BELAY_CORO_WRAPPER belay::task<> uses(const int& given) {
#ifdef BELAY_CONTROL
  return work(given);
#else
  const int local = given;
  return work(local);
#endif
}
