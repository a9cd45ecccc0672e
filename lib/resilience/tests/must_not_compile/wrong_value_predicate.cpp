// SPDX-License-Identifier: Apache-2.0
// A predicate on values that cannot look at what the operation gives.
#include <belay/resilience/retry.hpp>
#include <string>

belay::task<std::string> fetch() { co_return "x"; }

belay::task<std::string> program(const belay::retry& again) {
#ifdef BELAY_CONTROL
  const auto unwanted = [](const std::string& body) { return body.empty(); };
#else
  const auto unwanted = [](int status) { return status == 503; };
#endif
  const auto guarded = again.on_value(unwanted);
  co_return co_await guarded(fetch);
}
