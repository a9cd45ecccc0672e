// SPDX-License-Identifier: Apache-2.0
#pragma once
// How important a record is.

#include <optional>
#include <string_view>

namespace belay::telemetry {

/// In rising order. `off` is a threshold that nothing passes, never the level of a record.
enum class level : unsigned char { trace, debug, info, warn, error, fatal, off };

/// "trace", "debug", "info", "warn", "error", "fatal", "off".
[[nodiscard]] std::string_view to_string(level of) noexcept;

/// The level of that name (lower case); nothing for any other text.
[[nodiscard]] std::optional<level> level_from(std::string_view name) noexcept;

}  // namespace belay::telemetry
