// SPDX-License-Identifier: Apache-2.0
// A rule for `const E&` would never be asked: the type of the error itself is wanted.

#include <belay/errors/error_table.hpp>

void adds(belay::error_table<int>& table) {
#ifdef BELAY_CONTROL
  table.on<belay::timeout_error>(1);
#else
  table.on<const belay::timeout_error&>(1);
#endif
}
