// SPDX-License-Identifier: Apache-2.0
#pragma once
// What both renderings need: limits, shortened texts, rows of a trace.

#include <belay/core/failure.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace belay::detail {

// Errors: misuse_error, naming the options.
void check_limits(const char* options, std::size_t most_bytes, std::size_t most_trace_rows);

// At most `most` bytes, cut between characters where there are any, and a word about what is missing.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t most);

// The length of the valid UTF-8 sequence at the front; 0: there is none.
[[nodiscard]] std::size_t valid_sequence(std::string_view text) noexcept;

// "file.cpp:12 function"; the middle is cut.
[[nodiscard]] std::vector<std::string> trace_rows_text(const failure& what, std::size_t most);

}  // namespace belay::detail
