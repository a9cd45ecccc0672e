// SPDX-License-Identifier: Apache-2.0
#pragma once
// The arguments of typed handlers: where in the request each comes from, and what must hold of it.

#include <belay/http/described.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace belay::service {

/// A text as a template argument.
template <std::size_t N>
struct fixed_text {
  char chars[N]{};
  // NOLINTNEXTLINE(google-explicit-constructor): that is what it is for
  consteval fixed_text(const char (&text)[N]) {
    for (std::size_t i = 0; i != N; ++i) chars[i] = text[i];
  }
  [[nodiscard]] constexpr std::string_view view() const noexcept { return {chars, N - 1}; }
};

/// The value of an argument that is absent; made from an integer or a boolean.
struct fallback_value {
  std::int64_t value = 0;
  bool given = false;
  constexpr fallback_value() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor): that is what it is for
  constexpr fallback_value(std::int64_t is) noexcept : value(is), given(true) {}
};

/// What must hold of a path, query or header argument: `query<"limit", int, rule{.min = 1, .max = 100, .fallback = 20}>`. See `http::field_rule`.
struct rule {
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::size_t min_length = 0;
  std::size_t max_length = std::numeric_limits<std::size_t>::max();
  bool (*accept)(std::string_view) = nullptr;
  /// For integers and booleans that may be absent.
  fallback_value fallback{};
};

/// What the arguments below have in common: the value.
template <class T>
class parameter_value {
 public:
  using value_type = T;
  T value{};

  // NOLINTNEXTLINE(google-explicit-constructor): an argument is its value
  [[nodiscard]] operator const T&() const noexcept { return value; }
  [[nodiscard]] const T& operator*() const noexcept { return value; }
  [[nodiscard]] T& operator*() noexcept { return value; }
  [[nodiscard]] const T* operator->() const noexcept { return &value; }
  [[nodiscard]] T* operator->() noexcept { return &value; }
};

/// `{Name}` of the pattern. A plain argument (integer, floating point, boolean, string, enum, time) is a path parameter, too: the first of them is
/// the first `{}` that no `path` names, and so on.
template <fixed_text Name, class T, rule Rule = rule{}>
class path : public parameter_value<T> {};

/// The query parameter `Name`. Required, unless `T` is an optional, or a vector (of all values with this name), or there is a fallback.
template <fixed_text Name, class T, rule Rule = rule{}>
class query : public parameter_value<T> {};

/// The header field `Name`. Required, unless `T` is an optional, or there is a fallback.
template <fixed_text Name, class T, rule Rule = rule{}>
class header : public parameter_value<T> {};

/// The body: JSON (415 for another media type, 400 for malformed JSON). `json<std::optional<T>>` may be without a body.
template <class T>
class json : public parameter_value<T> {};

/// A result with a status of its own: `co_return created<user>{{.id = 7}, {{"Location", "/users/7"}}}`.
template <int Code, class T>
struct reply {
  static_assert(Code >= 200 && Code <= 599, "a status from 200 to 599");
  T body{};
  std::vector<http::header> headers{};
};
template <class T>
using created = reply<201, T>;
template <class T>
using accepted = reply<202, T>;

namespace detail {

[[nodiscard]] http::field_rule to_field_rule(const rule& from);

// Notes what is wrong with a value that has been given as text.
template <class T>
void read_text(T& into, std::string_view text, http::validation& findings, std::string_view kind,
               std::string_view name, const http::field_rule& rule) {
  http::value_reading at(findings);
  at.enter(kind);
  at.enter(name);
  http::codec<T>::read(into, text, at, rule);
}

void miss(http::validation& findings, std::string_view kind, std::string_view name);

template <class T>
void read_parameter(T& into, std::optional<std::string_view> text, http::validation& findings,
                    std::string_view kind, std::string_view name, const rule& from,
                    const http::field_rule& rule) {
  if (text) {
    read_text(into, *text, findings, kind, name, rule);
  } else if (from.fallback.given) {
    if constexpr (std::is_integral_v<T>) into = static_cast<T>(from.fallback.value);
  } else if constexpr (!http::detail::is_optional<T>) {
    miss(findings, kind, name);
  }
}

}  // namespace detail

}  // namespace belay::service
