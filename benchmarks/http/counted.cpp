// SPDX-License-Identifier: Apache-2.0
// Linked into a server with core/allocations.cpp: says at its end how often its main thread, which is the loop's, has asked for memory.

#include <cstdio>

#include "../core/measure.hpp"

namespace {

struct at_exit {
  ~at_exit() { std::fprintf(stderr, "allocations %zu\n", bench::allocations::now().calls); }
} const told;

}  // namespace
