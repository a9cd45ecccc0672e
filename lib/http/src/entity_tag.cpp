// SPDX-License-Identifier: Apache-2.0
// Entity tags: text, comparison, conditions.

#include <belay/http/entity_tag.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace belay::http {
namespace {

bool is_tag_character(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

// The tag at the start of `text`, which is cut off. A tag may hold commas, so lists cannot be split at them first.
std::optional<entity_tag> cut_tag(std::string_view& text) {
  entity_tag out;
  if (text.starts_with("W/")) {  // case-sensitive
    out.weak = true;
    text.remove_prefix(2);
  }
  if (!text.starts_with('"')) return std::nullopt;
  text.remove_prefix(1);
  const std::size_t end = text.find('"');
  if (end == std::string_view::npos) return std::nullopt;
  out.value = text.substr(0, end);
  if (!std::all_of(out.value.begin(), out.value.end(), is_tag_character)) return std::nullopt;
  text.remove_prefix(end + 1);
  return out;
}

enum class comparison : unsigned char { strong, weak };

// Whether the list `text`, or "*", names `current`.
bool names(std::string_view text, const std::optional<entity_tag>& current, comparison how) {
  text = trim_whitespace(text);
  if (text == "*") return current.has_value();
  bool found = false;
  while (!text.empty()) {
    if (text.front() == ',' || text.front() == ' ' || text.front() == '\t') {  // empty members are allowed
      text.remove_prefix(1);
      continue;
    }
    const std::optional<entity_tag> one = cut_tag(text);
    text = trim_whitespace(text);
    if (!one || (!text.empty() && text.front() != ',')) return false;
    if (current)
      found |= how == comparison::strong ? match_strongly(*one, *current) : match_weakly(*one, *current);
  }
  return found;
}

bool only_reads(const request& of) noexcept { return of.method == method::get || of.method == method::head; }

}  // namespace

std::string to_string(const entity_tag& tag) {
  if (!std::all_of(tag.value.begin(), tag.value.end(), is_tag_character))
    throw message_error("invalid_entity_tag",
                        "entity_tag: the value holds a quote, a space or a control character");
  return fmt::format("{}\"{}\"", tag.weak ? "W/" : "", tag.value);
}

std::optional<entity_tag> parse_entity_tag(std::string_view text) {
  text = trim_whitespace(text);
  std::optional<entity_tag> out = cut_tag(text);
  if (!text.empty()) return std::nullopt;
  return out;
}

entity_tag entity_tag_of(std::string_view content) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : content) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return {.value = fmt::format("{:016x}", hash)};
}

bool match_strongly(const entity_tag& left, const entity_tag& right) noexcept {
  return !left.weak && !right.weak && left.value == right.value;
}
bool match_weakly(const entity_tag& left, const entity_tag& right) noexcept {
  return left.value == right.value;
}

precondition check_preconditions(const request& of, const std::optional<entity_tag>& current) {
  if (of.headers.contains("If-Match") && !names(of.headers.combined("If-Match"), current, comparison::strong))
    return precondition::failed;
  if (of.headers.contains("If-None-Match") &&
      names(of.headers.combined("If-None-Match"), current, comparison::weak))
    return only_reads(of) ? precondition::not_modified : precondition::failed;
  return precondition::holds;
}

response with_entity_tag(const request& of, response full, const entity_tag& tag) {
  full.headers.set("ETag", to_string(tag));
  if (full.status != status::ok || !only_reads(of) ||
      !(of.headers.contains("If-None-Match") &&
        names(of.headers.combined("If-None-Match"), tag, comparison::weak))) {
    return full;
  }
  response out = response::empty(status::not_modified);
  for (const header& field : full.headers) {
    for (const std::string_view kept : {"ETag", "Cache-Control", "Content-Location", "Expires", "Vary"}) {
      if (equal_ignoring_case(field.name, kept)) out.headers.add(field.name, field.value);
    }
  }
  return out;
}

}  // namespace belay::http
