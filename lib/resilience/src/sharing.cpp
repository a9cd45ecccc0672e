// SPDX-License-Identifier: Apache-2.0
// The thread of a policy that belongs to one loop.

#include <belay/core/error.hpp>
#include <belay/resilience/detail/sharing.hpp>

#include <string>

namespace belay::detail {

namespace {
constinit thread_local char mark = 0;
}  // namespace

const void* this_thread_mark() noexcept { return &mark; }

void refuse_other_thread(const char* what) {
  const std::string name = what;
  std::string text = name + ": used by another thread than before; each loop needs one of its own";
  if (name == "circuit_breaker" || name == "rate_limiter") text += ", or take shared_" + name;
  throw misuse_error(std::move(text));
}

}  // namespace belay::detail
