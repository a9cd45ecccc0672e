// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rows as structs of the program: `rows.as<account>()`. Include it where that is used.

#include <belay/db/row.hpp>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::db {

/// The columns of a struct. Found by a function `describe` in the namespace of the struct:
///
///     struct account {
///       std::int64_t id;
///       std::string owner;
///       std::optional<std::int64_t> limit;   // may be null
///       state now;                           // an enum, by name
///     };
///     void describe(belay::db::columns<account>& c) {
///       c.member<&account::id>();
///       c.member<&account::owner>("owner_name");   // when the column is called otherwise
///       c.member<&account::limit>();
///       c.member<&account::now>();
///     }
///     void describe(belay::db::enum_names<state>& e) { e.add(state::open, "open"); e.add(state::closed, "closed"); }
///
///     std::vector<account> all = (co_await db.query("SELECT id, owner_name, limit, now FROM accounts")).as<account>();
///
/// Members may be what `value::as` gives, described enums, optionals of these, and types with a `column_value` of their own. The struct
/// needs a default constructor.
/// Lifetime: `describe` is called once in a program. Thread: any.
template <class T>
class columns;

/// The names of an enum.
template <class E>
class enum_names;

template <class T>
concept described_columns = std::is_class_v<T> && requires(columns<T>& c) { describe(c); };
template <class E>
concept described_names = std::is_enum_v<E> && requires(enum_names<E>& e) { describe(e); };

/// How a value of the database becomes a `T`. Specialise it for a type of your own. Errors: `type_error`.
template <class T>
struct column_value {
  static T from(const value& found, std::string_view what) {
    static_assert(!std::same_as<T, std::string_view>,
                  "describe(columns): the rows are gone before the struct: use std::string");
    return found.template as<T>(what);
  }
};

namespace detail {

template <class T, class M>
M member_type(M T::*);

// "balance" of a pointer to member, "account" of a type, as the compiler spells them.
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
  const std::string_view whole = all.substr(begin, all.find_first_of(";]", begin) - begin);
  return whole.substr(whole.rfind(':') + 1);
}

struct column_field {
  std::string column;
  std::string what;  // "account.balance", for errors
  void (*set)(void* object, const value& found, std::string_view what);
};
struct columns_description {
  std::string_view type;
  std::vector<column_field> fields;
  bool others_ignored = false;
};

// For each field, where its column is. Errors: type_error that names all that are missing, too many, or there twice.
[[nodiscard]] std::vector<std::size_t> find_columns(const columns_description& of, const column_names& in);
[[noreturn]] void throw_no_such_name(std::string_view type, std::string_view what, std::string_view found,
                                     const std::vector<std::string_view>& names);

}  // namespace detail

template <class T>
class columns {
 public:
  /// A member, whose column has its name, or `column`.
  template <auto Member>
  void member(std::string column = {}) {
    using type = std::remove_cvref_t<decltype(detail::member_type(Member))>;
    if (column.empty()) column = detail::spelled_member<Member>();
    made_.fields.push_back({.column = column,
                            .what = std::string(made_.type) + "." + column,
                            .set = [](void* object, const value& found, std::string_view what) {
                              static_cast<T*>(object)->*Member = column_value<type>::from(found, what);
                            }});
  }
  /// Columns that no member has are no error.
  void ignore_others() noexcept { made_.others_ignored = true; }

  [[nodiscard]] static const detail::columns_description& description() {
    static const columns described;
    return described.made_;
  }

 private:
  columns() {
    made_.type = detail::spelled_type<T>();
    describe(*this);
  }
  detail::columns_description made_;
};

template <class E>
class enum_names {
 public:
  /// `name` is a literal.
  void add(E value, std::string_view name) { all_.emplace_back(value, name); }

  [[nodiscard]] static const std::vector<std::pair<E, std::string_view>>& all() {
    static const enum_names described;
    return described.all_;
  }

 private:
  enum_names() { describe(*this); }
  std::vector<std::pair<E, std::string_view>> all_;
};

/// The name of a described enum's value, to be bound as a parameter. Empty for one without a name.
template <described_names E>
[[nodiscard]] std::string_view name_of(E value) {
  for (const auto& [one, name] : enum_names<E>::all()) {
    if (one == value) return name;
  }
  return {};
}

template <described_names E>
struct column_value<E> {
  static E from(const value& found, std::string_view what) {
    const auto text = found.as<std::string_view>(what);
    std::vector<std::string_view> names;
    for (const auto& [one, name] : enum_names<E>::all()) {
      if (name == text) return one;
      names.push_back(name);
    }
    detail::throw_no_such_name(detail::spelled_type<E>(), what, text, names);
  }
};

template <class T>
struct column_value<std::optional<T>> {
  static std::optional<T> from(const value& found, std::string_view what) {
    if (found.is_null()) return std::nullopt;
    return column_value<T>::from(found, what);
  }
};

namespace detail {

template <described_columns T>
struct row_mapper<T> {
  static T one(const row& from) {
    return read(from, find_columns(columns<T>::description(), from.columns()));
  }
  static std::vector<T> all(const rows& from) {
    std::vector<T> made;
    if (from.empty() && from.columns().empty()) return made;
    const std::vector<std::size_t> places = find_columns(columns<T>::description(), from.columns());
    made.reserve(from.size());
    for (const row& one : from) made.push_back(read(one, places));
    return made;
  }

 private:
  static T read(const row& from, const std::vector<std::size_t>& places) {
    T made{};
    const auto& fields = columns<T>::description().fields;
    for (std::size_t i = 0; i < places.size(); ++i) fields[i].set(&made, from[places[i]], fields[i].what);
    return made;
  }
};

}  // namespace detail

}  // namespace belay::db
