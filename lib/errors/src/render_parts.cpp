// SPDX-License-Identifier: Apache-2.0
// What both renderings need: limits, shortened texts, rows of a trace.

#include "render_parts.hpp"

#include <belay/core/detail/place.hpp>
#include <belay/core/error.hpp>

namespace belay::detail {

void check_limits(const char* options, std::size_t most_bytes, std::size_t most_trace_rows) {
  if (most_bytes < 1024) {
    throw misuse_error(std::string(options) + ".most_bytes is " + std::to_string(most_bytes) +
                       "; it must be at least 1024");
  }
  if (most_trace_rows < 2) {
    throw misuse_error(std::string(options) + ".most_trace_rows is " + std::to_string(most_trace_rows) +
                       "; it must be at least 2");
  }
}

std::size_t valid_sequence(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  // Unicode 15, table 3-7: no overlong forms, no surrogates, not beyond U+10FFFF.
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  }
  if (length == 0 || text.size() < length || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i != length; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return length;
}

std::string shortened(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  const std::string missing = "... (" + std::to_string(text.size()) + " bytes)";
  std::size_t end = most > missing.size() ? most - missing.size() : 0;
  // Not within a character: back over continuation bytes, as far as a character can be long.
  for (int back = 0; back != 3 && end != 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80; ++back)
    --end;
  return std::string(text.substr(0, end)) + missing;
}

std::vector<std::string> trace_rows_text(const failure& what, std::size_t most) {
  const auto trace = what.trace();
  std::vector<std::string> rows;
  const auto add = [&](std::size_t from, std::size_t to) {
    for (; from != to; ++from) {
      rows.push_back(place_text(trace[from]) + " " + function_text(trace[from].function_name()));
    }
  };
  if (trace.size() <= most) {
    add(0, trace.size());
    return rows;
  }
  // Where it arose and who asked for it matter most: the middle goes.
  const std::size_t tail = most / 4;
  add(0, most - tail);
  rows.push_back("... " + std::to_string(trace.size() - most) + " more");
  add(trace.size() - tail, trace.size());
  return rows;
}

}  // namespace belay::detail
