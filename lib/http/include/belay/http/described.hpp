// SPDX-License-Identifier: Apache-2.0
#pragma once
// Types of a program as JSON and back: what a struct's members are called, and what holds of their values.

#include <belay/http/json_value.hpp>
#include <belay/http/validation.hpp>
#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::http {

/// What must hold of a value, whether it is read or written. A rule for an optional counts when there is a value. For a vector or a
/// map, the lengths count its elements, and the rest is for each of them.
struct field_rule {
  /// The name in JSON; empty: the member's own.
  std::string name{};
  /// For numbers.
  std::optional<std::int64_t> min{};
  std::optional<std::int64_t> max{};
  /// For strings, in code points.
  std::size_t min_length = 0;
  std::size_t max_length = std::numeric_limits<std::size_t>::max();
  /// For strings: whether this one will do, and what is said when not: "must be an email address".
  bool (*accept)(std::string_view) = nullptr;
  std::string expected = "is not valid";
  /// For the API's description: "email", "uri" (a `format` of JSON Schema), a text, whether it is to be used no more.
  std::string format{};
  std::string description{};
  bool deprecated = false;
};

/// A result that cannot be written as JSON, or that breaks the rules of its own type. Its message names the place: "/items/3/price is not a
/// finite number".
class unserialisable_error : public error {
 public:
  explicit unserialisable_error(std::string message,
                                std::source_location where = std::source_location::current())
      : error(error_kind::internal, "unserialisable", std::move(message), where) {}
};

/// Where findings about a value go, and where in the request it is. After the first 100 no more are noted, and of a place that is longer
/// than 256 bytes only the beginning: an answer must not be much larger than what it answers.
class value_reading {
 public:
  static constexpr std::size_t most_findings = 100;
  explicit value_reading(validation& into, std::string at = {}) : findings_(&into), at_(std::move(at)) {}
  void fail(std::string detail);
  /// How often it failed so far.
  [[nodiscard]] std::size_t failures() const noexcept { return failures_; }
  /// No more findings are noted: what follows need not be read.
  [[nodiscard]] bool full() const noexcept { return failures_ >= most_findings; }
  /// Goes to a member or an element; gives what `leave` wants.
  std::size_t enter(std::string_view name);
  std::size_t enter(std::size_t index);
  void leave(std::size_t back) { at_.resize(back); }

 private:
  validation* findings_;
  std::string at_;
  std::size_t failures_ = 0;
};

/// The text of a value, while it is written.
class value_writing {
 public:
  [[nodiscard]] std::string& out() noexcept { return out_; }
  /// Errors: throws `unserialisable_error`.
  [[noreturn]] void fail(std::string_view what) const;
  void enter(std::string_view name) { at_.push_back({name, 0}); }
  void enter(std::size_t index) { at_.push_back({{}, index}); }
  void leave() noexcept { at_.pop_back(); }

 private:
  struct step {
    std::string_view name;  // none: an element
    std::size_t index;
  };
  std::string out_;
  std::vector<step> at_;
};

/// The named schemas of a document (OpenAPI 3.1: JSON Schema 2020-12).
class schemas {
 public:
  /// `{"$ref": ...}` to the schema of a named type, made at the first mention.
  std::string reference(const void* type, std::string_view long_name, std::string (*make)(schemas&));
  /// The members of "components/schemas", without their braces.
  [[nodiscard]] std::string text() const;

 private:
  std::map<const void*, std::string> names_{};
  std::map<std::string, std::string> made_{};
};

/// How a type is read, written and told. Specialise it for a type of your own that is no described struct.
template <class T>
struct codec;

namespace detail {

struct type_ops {
  void (*read)(void* into, json_view from, value_reading& at, const field_rule& rule);
  void (*write)(const void* from, value_writing& to, const field_rule& rule);
  std::string (*schema)(schemas& all, const field_rule& rule);
};
template <class T>
inline constexpr type_ops ops_of = {
    [](void* into, json_view from, value_reading& at, const field_rule& rule) {
      codec<T>::read(*static_cast<T*>(into), from, at, rule);
    },
    [](const void* from, value_writing& to, const field_rule& rule) {
      codec<T>::write(*static_cast<const T*>(from), to, rule);
    },
    [](schemas& all, const field_rule& rule) { return codec<T>::schema(all, rule); }};

// "belay::shop::order" of a type, "email" of a pointer to member, as the compiler spells them.
template <auto P>
constexpr std::string_view spelled_member() noexcept {
  const std::string_view all = __PRETTY_FUNCTION__;
  const std::string_view until_end = all.substr(0, all.find_first_of(";]", all.find("P = ")));
  return until_end.substr(until_end.rfind(':') + 1);
}
template <class T>
constexpr std::string_view spelled_type() noexcept {
  const std::string_view all = __PRETTY_FUNCTION__;
  const std::size_t begin = all.find("T = ") + 4;
  return all.substr(begin, all.find_first_of(";]", begin) - begin);
}

enum class presence : unsigned char { required, optional, defaulted };

struct field {
  std::string name;
  const type_ops* type;
  void* (*member)(void* of);
  presence needed;
  std::string (*default_value)();
  field_rule rule;
};
struct object_check {
  std::string member;
  std::string expected;
  bool (*holds)(const void* object);
};
struct object_description {
  std::string_view spelled;
  std::string description;
  std::vector<field> fields;
  std::vector<object_check> checks;
};

void read_object(const object_description& what, void* into, json_view from, value_reading& at);
void write_object(const object_description& what, const void* from, value_writing& to);
[[nodiscard]] std::string object_schema(const object_description& what, schemas& all);

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T, class M>
M member_type(M T::*);

}  // namespace detail

/// The members of a struct, in order. Found by a function `describe` in the namespace of the struct:
///
///     struct create_user {
///       std::string email;
///       std::optional<int> age;
///       std::string role = "member";
///     };
///     void describe(belay::http::fields<create_user>& f) {
///       f.member<&create_user::email>({.max_length = 254, .accept = is_email, .expected = "must be an email address"});
///       f.member<&create_user::age>({.min = 0, .max = 150});
///       f.with_default<&create_user::role>();
///     }
///
/// Members may be booleans, integers, floating point numbers, strings, described enums and structs, `sys_time`, and optionals,
/// vectors and maps by string of all these. Members of JSON that are not described are ignored. The struct needs a default constructor.
/// Lifetime: `describe` is called once in a program. Thread: any.
template <class T>
class fields {
 public:
  /// A member that must be there, unless it is an optional: then it may be absent or null.
  template <auto Member>
  void member(field_rule rule = {}) {
    using type = decltype(detail::member_type(Member));
    add<Member, type>(detail::is_optional<type> ? detail::presence::optional : detail::presence::required,
                      std::move(rule));
  }
  /// A member that keeps the value of its initialiser when it is absent.
  template <auto Member>
  void with_default(field_rule rule = {}) {
    using type = decltype(detail::member_type(Member));
    add<Member, type>(detail::presence::defaulted, std::move(rule));
    made_.fields.back().default_value = [] {
      value_writing out;
      const T fresh{};
      codec<type>::write(fresh.*Member, out, {});
      return std::move(out.out());
    };
  }
  /// What must hold of the members together; asked when each of them is valid. `member` (JSON's name) is the place of the finding; empty:
  /// the whole. `f.check<&ends_after_it_begins>("end", "must be after the begin")`
  template <bool (*Holds)(const T&)>
  void check(std::string member, std::string expected) {
    made_.checks.push_back({std::move(member), std::move(expected),
                            [](const void* object) { return Holds(*static_cast<const T*>(object)); }});
  }
  /// For the API's description.
  void description(std::string text) { made_.description = std::move(text); }

  [[nodiscard]] detail::object_description take() && {
    made_.spelled = detail::spelled_type<T>();
    return std::move(made_);
  }

 private:
  template <auto Member, class M>
  void add(detail::presence needed, field_rule rule) {
    std::string name = rule.name.empty() ? std::string(detail::spelled_member<Member>()) : rule.name;
    made_.fields.push_back({std::move(name), &detail::ops_of<M>,
                            [](void* of) -> void* { return &(static_cast<T*>(of)->*Member); }, needed,
                            nullptr, std::move(rule)});
  }
  detail::object_description made_;
};

/// The names of an enum: `void describe(belay::http::enum_names<color>& e) { e.add(color::red, "red"); }`
template <class E>
class enum_names {
 public:
  void add(E value, std::string name) {
    names_.emplace_back(static_cast<std::int64_t>(value), std::move(name));
  }
  [[nodiscard]] std::vector<std::pair<std::int64_t, std::string>> take() && { return std::move(names_); }

 private:
  std::vector<std::pair<std::int64_t, std::string>> names_;
};

template <class T>
concept described_struct = std::is_class_v<T> && requires(fields<T>& f) { describe(f); };
template <class T>
concept described_enum = std::is_enum_v<T> && requires(enum_names<T>& e) { describe(e); };

/// The value of a JSON text. Errors: 400 `malformed_json`; 422 `validation_failed` with everything that is wrong.
template <class T>
[[nodiscard]] T from_json(std::string_view text) {
  const json_document document(text);
  validation check;
  value_reading at(check);
  T made{};
  codec<T>::read(made, document.root(), at, {});
  check.finish();
  return made;
}

/// The JSON text of a value. Errors: `unserialisable_error` for text that is no UTF-8, numbers that are not finite, enum values without a name,
///                                  times outside of the years 0 to 9999, and whatever breaks a rule of its type.
template <class T>
[[nodiscard]] std::string to_json(const T& value) {
  value_writing out;
  codec<T>::write(value, out, {});
  return std::move(out.out());
}

namespace detail {

struct integer_limits {
  std::int64_t min;
  std::uint64_t max;
};
// The bits of the value; nothing after a finding.
[[nodiscard]] std::optional<std::uint64_t> read_integer(json_view from, value_reading& at,
                                                        const integer_limits& limits, const field_rule& rule);
[[nodiscard]] std::optional<std::uint64_t> read_integer(std::string_view from, value_reading& at,
                                                        const integer_limits& limits, const field_rule& rule);
void write_integer(std::int64_t value, value_writing& to, const field_rule& rule);
void write_unsigned(std::uint64_t value, value_writing& to, const field_rule& rule);
[[nodiscard]] std::string integer_schema(const integer_limits& limits, const field_rule& rule);

[[nodiscard]] std::optional<double> read_real(json_view from, value_reading& at, const field_rule& rule);
[[nodiscard]] std::optional<double> read_real(std::string_view from, value_reading& at,
                                              const field_rule& rule);
void write_real(double value, value_writing& to, const field_rule& rule);
void write_real(float value, value_writing& to, const field_rule& rule);
[[nodiscard]] std::string real_schema(const field_rule& rule);

void read_boolean(bool& into, json_view from, value_reading& at);
void read_boolean(bool& into, std::string_view from, value_reading& at);
[[nodiscard]] std::string boolean_schema(const field_rule& rule);

void read_string(std::string& into, json_view from, value_reading& at, const field_rule& rule);
void read_string(std::string& into, std::string_view from, value_reading& at, const field_rule& rule);
void write_string(std::string_view value, value_writing& to, const field_rule& rule);
[[nodiscard]] std::string string_schema(const field_rule& rule);

using named_values = std::vector<std::pair<std::int64_t, std::string>>;
[[nodiscard]] std::optional<std::int64_t> read_named(const named_values& names, json_view from,
                                                     value_reading& at);
[[nodiscard]] std::optional<std::int64_t> read_named(const named_values& names, std::string_view from,
                                                     value_reading& at);
void write_named(const named_values& names, std::int64_t value, value_writing& to);
[[nodiscard]] std::string named_schema(const named_values& names);

// RFC 3339, in nanoseconds since 1970 when they fit.
using instant = std::chrono::sys_time<std::chrono::nanoseconds>;
[[nodiscard]] std::optional<instant> read_instant(json_view from, value_reading& at);
[[nodiscard]] std::optional<instant> read_instant(std::string_view from, value_reading& at);
void write_instant(std::chrono::sys_seconds whole, std::chrono::nanoseconds rest, value_writing& to);
[[nodiscard]] std::string instant_schema(const field_rule& rule);

// False after a finding.
[[nodiscard]] bool check_array(json_view from, value_reading& at, const field_rule& rule);
[[nodiscard]] bool check_map(json_view from, value_reading& at, const field_rule& rule);
void check_count(std::size_t count, const value_writing& to, const field_rule& rule);
void write_key(std::string_view name, value_writing& to);
[[nodiscard]] std::string array_schema(const std::string& element, const field_rule& rule);
[[nodiscard]] std::string map_schema(const std::string& element, const field_rule& rule);
[[nodiscard]] std::string nullable_schema(const std::string& inner);
// The rule for the elements.
[[nodiscard]] field_rule element_rule(const field_rule& rule);

template <class T>
inline constexpr bool is_codec_integer =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;

}  // namespace detail

template <class T>
  requires detail::is_codec_integer<T>
struct codec<T> {
  static constexpr detail::integer_limits limits{std::numeric_limits<T>::min(),
                                                 std::numeric_limits<T>::max()};
  template <class From>
  static void read(T& into, From from, value_reading& at, const field_rule& rule) {
    if (const auto bits = detail::read_integer(from, at, limits, rule)) into = static_cast<T>(*bits);
  }
  static void write(T from, value_writing& to, const field_rule& rule) {
    if constexpr (std::is_signed_v<T>) {
      detail::write_integer(from, to, rule);
    } else {
      detail::write_unsigned(from, to, rule);
    }
  }
  static std::string schema(schemas&, const field_rule& rule) { return detail::integer_schema(limits, rule); }
};

template <std::floating_point T>
struct codec<T> {
  template <class From>
  static void read(T& into, From from, value_reading& at, const field_rule& rule) {
    const auto value = detail::read_real(from, at, rule);
    if (!value) return;
    if constexpr (sizeof(T) < sizeof(double)) {
      constexpr auto largest = static_cast<double>(std::numeric_limits<T>::max());
      // What lies beyond is not rounded to it.
      constexpr double beyond = largest * (1 + static_cast<double>(std::numeric_limits<T>::epsilon()) / 4);
      if (*value > beyond || *value < -beyond) return at.fail("is too large");
      into = static_cast<T>(std::clamp(*value, -largest, largest));
    } else {
      into = static_cast<T>(*value);
    }
  }
  static void write(T from, value_writing& to, const field_rule& rule) { detail::write_real(from, to, rule); }
  static std::string schema(schemas&, const field_rule& rule) { return detail::real_schema(rule); }
};

template <>
struct codec<bool> {
  template <class From>
  static void read(bool& into, From from, value_reading& at, const field_rule&) {
    detail::read_boolean(into, from, at);
  }
  static void write(bool from, value_writing& to, const field_rule&) { to.out() += from ? "true" : "false"; }
  static std::string schema(schemas&, const field_rule& rule) { return detail::boolean_schema(rule); }
};

template <>
struct codec<std::string> {
  template <class From>
  static void read(std::string& into, From from, value_reading& at, const field_rule& rule) {
    detail::read_string(into, from, at, rule);
  }
  static void write(const std::string& from, value_writing& to, const field_rule& rule) {
    detail::write_string(from, to, rule);
  }
  static std::string schema(schemas&, const field_rule& rule) { return detail::string_schema(rule); }
};

template <described_enum E>
struct codec<E> {
  static const detail::named_values& names() {
    static const detail::named_values made = [] {
      enum_names<E> all;
      describe(all);
      return std::move(all).take();
    }();
    return made;
  }
  template <class From>
  static void read(E& into, From from, value_reading& at, const field_rule&) {
    if (const auto value = detail::read_named(names(), from, at)) into = static_cast<E>(*value);
  }
  static void write(E from, value_writing& to, const field_rule&) {
    detail::write_named(names(), static_cast<std::int64_t>(from), to);
  }
  static std::string schema(schemas& all, const field_rule&) {
    return all.reference(&detail::ops_of<E>, detail::spelled_type<E>(),
                         [](schemas&) { return detail::named_schema(names()); });
  }
};

template <class D>
struct codec<std::chrono::sys_time<D>> {
  template <class From>
  static void read(std::chrono::sys_time<D>& into, From from, value_reading& at, const field_rule&) {
    if (const auto value = detail::read_instant(from, at)) into = std::chrono::floor<D>(*value);
  }
  static void write(std::chrono::sys_time<D> from, value_writing& to, const field_rule&) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(from);
    detail::write_instant(whole, std::chrono::duration_cast<std::chrono::nanoseconds>(from - whole), to);
  }
  static std::string schema(schemas&, const field_rule& rule) { return detail::instant_schema(rule); }
};

template <class T>
struct codec<std::optional<T>> {
  static void read(std::optional<T>& into, json_view from, value_reading& at, const field_rule& rule) {
    into.reset();
    if (from.what() != json_view::kind::null) codec<T>::read(into.emplace(), from, at, rule);
  }
  static void read(std::optional<T>& into, std::string_view from, value_reading& at, const field_rule& rule) {
    codec<T>::read(into.emplace(), from, at, rule);
  }
  static void write(const std::optional<T>& from, value_writing& to, const field_rule& rule) {
    if (from) {
      codec<T>::write(*from, to, rule);
    } else {
      to.out() += "null";
    }
  }
  static std::string schema(schemas& all, const field_rule& rule) {
    return detail::nullable_schema(codec<T>::schema(all, rule));
  }
};

template <class T>
struct codec<std::vector<T>> {
  static void read(std::vector<T>& into, json_view from, value_reading& at, const field_rule& rule) {
    into.clear();
    if (!detail::check_array(from, at, rule)) return;
    const field_rule each = detail::element_rule(rule);
    for (std::size_t i = 0; i != from.size() && !at.full(); ++i) {
      const std::size_t back = at.enter(i);
      T element{};
      codec<T>::read(element, from.at(i), at, each);
      into.push_back(std::move(element));
      at.leave(back);
    }
  }
  static void write(const std::vector<T>& from, value_writing& to, const field_rule& rule) {
    detail::check_count(from.size(), to, rule);
    const field_rule each = detail::element_rule(rule);
    to.out() += '[';
    for (std::size_t i = 0; i != from.size(); ++i) {
      if (i != 0) to.out() += ',';
      to.enter(i);
      codec<T>::write(from[i], to, each);
      to.leave();
    }
    to.out() += ']';
  }
  static std::string schema(schemas& all, const field_rule& rule) {
    return detail::array_schema(codec<T>::schema(all, detail::element_rule(rule)), rule);
  }
};

template <class T>
struct codec<std::map<std::string, T>> {
  static void read(std::map<std::string, T>& into, json_view from, value_reading& at,
                   const field_rule& rule) {
    into.clear();
    if (!detail::check_map(from, at, rule)) return;
    const field_rule each = detail::element_rule(rule);
    for (std::size_t i = 0; i != from.size() && !at.full(); ++i) {
      const auto [name, value] = from.member(i);
      const std::size_t back = at.enter(name);
      codec<T>::read(into[std::string(name)], value, at, each);
      at.leave(back);
    }
  }
  static void write(const std::map<std::string, T>& from, value_writing& to, const field_rule& rule) {
    detail::check_count(from.size(), to, rule);
    const field_rule each = detail::element_rule(rule);
    to.out() += '{';
    bool first = true;
    for (const auto& [name, value] : from) {
      if (!std::exchange(first, false)) to.out() += ',';
      to.enter(name);
      detail::write_key(name, to);
      codec<T>::write(value, to, each);
      to.leave();
    }
    to.out() += '}';
  }
  static std::string schema(schemas& all, const field_rule& rule) {
    return detail::map_schema(codec<T>::schema(all, detail::element_rule(rule)), rule);
  }
};

template <described_struct T>
struct codec<T> {
  static const detail::object_description& description() {
    static const detail::object_description made = [] {
      fields<T> all;
      describe(all);
      return std::move(all).take();
    }();
    return made;
  }
  static void read(T& into, json_view from, value_reading& at, const field_rule&) {
    detail::read_object(description(), &into, from, at);
  }
  static void write(const T& from, value_writing& to, const field_rule&) {
    detail::write_object(description(), &from, to);
  }
  static std::string schema(schemas& all, const field_rule&) {
    return all.reference(&detail::ops_of<T>, detail::spelled_type<T>(),
                         [](schemas& known) { return detail::object_schema(description(), known); });
  }
};

}  // namespace belay::http
