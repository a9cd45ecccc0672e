// SPDX-License-Identifier: Apache-2.0
#pragma once
// One's own error type in one line: its kind and its code belong to the type.

#include <belay/core/error.hpp>
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace belay {

/// A text as a template argument: the code of an error type.
template <std::size_t Size>
struct fixed_string {
  char text[Size]{};
  consteval fixed_string(const char (&from)[Size]) { std::copy_n(from, Size, text); }
  [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, Size - 1}; }
};

/// The base of one's own errors:
///
///     struct user_not_found : belay::error_type<belay::error_kind::not_found, "user_not_found"> { using error_type::error_type; };
///
///     throw user_not_found("there is no user 7", {{"user", 7}, {"asked_by", belay::sensitive(email)}});
///
/// A hierarchy, each type with a kind and code of its own: name the base last.
///
///     struct network_down : error_type<error_kind::unavailable, "network"> { using error_type::error_type; };
///     struct name_unknown : error_type<error_kind::invalid, "dns", network_down> { using error_type::error_type; };
///
/// The message is for people who run the program: what was tried, on what, what happened. Secrets belong into sensitive details.
template <error_kind Kind, fixed_string Code, std::derived_from<error> Base = error>
class error_type : public Base {
 public:
  static constexpr error_kind type_kind = Kind;
  static constexpr std::string_view type_code = Code.view();

  explicit error_type(std::string message, std::source_location where = std::source_location::current())
      : Base(Kind, std::string(Code.view()), std::move(message), where) {}
  error_type(std::string message, error_details details,
             std::source_location where = std::source_location::current())
      : Base(Kind, std::string(Code.view()), std::move(message), std::move(details), where) {}
  /// With another kind and code: for the types derived from this one.
  error_type(error_kind kind, std::string code, std::string message,
             std::source_location where = std::source_location::current())
      : Base(kind, std::move(code), std::move(message), where) {}
  error_type(error_kind kind, std::string code, std::string message, error_details details,
             std::source_location where = std::source_location::current())
      : Base(kind, std::move(code), std::move(message), std::move(details), where) {}
};

/// `throw with_details(db::busy_error(…), {{"table", "users"}})`: adds to an error of any type, and keeps the type. The error is
/// returned by value: a reference to its base would be sliced by `throw`.
template <std::derived_from<error> E>
[[nodiscard]] E with_details(E what, const error_details& more) {
  for (const error_detail& one : more) what.add_detail(one);
  return what;
}

/// `throw with_retry_after(too_many_requests("…"), 5s)`. Errors: `misuse_error` for a negative duration.
template <std::derived_from<error> E>
[[nodiscard]] E with_retry_after(E what, any_duration wait) {
  what.set_retry_after(wait);
  return what;
}

}  // namespace belay
