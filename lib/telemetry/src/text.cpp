// SPDX-License-Identifier: Apache-2.0
// Escaping, times and numbers for log lines.

#include "text.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>

namespace belay::telemetry::detail {

namespace {

struct decoded {
  char32_t character;
  std::size_t length;  // bytes used; of the maximal wrong part when not valid
  bool valid;
};

// Unicode 15, table 3-7: the well-formed byte sequences.
decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  char32_t character = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    character = first & 0x1FU;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    character = first & 0x0FU;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    character = first & 0x07U;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {0xFFFD, 1, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {0xFFFD, i, false};
    character = (character << 6U) | (byte(i) & 0x3FU);
    low = 0x80;
    high = 0xBF;
  }
  return {character, length, true};
}

bool ends_a_line_somewhere(char32_t c) { return c == 0x85 || c == 0x2028 || c == 0x2029; }

enum class quotes : bool { keep, escape };

void append_escaped(std::string& out, std::string_view text, quotes how) {
  while (!text.empty()) {
    const decoded next = decode(text);
    const char32_t c = next.character;
    if (!next.valid) {
      out += "\xEF\xBF\xBD";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (how == quotes::escape && (c == '"' || c == '\\')) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || ends_a_line_somewhere(c)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(c));
    } else {
      out += text.substr(0, next.length);
    }
    text.remove_prefix(next.length);
  }
}

bool is_plain_word(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=' || c == '{' || c == '[') return false;
  }
  return true;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text, quotes::escape);
  out += '"';
}

void append_pretty_word(std::string& out, std::string_view text) {
  if (is_plain_word(text)) {
    out += text;
  } else {
    append_json_string(out, text);
  }
}

void append_pretty_text(std::string& out, std::string_view text) { append_escaped(out, text, quotes::keep); }

void append_time(std::string& out, std::chrono::system_clock::time_point when) {
  // Calendar by arithmetic: gmtime and the locale have no part in it.
  const auto micros = std::chrono::floor<std::chrono::microseconds>(when);
  const auto day = std::chrono::floor<std::chrono::days>(micros);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{micros - day};
  fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(),
                 clock.seconds().count(), clock.subseconds().count());
}

void append_double(std::string& out, double number) {
  if (std::isnan(number)) {
    out += "\"NaN\"";
  } else if (std::isinf(number)) {
    out += number > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  } else {
    char buffer[32];
    const auto end = std::to_chars(std::begin(buffer), std::end(buffer), number).ptr;
    out.append(std::begin(buffer), end);
  }
}

std::string valid_utf8(std::string_view text) {
  std::string made;
  made.reserve(text.size());
  while (!text.empty()) {
    const decoded next = decode(text);
    made += next.valid ? text.substr(0, next.length) : std::string_view("\xEF\xBF\xBD");
    text.remove_prefix(next.length);
  }
  return made;
}

std::string shortened(std::string_view text, std::size_t limit) {
  if (limit == 0 || text.size() <= limit) return std::string(text);
  std::size_t cut = limit;
  while (cut > 0 && limit - cut < 4 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
  return fmt::format("{}... [{} more bytes]", text.substr(0, cut), text.size() - cut);
}

}  // namespace belay::telemetry::detail
