// SPDX-License-Identifier: Apache-2.0
// Without an argument lists the probes, a line each: name, a bar, the defect it finds. With a name runs that probe:
// exit 0 and no output when the compiler did right, else 1 (or a crash) and what went wrong.

#include "probe.hpp"

#include <cstdio>
#include <cstring>

namespace {

struct probe {
  const char* name;
  const char* defect;
  const char* (*run)();
};

constexpr probe probes[] = {
    {"await_in_condition", "co_await in the condition of if, while, for or switch takes the wrong branch",
     trust::await_in_condition},
    {"temporaries_beside_await", "temporaries in a statement with co_await are destroyed twice",
     trust::temporaries_beside_await},
    {"conditional_beside_await", "operands of ?: around co_await are destroyed twice",
     trust::conditional_beside_await},
    {"structured_binding", "auto [a, b] = co_await x loses or doubles a destructor", trust::structured_binding},
    {"awaiter_identity", "an awaiter is copied, so that it waits on a stranger", trust::awaiter_identity},
    {"destroyed_while_suspended", "destroying a suspended coroutine loses or doubles a destructor",
     trust::destroyed_while_suspended},
    {"stack_of_await_loop", "a loop of co_await that never waits grows the stack", trust::stack_of_await_loop},
    {"caller_location", "source_location in await_transform does not name the line of the co_await",
     trust::caller_location},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    for (const probe& p : probes) std::printf("%s|%s\n", p.name, p.defect);
    return 0;
  }
  for (const probe& p : probes) {
    if (std::strcmp(p.name, argv[1]) != 0) continue;
    const char* wrong = p.run();
    if (wrong == nullptr) return 0;
    std::printf("%s\n", wrong);
    return 1;
  }
  std::printf("no probe of this name: %s\n", argv[1]);
  return 2;
}
