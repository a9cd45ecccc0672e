// SPDX-License-Identifier: Apache-2.0
#pragma once
// A value that goes into or comes out of a database: null, integer, real, text or blob, never converted
// silently.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace belay::db {

using blob = std::vector<std::byte>;

namespace detail {
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
concept character = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
                    std::same_as<T, char16_t> || std::same_as<T, char32_t>;
template <class T>
concept plain_integer = std::integral<T> && !std::same_as<T, bool> && !character<T>;

[[noreturn]] void throw_type_mismatch(std::string_view what, std::string_view wanted, std::string_view found);
[[noreturn]] void throw_out_of_range(std::string_view what, std::int64_t number);
[[noreturn]] void throw_too_large(std::uint64_t number);
}  // namespace detail

/// One parameter or one column of a row.
///
/// Errors: `type_error` when an unsigned integer above 2^63-1 goes in, or another type than the stored one is
/// asked for.
class value {
 public:
  using storage = std::variant<std::nullptr_t, std::int64_t, double, std::string, blob>;

  value() noexcept = default;
  value(std::nullptr_t) noexcept {}
  /// false is 0, true is 1.
  template <std::same_as<bool> B>
  value(B flag) noexcept : storage_(std::in_place_type<std::int64_t>, flag ? 1 : 0) {}
  template <detail::plain_integer I>
  value(I number) : storage_(std::in_place_type<std::int64_t>, checked(number)) {}
  template <std::floating_point F>
  value(F number) noexcept : storage_(std::in_place_type<double>, static_cast<double>(number)) {}
  value(std::string text) noexcept : storage_(std::move(text)) {}
  value(std::string_view text) : storage_(std::string(text)) {}
  value(const char* text) : storage_(std::string(text)) {}
  value(blob bytes) noexcept : storage_(std::move(bytes)) {}
  template <class T>
    requires std::constructible_from<value, T>
  value(std::optional<T> maybe) {
    if (maybe) *this = value(std::move(*maybe));
  }

  [[nodiscard]] const storage& get() const noexcept { return storage_; }
  [[nodiscard]] bool is_null() const noexcept { return std::holds_alternative<std::nullptr_t>(storage_); }
  /// "null", "integer", "real", "text", "blob".
  [[nodiscard]] std::string_view type_name() const noexcept;

  /// As an integer type (its range is checked), bool (0 or 1), double, std::string, std::string_view, blob,
  /// value, or a std::optional of these (null gives none). `what` names the value in the error.
  template <class T>
  [[nodiscard]] T as(std::string_view what = "value") const;

  friend bool operator==(const value&, const value&) = default;

 private:
  template <class I>
  static std::int64_t checked(I number) {
    if constexpr (std::is_unsigned_v<I> && sizeof(I) >= sizeof(std::int64_t)) {
      if (number > static_cast<I>(std::numeric_limits<std::int64_t>::max())) detail::throw_too_large(number);
    }
    return static_cast<std::int64_t>(number);
  }
  template <class Stored>
  const Stored& stored(std::string_view what, std::string_view wanted) const {
    const auto* found = std::get_if<Stored>(&storage_);
    if (!found) detail::throw_type_mismatch(what, wanted, type_name());
    return *found;
  }

  storage storage_ = nullptr;
};

/// The parameters of a statement, in the order of its `?`.
using parameters = std::vector<value>;

template <class... P>
[[nodiscard]] parameters make_parameters(P&&... each) {
  parameters all;
  all.reserve(sizeof...(P));
  (all.emplace_back(std::forward<P>(each)), ...);
  return all;
}

template <class T>
T value::as(std::string_view what) const {
  if constexpr (std::same_as<T, value>) {
    return *this;
  } else if constexpr (detail::is_optional<T>) {
    if (is_null()) return std::nullopt;
    return as<typename T::value_type>(what);
  } else if constexpr (std::same_as<T, bool>) {
    const std::int64_t number = stored<std::int64_t>(what, "boolean (0 or 1)");
    if (number != 0 && number != 1) detail::throw_out_of_range(what, number);
    return number == 1;
  } else if constexpr (detail::plain_integer<T>) {
    const std::int64_t number = stored<std::int64_t>(what, "integer");
    if (!std::in_range<T>(number)) detail::throw_out_of_range(what, number);
    return static_cast<T>(number);
  } else if constexpr (std::same_as<T, double>) {
    return stored<double>(what, "real");
  } else if constexpr (std::same_as<T, std::string> || std::same_as<T, std::string_view>) {
    return stored<std::string>(what, "text");
  } else {
    static_assert(std::same_as<T, blob>,
                  "db::value::as: ask for an integer, bool, double, text, blob or optional of these");
    return stored<blob>(what, "blob");
  }
}

}  // namespace belay::db
