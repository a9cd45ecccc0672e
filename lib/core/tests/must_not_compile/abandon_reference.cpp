// SPDX-License-Identifier: Apache-2.0
// Nor a std::ref.

#include <belay/core/thread.hpp>
#include <functional>

belay::task<> uses(int count) {
#ifdef BELAY_CONTROL
  co_await belay::to_thread([](int& in) { ++in; }, std::ref(count));
#else
  co_await belay::to_thread(belay::abandon(), [](int& in) { ++in; }, std::ref(count));
#endif
}
