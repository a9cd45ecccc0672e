// SPDX-License-Identifier: Apache-2.0
#pragma once
// Header fields: ordered, compared without regard to case, and never able to split a message.

#include <belay/core/error.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

/// A message was built wrongly: a header name or value, a target that cannot go over the wire. Kind
/// `invalid`.
class message_error : public error {
 public:
  message_error(std::string code, std::string message,
                std::source_location where = std::source_location::current())
      : error(error_kind::invalid, std::move(code), std::move(message), where) {}
};

class request_parser;

struct header {
  std::string name{};
  std::string value{};

  friend bool operator==(const header&, const header&) = default;
};

/// The fields of one message, in the order in which they were added; a name may occur several times.
///
/// Names are compared as ASCII without regard to case and kept as written. Whitespace around a value is
/// dropped.
/// Errors:   adding throws `message_error` `invalid_header` for a name that is no token (RFC 9110 section
///           5.6.2) and for a value with CR, LF, NUL or another control character except tab: response
///           splitting is impossible.
class headers {
 public:
  using const_iterator = std::vector<header>::const_iterator;

  /// Adds one more field, also when the name is there already.
  void add(std::string_view name, std::string_view value);
  /// Makes room for so many fields.
  void reserve(std::size_t count) { fields_.reserve(count); }
  /// Puts `value` in the place of all fields of that name; adds it when there is none.
  void set(std::string_view name, std::string_view value);
  /// Removes all fields of that name; says how many there were.
  std::size_t remove(std::string_view name);

  /// The value of the first field of that name. The view lives until the fields are changed.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept { return find(name).has_value(); }
  /// The values of all fields of that name joined by ", ", as RFC 9110 section 5.3 allows for list fields.
  [[nodiscard]] std::string combined(std::string_view name) const;
  /// Whether `token` is a member of the comma-separated list field `name`, without regard to case.
  [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const noexcept;

  [[nodiscard]] const_iterator begin() const noexcept { return fields_.begin(); }
  [[nodiscard]] const_iterator end() const noexcept { return fields_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return fields_.size(); }
  [[nodiscard]] bool empty() const noexcept { return fields_.empty(); }
  void clear() noexcept { fields_.clear(); }

 private:
  friend class request_parser;

  // Both were looked at: `name` is a token, `value` has no control characters, and no whitespace around it.
  void add_checked(std::string_view name, std::string_view value);

  std::vector<header> fields_{};
};

/// ASCII comparison without regard to case, the same in every locale.
[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right) noexcept;
/// A non-empty run of RFC 9110 `tchar`: what names, methods and codings are made of.
[[nodiscard]] bool is_token(std::string_view text) noexcept;
/// `text` without the spaces and tabs at its ends.
[[nodiscard]] std::string_view trim_whitespace(std::string_view text) noexcept;

}  // namespace belay::http
