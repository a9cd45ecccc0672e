// SPDX-License-Identifier: Apache-2.0
#pragma once
// Functions that may be there or not: found when they are given, not when they are called.

#include <concepts>
#include <cstddef>

namespace belay::detail {

// A `std::function`, or the like, without a target; a null pointer to a function.
template <class F>
[[nodiscard]] bool is_empty_function(const F& fn) noexcept {
  if constexpr (std::constructible_from<F, std::nullptr_t> && requires { static_cast<bool>(fn); }) {
    return !static_cast<bool>(fn);
  } else {
    return false;
  }
}

}  // namespace belay::detail
