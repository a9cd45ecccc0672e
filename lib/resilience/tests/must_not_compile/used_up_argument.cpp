// SPDX-License-Identifier: Apache-2.0
// A second attempt would find its argument moved away: that has to be said, by once(...).
#include <belay/resilience/retry.hpp>
#include <memory>

belay::task<int> upload(std::unique_ptr<int> body) { co_return *body; }

belay::task<int> program(const belay::retry& again) {
#ifdef BELAY_CONTROL
  co_return co_await again(belay::once(upload, std::make_unique<int>(1)));
#else
  co_return co_await again(upload, std::make_unique<int>(1));
#endif
}
