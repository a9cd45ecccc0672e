// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text that cannot break a log line: escaping for JSON and for pretty lines, times, numbers.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace belay::telemetry::detail {

// Appends `text` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD, one for each maximal wrong
// part. What some reader takes for the end of a line is escaped: control characters, U+0085, U+2028, U+2029.
void append_json_string(std::string& out, std::string_view text);

// Appends `text` so that it stays on its line and cannot move the cursor: bare when it is one plain word,
// else quoted and escaped as above.
void append_pretty_word(std::string& out, std::string_view text);

// The same escapes without quotes around it or escaping of quotes: for the running text of a pretty line.
void append_pretty_text(std::string& out, std::string_view text);

// RFC 3339, UTC, microseconds: 2026-11-21T04:34:27.123456Z
void append_time(std::string& out, std::chrono::system_clock::time_point when);

// Shortest text that reads back as the same number; JSON has no NaN and no infinity: they are quoted words.
void append_double(std::string& out, double number);

// `text` with U+FFFD in the place of each maximal part that is no UTF-8.
std::string valid_utf8(std::string_view text);

// `text` cut to about `limit` bytes between two characters, with a note of what is missing. 0: no limit.
std::string shortened(std::string_view text, std::size_t limit);

}  // namespace belay::telemetry::detail
