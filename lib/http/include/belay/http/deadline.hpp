// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long a client is willing to wait, as it says in `Belay-Deadline-Ms`.

#include <belay/http/headers.hpp>
#include <chrono>
#include <optional>
#include <string_view>

namespace belay::http {

inline constexpr std::string_view deadline_header = "Belay-Deadline-Ms";

/// The client's deadline, counted from the arrival of the request; nothing when the client sets none.
/// Errors:   `problem_error` 400 `invalid_deadline` unless the field is there once, in decimal digits, from
///           1 to 3600000.
[[nodiscard]] std::optional<std::chrono::milliseconds> read_deadline(const headers& from);

}  // namespace belay::http
