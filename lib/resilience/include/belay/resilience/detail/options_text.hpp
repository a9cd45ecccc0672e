// SPDX-License-Identifier: Apache-2.0
#pragma once
// Options in words: for descriptions, and for saying what is wrong with them.

#include <belay/core/time.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace belay::detail {

// In the largest unit that needs no fraction: "1500 ms", "2 s"; the greatest one is "no limit".
[[nodiscard]] std::string duration_text(duration length);
// The shortest text that reads as the same number.
[[nodiscard]] std::string number_text(double value);
// 0.1 is "10 %".
[[nodiscard]] std::string percent_text(double share);

// Throws the misuse_error "retry: max_attempts is 0; it must be at least 1".
[[noreturn]] void refuse_option(std::string_view policy, std::string_view field, std::string_view value,
                                std::string_view range);

inline void require_option(bool holds, std::string_view policy, std::string_view field, double value,
                           std::string_view range) {
  if (!holds) [[unlikely]]
    refuse_option(policy, field, number_text(value), range);
}
inline void require_option(bool holds, std::string_view policy, std::string_view field, std::uint64_t value,
                           std::string_view range) {
  if (!holds) [[unlikely]]
    refuse_option(policy, field, std::to_string(value), range);
}
inline void require_option(bool holds, std::string_view policy, std::string_view field, unsigned value,
                           std::string_view range) {
  require_option(holds, policy, field, std::uint64_t{value}, range);
}
inline void require_option(bool holds, std::string_view policy, std::string_view field, duration value,
                           std::string_view range) {
  if (!holds) [[unlikely]]
    refuse_option(policy, field, duration_text(value), range);
}

// "timeout 'quotes'", or only "timeout" when the name is that of the kind.
[[nodiscard]] std::string title(std::string_view kind, std::string_view name);

}  // namespace belay::detail
