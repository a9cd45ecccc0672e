// SPDX-License-Identifier: Apache-2.0
// The names of levels.

#include <belay/telemetry/level.hpp>
#include <array>

namespace belay::telemetry {

namespace {
constexpr std::array<std::string_view, 7> names{"trace", "debug", "info", "warn", "error", "fatal", "off"};
}

std::string_view to_string(level of) noexcept {
  const auto index = static_cast<std::size_t>(of);
  return index < names.size() ? names[index] : "unknown";
}

std::optional<level> level_from(std::string_view name) noexcept {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<level>(i);
  }
  return std::nullopt;
}

}  // namespace belay::telemetry
