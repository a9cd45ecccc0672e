// SPDX-License-Identifier: Apache-2.0
// Places, functions and JSON strings as text.

#include <belay/core/detail/place.hpp>

#include <array>
#include <cstdio>

namespace belay::detail {

std::string place_text(const std::source_location& where) {
  std::string_view file = where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return std::string(file) + ":" + std::to_string(where.line());
}

namespace {

// Where the name begins in "type name(arguments)": behind the last space before the arguments that is not within <> or ().
std::size_t name_begins(std::string_view text) noexcept {
  std::size_t begin = 0;
  std::size_t inside = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    // Behind it comes what would be counted: operator<, operator().
    const bool at_word = at == begin || text[at - 1] == ':';
    if (inside == 0 && at_word && text.substr(at).starts_with("operator")) return begin;
    switch (text[at]) {
      case '<': ++inside; break;
      case '>': inside -= inside != 0 ? 1 : 0; break;
      case '(':
        if (inside == 0) return begin;
        ++inside;
        break;
      case ')': inside -= inside != 0 ? 1 : 0; break;
      case ' ':
        if (inside == 0) begin = at + 1;
        break;
      default: break;
    }
  }
  return 0;
}

}  // namespace

std::string function_text(std::string_view name) {
  // "[with T = int]" of g++, "[T = int]" of clang.
  if (const auto of = name.rfind(" ["); of != std::string_view::npos && name.ends_with("]"))
    name = name.substr(0, of);
  std::string text(name);
  const auto replace_all = [&text](std::string_view what, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos;)
      text.replace(at, what.size(), by);
  };
  replace_all("(anonymous namespace)::", "");
  replace_all("(anonymous class)", "lambda");
  return text.substr(name_begins(text));
}

std::string length_text(duration length) {
  using namespace std::chrono;
  if (length >= seconds(10)) return std::to_string(duration_cast<seconds>(length).count()) + " s";
  if (length >= milliseconds(1) || length == duration::zero())
    return std::to_string(duration_cast<milliseconds>(length).count()) + " ms";
  return std::to_string(duration_cast<microseconds>(length).count()) + " us";
}

std::string frame_text(const std::source_location& where) {
  return place_text(where) + "  " + function_text(where.function_name());
}

std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(c));
      out += escaped.data();
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out += '"';
}

std::string place_json(const std::source_location& where) {
  return "{\"file\":" + json_string(where.file_name()) + ",\"line\":" + std::to_string(where.line()) +
         ",\"function\":" + json_string(cut_text(function_text(where.function_name()), 200)) + "}";
}

std::string cut_text(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  std::size_t end = most;
  while (end > 0 && most - end < 3 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "... (" + std::to_string(text.size() - end) + " more bytes)";
}

}  // namespace belay::detail
