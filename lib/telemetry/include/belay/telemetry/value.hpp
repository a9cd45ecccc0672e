// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a log field can hold: the types of JSON, with integers kept exact, and values computed only when
// needed.

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace belay::telemetry {

class value;
struct field;

namespace detail {
template <class T>
concept plain_integer =
    std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
    !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;
}  // namespace detail

/// The value of a field: null, bool, integer, double, text, list, or a nested object.
///
/// A callable without parameters is kept and called only when a record that holds it is written; when it
/// throws, the record carries a placeholder instead. So costly or fragile values cost nothing below the
/// threshold: `log.debug("cache", {{"dump", [&] { return cache.dump(); }}})`.
///
/// Errors: building a value never throws anything but `std::bad_alloc`.
class value {
 public:
  using list = std::vector<value>;
  using object = std::vector<field>;
  using lazy = std::function<value()>;
  using storage = std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, list,
                               object, lazy>;

  value() noexcept;
  value(std::nullptr_t) noexcept;
  template <std::same_as<bool> B>
  value(B flag) noexcept;
  template <detail::plain_integer I>
  value(I number) noexcept;
  template <std::floating_point F>
  value(F number) noexcept;
  value(std::string text) noexcept;
  value(std::string_view text);
  /// A null pointer is null.
  value(const char* text);
  value(list items) noexcept;
  value(object members) noexcept;
  /// Nothing is null.
  template <class T>
    requires std::constructible_from<value, T>
  value(std::optional<T> maybe);
  template <class T>
    requires(std::constructible_from<value, const T&> && !std::same_as<T, value> && !std::same_as<T, field>)
  value(const std::vector<T>& items);
  /// Called at most once per record. What it refers to must live until the logging call returns.
  template <class F>
    requires(std::invocable<const F&> && !std::same_as<std::remove_cvref_t<F>, value> &&
             std::constructible_from<value, std::invoke_result_t<const F&>>)
  value(F compute);

  value(const value&);
  value(value&&) noexcept;
  value& operator=(const value&);
  value& operator=(value&&) noexcept;
  ~value();

  [[nodiscard]] const storage& get() const noexcept { return storage_; }

 private:
  storage storage_;
};

/// A named value.
struct field {
  std::string key;
  telemetry::value value;
};

/// Named values in the order in which they are written. Of equal keys the last one counts.
using fields = std::vector<field>;

// Defined here because `field` must be complete for them.
inline value::value() noexcept : storage_(nullptr) {}
inline value::value(std::nullptr_t) noexcept : storage_(nullptr) {}
template <std::same_as<bool> B>
value::value(B flag) noexcept : storage_(std::in_place_type<bool>, flag) {}
template <detail::plain_integer I>
value::value(I number) noexcept
    : storage_(std::in_place_type<std::conditional_t<std::is_signed_v<I>, std::int64_t, std::uint64_t>>,
               number) {}
template <std::floating_point F>
value::value(F number) noexcept : storage_(std::in_place_type<double>, static_cast<double>(number)) {}
inline value::value(std::string text) noexcept : storage_(std::move(text)) {}
inline value::value(std::string_view text) : storage_(std::string(text)) {}
inline value::value(const char* text) : storage_(nullptr) {
  if (text) storage_ = std::string(text);
}
inline value::value(list items) noexcept : storage_(std::move(items)) {}
inline value::value(object members) noexcept : storage_(std::move(members)) {}
template <class T>
  requires std::constructible_from<value, T>
value::value(std::optional<T> maybe) : storage_(nullptr) {
  if (maybe) *this = value(std::move(*maybe));
}
template <class T>
  requires(std::constructible_from<value, const T&> && !std::same_as<T, value> && !std::same_as<T, field>)
value::value(const std::vector<T>& items) : storage_(list(items.begin(), items.end())) {}
template <class F>
  requires(std::invocable<const F&> && !std::same_as<std::remove_cvref_t<F>, value> &&
           std::constructible_from<value, std::invoke_result_t<const F&>>)
value::value(F compute)
    : storage_(lazy([compute = std::move(compute)]() -> value { return value(compute()); })) {}

inline value::value(const value&) = default;
inline value::value(value&&) noexcept = default;
inline value& value::operator=(const value&) = default;
inline value& value::operator=(value&&) noexcept = default;
inline value::~value() = default;

}  // namespace belay::telemetry
