// SPDX-License-Identifier: Apache-2.0
// Nor a pointer or a view among its arguments.

#include <belay/core/thread.hpp>
#include <string>
#include <string_view>

belay::task<> uses(std::string text) {
#ifdef BELAY_CONTROL
  co_await belay::to_thread(belay::abandon(), [](const std::string& in) { return in.size(); }, text);
#else
  co_await belay::to_thread(
      belay::abandon(), [](std::string_view in) { return in.size(); }, std::string_view(text));
#endif
}
