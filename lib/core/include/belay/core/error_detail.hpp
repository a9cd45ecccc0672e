// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an error knows besides its message: named, typed values, some of them not to be shown to anybody.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace belay {

/// A value that the program may read, and that appears in no rendering, log or answer: only its key does.
template <class T>
struct sensitive_value {
  T value;
};
template <class T>
[[nodiscard]] sensitive_value<std::decay_t<T>> sensitive(T&& value) {
  return {std::forward<T>(value)};
}

namespace detail {
template <class T>
concept detail_number =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
}  // namespace detail

/// One named value: `{"user", 7}`, `{"token", sensitive(token)}`. Holds bool, a number or a text.
class error_detail {
 public:
  using storage = std::variant<bool, std::int64_t, std::uint64_t, double, std::string>;

  template <std::same_as<bool> B>
  error_detail(std::string key, B flag) : key_(std::move(key)), value_(flag) {}
  template <detail::detail_number I>
  error_detail(std::string key, I number)
      : key_(std::move(key)),
        value_(std::in_place_type<std::conditional_t<std::is_signed_v<I>, std::int64_t, std::uint64_t>>,
               number) {}
  template <std::floating_point F>
  error_detail(std::string key, F number) : key_(std::move(key)), value_(static_cast<double>(number)) {}
  template <class S>
    requires std::convertible_to<S&&, std::string_view>
  error_detail(std::string key, S&& text)
      : key_(std::move(key)), value_(std::string(std::string_view(std::forward<S>(text)))) {}
  template <class T>
    requires std::constructible_from<error_detail, std::string, T>
  error_detail(std::string key, sensitive_value<T> secret)
      : error_detail(std::move(key), std::move(secret.value)) {
    is_sensitive_ = true;
  }

  [[nodiscard]] std::string_view key() const noexcept { return key_; }
  [[nodiscard]] bool is_sensitive() const noexcept { return is_sensitive_; }
  /// The value itself, sensitive or not: for the program, not for people.
  [[nodiscard]] const storage& value() const noexcept { return value_; }
  /// The value as `T` (one of the types of `storage`); null when it is of another type.
  template <class T>
  [[nodiscard]] const T* get() const noexcept {
    return std::get_if<T>(&value_);
  }
  /// The value for people; "[sensitive]" instead of a sensitive one.
  [[nodiscard]] std::string text() const;

 private:
  std::string key_;
  storage value_;
  bool is_sensitive_ = false;
};

/// Details in the order in which they were given. Of equal keys the last one counts.
class error_details {
 public:
  error_details() noexcept = default;
  error_details(std::initializer_list<error_detail> all) : all_(all) {}

  void add(error_detail one) { all_.push_back(std::move(one)); }
  /// Null when there is none with this key.
  [[nodiscard]] const error_detail* find(std::string_view key) const noexcept;
  [[nodiscard]] std::span<const error_detail> all() const noexcept { return all_; }
  [[nodiscard]] auto begin() const noexcept { return all_.begin(); }
  [[nodiscard]] auto end() const noexcept { return all_.end(); }
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

 private:
  std::vector<error_detail> all_;
};

}  // namespace belay
