// SPDX-License-Identifier: Apache-2.0
#pragma once
// Entity tags and the conditions that clients set with them (RFC 9110 sections 8.8.3 and 13).

#include <belay/http/message.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace belay::http {

/// A name for one state of a resource. Strong: the same bytes; weak: as good as the same.
struct entity_tag {
  /// Between the quotes: printable ASCII without a quote, or bytes from 0x80 up.
  std::string value{};
  bool weak = false;

  friend bool operator==(const entity_tag&, const entity_tag&) = default;
};

/// `"v1"`, `W/"v1"`. Errors: `message_error` `invalid_entity_tag` for a value with other characters.
[[nodiscard]] std::string to_string(const entity_tag& tag);
/// Nothing when `text` is anything else than one tag.
[[nodiscard]] std::optional<entity_tag> parse_entity_tag(std::string_view text);
/// A strong tag made of the content (64 bits of FNV-1a: for caches, not against forgery).
[[nodiscard]] entity_tag entity_tag_of(std::string_view content);

/// The same, and both are strong.
[[nodiscard]] bool match_strongly(const entity_tag& left, const entity_tag& right) noexcept;
/// The same, whether weak or strong.
[[nodiscard]] bool match_weakly(const entity_tag& left, const entity_tag& right) noexcept;

enum class precondition : unsigned char {
  holds,         ///< or there is none: go on
  not_modified,  ///< GET or HEAD, and the client has it already: 304
  failed,        ///< 412, and nothing may be changed
};

/// What If-Match and If-None-Match say, in the order of RFC 9110 section 13.2.2. `current`: of the resource as it is; empty when
/// there is none. If-Match compares strongly, If-None-Match weakly; `*` is any state. A list that is malformed matches nothing.
///
///     if (http::check_preconditions(e.request, tag_of(account)) == http::precondition::failed)
///       throw http::problem_error(http::status::precondition_failed, "changed", "the account has changed meanwhile");
[[nodiscard]] precondition check_preconditions(const request& of, const std::optional<entity_tag>& current);

/// `full` with its ETag; or, if it is a 200 that the client of a GET or HEAD has already, the 304 for it, with those of its fields that
/// belong there (RFC 9110 section 15.4.5), and no body.
[[nodiscard]] response with_entity_tag(const request& of, response full, const entity_tag& tag);

}  // namespace belay::http
