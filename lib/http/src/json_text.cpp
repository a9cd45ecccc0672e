// SPDX-License-Identifier: Apache-2.0
// JSON string escaping on top of a strict UTF-8 reader (Unicode 15 table 3-7).

#include <belay/http/json_text.hpp>

#include <cstddef>

namespace belay::http {
namespace {

struct sequence {
  std::size_t length;
  bool valid;
};

// The longest valid sequence at the front, or else the maximal subpart of an ill-formed one (at least one
// byte), which is what one U+FFFD stands for. `text` is not empty.
sequence first_sequence(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, true};
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;   // no overlong forms
    if (lead == 0xed) high = 0x9f;  // no surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // not beyond U+10FFFF
  } else {
    return {1, false};
  }
  for (std::size_t i = 1; i != length; ++i) {
    if (i == text.size() || at(i) < low || at(i) > high) return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true};
}

}  // namespace

void append_json_string(std::string& out, std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  while (!bytes.empty()) {
    const sequence next = first_sequence(bytes);
    const auto byte = static_cast<unsigned char>(bytes.front());
    if (!next.valid) {
      out += "\xef\xbf\xbd";
    } else if (byte == '"' || byte == '\\') {
      out += '\\';
      out += bytes.front();
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\r') {
      out += "\\r";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 0xf];
    } else {
      out.append(bytes.substr(0, next.length));
    }
    bytes.remove_prefix(next.length);
  }
  out += '"';
}

std::string to_json_string(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + 2);
  append_json_string(out, bytes);
  return out;
}

bool is_valid_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const sequence next = first_sequence(text);
    if (!next.valid) return false;
    text.remove_prefix(next.length);
  }
  return true;
}

std::size_t count_code_points(std::string_view text) noexcept {
  std::size_t count = 0;
  for (; !text.empty(); ++count) {
    const sequence next = first_sequence(text);
    text.remove_prefix(next.valid ? next.length : 1);
  }
  return count;
}

}  // namespace belay::http
