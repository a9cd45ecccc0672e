// SPDX-License-Identifier: Apache-2.0
// A handler that takes something else than the error it is registered for: the compiler says what it may take.

#include <belay/errors/error_router.hpp>
#include <string>

void adds(belay::error_router<int>& routes) {
#ifdef BELAY_CONTROL
  routes.on<belay::timeout_error>([](const belay::error&) { return 1; });
#else
  routes.on<belay::timeout_error>([](const std::string&) { return 1; });
#endif
}
