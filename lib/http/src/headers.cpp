// SPDX-License-Identifier: Apache-2.0
// Header fields: validation, look-up, list members.

#include <belay/http/headers.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "plain_text.hpp"

namespace belay::http {
namespace {

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> token_characters = make_token_table();

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// For messages: what cannot be printed is shown as \xNN, and not too much of it.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 60)) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > 60) out += "...";
  return out;
}

void require_name(std::string_view name) {
  if (!is_token(name)) {
    throw message_error("invalid_header", fmt::format("header name \"{}\": not a token", printable(name)));
  }
}

// The value itself is not shown: it may be a secret.
std::string_view require_value(std::string_view name, std::string_view value) {
  const std::size_t wrong = detail::plain_prefix(value);
  if (wrong == value.size()) return trim_whitespace(value);
  const char byte = value[wrong];
  const std::string_view what = byte == '\r'   ? "CR"
                                : byte == '\n' ? "LF"
                                : byte == 0    ? "NUL"
                                               : "a control character";
  throw message_error("invalid_header",
                      fmt::format("header {}: the value holds {} at offset {}", name, what, wrong));
}

}  // namespace

bool equal_ignoring_case(std::string_view left, std::string_view right) noexcept {
  return left.size() == right.size() && std::equal(left.begin(), left.end(), right.begin(),
                                                   [](char a, char b) { return lower(a) == lower(b); });
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return token_characters[static_cast<unsigned char>(c)]; });
}

std::string_view trim_whitespace(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

void headers::add(std::string_view name, std::string_view value) {
  require_name(name);
  add_checked(name, require_value(name, value));
}

void headers::add_checked(std::string_view name, std::string_view value) {
  if (fields_.capacity() == 0) fields_.reserve(8);  // most messages have so many or fewer
  fields_.emplace_back(std::string(name), std::string(value));
}

void headers::set(std::string_view name, std::string_view value) {
  require_name(name);
  value = require_value(name, value);
  const auto same = [&](const header& field) { return equal_ignoring_case(field.name, name); };
  const auto first = std::find_if(fields_.begin(), fields_.end(), same);
  if (first == fields_.end()) {
    add_checked(name, value);
    return;
  }
  std::string checked(value);  // it may be a view into a field
  // The name may be a view into the field that is replaced, so it is left as it was written first.
  first->value = std::move(checked);
  const std::string kept = first->name;
  fields_.erase(std::remove_if(first + 1, fields_.end(),
                               [&](const header& field) { return equal_ignoring_case(field.name, kept); }),
                fields_.end());
}

std::size_t headers::remove(std::string_view name) {
  const std::string wanted(name);
  return std::erase_if(fields_, [&](const header& field) { return equal_ignoring_case(field.name, wanted); });
}

std::optional<std::string_view> headers::find(std::string_view name) const noexcept {
  for (const header& field : fields_) {
    if (equal_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::size_t headers::count(std::string_view name) const noexcept {
  return static_cast<std::size_t>(std::count_if(fields_.begin(), fields_.end(), [&](const header& field) {
    return equal_ignoring_case(field.name, name);
  }));
}

std::string headers::combined(std::string_view name) const {
  std::string out;
  bool first = true;
  for (const header& field : fields_) {
    if (!equal_ignoring_case(field.name, name)) continue;
    if (!first) out += ", ";
    out += field.value;
    first = false;
  }
  return out;
}

bool headers::has_token(std::string_view name, std::string_view token) const noexcept {
  for (const header& field : fields_) {
    if (!equal_ignoring_case(field.name, name)) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      if (equal_ignoring_case(trim_whitespace(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

}  // namespace belay::http
