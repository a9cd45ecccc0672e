// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes strings as JSON, whatever bytes they hold.

#include <string>
#include <string_view>

namespace belay::http {

/// Appends `bytes` as a JSON string with its quotes. Control characters are escaped; what is not valid UTF-8
/// (overlong forms, surrogates, cut sequences included) becomes U+FFFD, so that the result is valid JSON for
/// any input.
void append_json_string(std::string& out, std::string_view bytes);

[[nodiscard]] std::string to_json_string(std::string_view bytes);

/// Whether all of it is UTF-8.
[[nodiscard]] bool is_valid_utf8(std::string_view text) noexcept;

/// How many code points `text` has; a byte that belongs to no valid sequence counts as one.
[[nodiscard]] std::size_t count_code_points(std::string_view text) noexcept;

}  // namespace belay::http
