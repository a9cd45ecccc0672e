// SPDX-License-Identifier: Apache-2.0
// Nor a list of views.

#include <belay/core/thread.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

belay::task<> uses(std::string text) {
#ifdef BELAY_CONTROL
  using kept = std::string;
#else
  using kept = std::string_view;
#endif
  co_await belay::to_thread(
      belay::abandon(), [](const std::vector<std::pair<int, kept>>& in) { return in.size(); },
      std::vector<std::pair<int, kept>>{{1, kept(text)}});
}
