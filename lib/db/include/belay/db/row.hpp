// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a query gives: rows whose columns are asked for by name or place, and as the type that the caller
// expects.

#include <belay/db/value.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace belay::db {

using column_names = std::vector<std::string>;

namespace detail {
// In <belay/db/described.hpp>, which a call of `as` needs, beside a `describe` for the struct.
template <class T>
struct row_mapper;
}  // namespace detail

/// One row. Cheap to move; owns its values.
///
/// Errors: `type_error` naming the column when it does not exist, is ambiguous, or has another type.
class row {
 public:
  row(std::shared_ptr<const column_names> names, std::vector<value> values) noexcept
      : names_(std::move(names)), values_(std::move(values)) {}

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  [[nodiscard]] const column_names& columns() const noexcept { return *names_; }

  [[nodiscard]] const value& operator[](std::size_t index) const;
  [[nodiscard]] const value& operator[](std::string_view name) const;

  /// `r.get<std::int64_t>("balance")`; for the types see `value::as`.
  template <class T>
  [[nodiscard]] T get(std::string_view name) const {
    return (*this)[name].template as<T>(name);
  }
  template <class T>
  [[nodiscard]] T get(std::size_t index) const {
    return (*this)[index].template as<T>((*names_)[index]);
  }

  /// All columns in order: `auto [id, email] = r.to_tuple<std::int64_t, std::string>();`. Their number must
  /// be right.
  template <class... Ts>
  [[nodiscard]] std::tuple<Ts...> to_tuple() const {
    require_size(sizeof...(Ts));
    return [this]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<Ts...>{this->get<Ts>(I)...};
    }(std::index_sequence_for<Ts...>{});
  }

  /// As a struct, column by column; include <belay/db/described.hpp>. Errors: `type_error` for columns that are missing or too many.
  template <class T>
  [[nodiscard]] T as() const {
    return detail::row_mapper<T>::one(*this);
  }

 private:
  void require_size(std::size_t wanted) const;

  std::shared_ptr<const column_names> names_;
  std::vector<value> values_;
};

/// The rows of a query, in its order.
class rows {
 public:
  using value_type = row;

  rows() = default;
  rows(std::shared_ptr<const column_names> names, std::vector<row> all) noexcept
      : names_(std::move(names)), rows_(std::move(all)) {}

  [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
  [[nodiscard]] bool empty() const noexcept { return rows_.empty(); }
  [[nodiscard]] auto begin() const noexcept { return rows_.begin(); }
  [[nodiscard]] auto end() const noexcept { return rows_.end(); }
  [[nodiscard]] const row& operator[](std::size_t index) const { return rows_.at(index); }
  [[nodiscard]] row take(std::size_t index) && { return std::move(rows_.at(index)); }
  /// Known even when there are no rows; empty for statements that give none.
  [[nodiscard]] const column_names& columns() const noexcept;

  template <class... Ts>
  [[nodiscard]] std::vector<std::tuple<Ts...>> to_tuples() const {
    std::vector<std::tuple<Ts...>> out;
    out.reserve(rows_.size());
    for (const row& one : rows_) out.push_back(one.to_tuple<Ts...>());
    return out;
  }

  /// As structs; see `row::as`. The columns are looked at once, also when there are no rows.
  template <class T>
  [[nodiscard]] std::vector<T> as() const {
    return detail::row_mapper<T>::all(*this);
  }

 private:
  std::shared_ptr<const column_names> names_;
  std::vector<row> rows_;
};

/// What a statement that changes data did.
struct change {
  std::int64_t rows = 0;            ///< rows inserted, updated or deleted by the statement itself
  std::int64_t last_insert_id = 0;  ///< of the connection; meaningful after an insert into a table with rowid
};

}  // namespace belay::db
