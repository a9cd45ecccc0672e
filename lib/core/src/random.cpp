// SPDX-License-Identifier: Apache-2.0
// Random numbers of the running loop.

#include <belay/core/random.hpp>

#include <random>

#include "loop_state.hpp"

namespace belay {

std::uint64_t random_bits() {
  std::optional<detail::random_order>& numbers =
      detail::require_runtime("random_bits").loop->internals().numbers;
  if (!numbers) {
    std::random_device machine;
    numbers.emplace((std::uint64_t{machine()} << 32) | machine());
  }
  return numbers->next();
}

duration random_up_to(duration most) {
  const std::uint64_t bits = random_bits();
  if (most <= duration::zero()) return duration::zero();
  return duration(static_cast<duration::rep>(bits % (static_cast<std::uint64_t>(most.count()) + 1)));
}

}  // namespace belay
