// SPDX-License-Identifier: Apache-2.0
// Details of errors, for people.

#include <belay/core/error_detail.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace belay {

std::string error_detail::text() const {
  if (is_sensitive_) return "[sensitive]";
  if (const auto* words = get<std::string>()) return *words;
  if (const auto* flag = get<bool>()) return *flag ? "true" : "false";
  std::array<char, 32> digits{};
  const auto write = [&](auto number) {
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return std::string(digits.data(), end);
  };
  if (const auto* number = get<std::int64_t>()) return write(*number);
  if (const auto* number = get<std::uint64_t>()) return write(*number);
  return write(*get<double>());
}

const error_detail* error_details::find(std::string_view key) const noexcept {
  const auto found =
      std::find_if(all_.rbegin(), all_.rend(), [key](const error_detail& one) { return one.key() == key; });
  return found == all_.rend() ? nullptr : &*found;
}

}  // namespace belay
