// SPDX-License-Identifier: Apache-2.0
// Columns by name and place, and the words for types that do not fit.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <belay/db/error.hpp>
#include <belay/db/row.hpp>
#include <algorithm>

namespace belay::db {

namespace detail {

void throw_type_mismatch(std::string_view what, std::string_view wanted, std::string_view found) {
  throw type_error(fmt::format("read {}: expected {}, found {}", what, wanted, found));
}

void throw_out_of_range(std::string_view what, std::int64_t number) {
  throw type_error(fmt::format("read {}: {} does not fit the type that was asked for", what, number));
}

void throw_too_large(std::uint64_t number) {
  throw type_error(fmt::format("bind {}: integers of the database end at 9223372036854775807", number));
}

}  // namespace detail

std::string_view value::type_name() const noexcept {
  switch (storage_.index()) {
    case 0: return "null";
    case 1: return "integer";
    case 2: return "real";
    case 3: return "text";
    default: return "blob";
  }
}

const value& row::operator[](std::size_t index) const {
  if (index >= values_.size()) {
    throw type_error(
        fmt::format("read column {}: the row has {} columns: {}", index, size(), fmt::join(*names_, ", ")));
  }
  return values_[index];
}

const value& row::operator[](std::string_view name) const {
  const auto found = std::find(names_->begin(), names_->end(), name);
  if (found == names_->end()) {
    throw type_error(fmt::format("read column {}: the row has only: {}", name, fmt::join(*names_, ", ")));
  }
  if (std::find(std::next(found), names_->end(), name) != names_->end()) {
    throw type_error(
        fmt::format("read column {}: two columns have this name; give them names with AS", name));
  }
  return values_[static_cast<std::size_t>(found - names_->begin())];
}

void row::require_size(std::size_t wanted) const {
  if (wanted != size()) {
    throw type_error(fmt::format("read row as {} values: it has {} columns: {}", wanted, size(),
                                 fmt::join(*names_, ", ")));
  }
}

const column_names& rows::columns() const noexcept {
  static const column_names none;
  return names_ ? *names_ : none;
}

}  // namespace belay::db
