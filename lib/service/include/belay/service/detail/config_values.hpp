// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values of a configuration: from text, to text, and what to expect.

#include <belay/core/time.hpp>
#include <belay/http/url.hpp>
#include <belay/io/endpoint.hpp>
#include <belay/service/detail/config_core.hpp>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace belay::service::detail {

struct byte_size {
  std::uint64_t bytes = 0;
  friend constexpr auto operator<=>(const byte_size&, const byte_size&) = default;
};

template <class T>
struct inside_optional {
  using type = T;
};
template <class T>
struct inside_optional<std::optional<T>> {
  using type = T;
};
template <class T>
using value_inside = typename inside_optional<T>::type;

template <class T>
inline constexpr bool is_integer_value = std::integral<T> && !std::same_as<T, bool>;
template <class T>
inline constexpr bool is_known_value =
    std::same_as<T, std::string> || std::same_as<T, bool> || is_integer_value<T> ||
    std::same_as<T, duration> || std::same_as<T, byte_size> || std::same_as<T, io::endpoint> ||
    std::same_as<T, http::url>;
// Only by `choices`.
template <class T>
inline constexpr bool is_word_value = !is_known_value<T> && std::equality_comparable<T>;

// Each gives what was expected, or nothing when `into` was set.
[[nodiscard]] std::string parse_integer(std::string_view text, bool is_signed, std::uint64_t& into);
[[nodiscard]] std::string parse_value(std::string_view text, bool& into);
[[nodiscard]] std::string parse_value(std::string_view text, duration& into);
[[nodiscard]] std::string parse_value(std::string_view text, byte_size& into);
[[nodiscard]] std::string parse_value(std::string_view text, io::endpoint& into);
[[nodiscard]] std::string parse_value(std::string_view text, http::url& into);

[[nodiscard]] std::string show_value(duration of);
[[nodiscard]] std::string show_value(byte_size of);
[[nodiscard]] std::string show_value(const http::url& of);

template <class T>
[[nodiscard]] std::string show_known(const T& of) {
  if constexpr (std::same_as<T, std::string>) {
    return of;
  } else if constexpr (std::same_as<T, bool>) {
    return of ? "true" : "false";
  } else if constexpr (is_integer_value<T>) {
    return std::to_string(of);
  } else if constexpr (std::same_as<T, io::endpoint>) {
    return of.to_string();
  } else {
    return show_value(of);
  }
}

template <class T, class How>
[[nodiscard]] std::string shown(const T& of, const How& how) {
  if constexpr (requires { of.has_value(); }) {
    return of ? shown(*of, how) : std::string();
  } else {
    if (how.show) return how.show(of);
    if constexpr (std::equality_comparable<T>) {
      for (const auto& [word, value] : how.choices) {
        if (value == of) return word;
      }
    }
    if constexpr (is_known_value<T>) {
      return show_known(of);
    } else {
      return {};
    }
  }
}

template <class T, class How>
[[nodiscard]] std::string form_of(const How& how) {
  if (!how.form.empty()) return how.form;
  if (!how.choices.empty()) {
    std::string words;
    for (const auto& choice : how.choices) words += (words.empty() ? "" : "|") + choice.first;
    return words;
  }
  if constexpr (std::same_as<T, std::string>) return "TEXT";
  if constexpr (std::same_as<T, bool>) return "true|false";
  if constexpr (is_integer_value<T>) return "NUMBER";
  if constexpr (std::same_as<T, duration>) return "DURATION";
  if constexpr (std::same_as<T, byte_size>) return "SIZE";
  if constexpr (std::same_as<T, io::endpoint>) return "ADDRESS:PORT";
  if constexpr (std::same_as<T, http::url>) return "URL";
  return "WORD";
}

template <class T, class How>
[[nodiscard]] config_kind kind_of(const How& how) {
  if (!how.choices.empty()) return config_kind::text;
  return std::same_as<T, bool> ? config_kind::boolean
         : is_integer_value<T> ? config_kind::integer
                               : config_kind::text;
}

template <class T, class How>
[[nodiscard]] std::string outside_range(const T& value, const How& how) {
  if constexpr (is_integer_value<T> || std::same_as<T, duration> || std::same_as<T, byte_size>) {
    if ((how.least && value < *how.least) || (how.most && value > *how.most)) {
      if (how.least && how.most)
        return "expected from " + show_known(*how.least) + " to " + show_known(*how.most);
      return how.least ? "expected at least " + show_known(*how.least)
                       : "expected at most " + show_known(*how.most);
    }
  }
  return {};
}

// What is wrong with a default; an empty text is none, and must be given where `check` says so.
template <class T, class How>
[[nodiscard]] std::string trouble_of_default(const T& of, const How& how) {
  if constexpr (requires { of.has_value(); }) {
    return of ? trouble_of_default(*of, how) : std::string();
  } else {
    if constexpr (std::equality_comparable<T>) {
      bool known = how.choices.empty() && is_known_value<T>;
      for (const auto& choice : how.choices) known = known || choice.second == of;
      if constexpr (std::same_as<T, std::string>) known = known || of.empty();
      if (!known)
        return how.choices.empty() ? "needs `choices`" : "has a default that is none of its `choices`";
    }
    const std::string wrong = outside_range(of, how);
    return wrong.empty() ? std::string() : "has a default that is refused: " + wrong;
  }
}

template <class T, class How>
[[nodiscard]] std::string parse_known(T& into, std::string_view text, const How& how) {
  if (!how.choices.empty()) {
    for (const auto& [word, value] : how.choices) {
      if (word == text) {
        into = value;
        return {};
      }
    }
    std::string words;
    for (std::size_t i = 0; i != how.choices.size(); ++i) {
      words += (i == 0 ? "" : i + 1 == how.choices.size() ? " or " : ", ") + how.choices[i].first;
    }
    return "expected " + words;
  }
  if constexpr (std::same_as<T, std::string>) {
    into = std::string(text);
    return {};
  } else if constexpr (is_integer_value<T>) {
    std::uint64_t bits = 0;
    std::string wrong = parse_integer(text, std::is_signed_v<T>, bits);
    if (!wrong.empty()) return wrong;
    into = static_cast<T>(bits);
    if constexpr (std::is_signed_v<T>) {
      if (static_cast<std::int64_t>(into) != static_cast<std::int64_t>(bits)) wrong = "it is too large";
    } else {
      if (static_cast<std::uint64_t>(into) != bits) wrong = "it is too large";
    }
    return wrong;
  } else if constexpr (is_known_value<T>) {
    return parse_value(text, into);
  } else {
    return "expected one of no words";
  }
}

template <class T, class How>
[[nodiscard]] std::string set_value(T& into, std::string_view text, const How& how) {
  if constexpr (requires { into.has_value(); }) {
    if (text.empty()) {
      into.reset();
      return {};
    }
    value_inside<T> made{};
    std::string wrong = set_value(made, text, how);
    if (wrong.empty()) into = std::move(made);
    return wrong;
  } else {
    T made{};
    std::string wrong = parse_known(made, text, how);
    if (wrong.empty()) wrong = outside_range(made, how);
    if (wrong.empty() && how.check) wrong = how.check(made);
    if (wrong.empty()) into = std::move(made);
    return wrong;
  }
}

}  // namespace belay::service::detail
