// SPDX-License-Identifier: Apache-2.0
// Kinds and codes of database errors.

#include <belay/db/error.hpp>
#include <algorithm>

namespace belay::db {

namespace {

error_kind kind_of(constraint_type type) {
  switch (type) {
    case constraint_type::unique:
    case constraint_type::foreign_key: return error_kind::conflict;
    case constraint_type::not_null:
    case constraint_type::check:
    case constraint_type::data_type: return error_kind::invalid;
    case constraint_type::trigger: break;
  }
  return error_kind::internal;
}

std::string code_of(constraint_type type) {
  if (type == constraint_type::trigger) return "trigger_raised";
  return std::string(to_string(type)) + "_violation";
}

}  // namespace

std::string_view to_string(constraint_type type) noexcept {
  switch (type) {
    case constraint_type::unique: return "unique";
    case constraint_type::foreign_key: return "foreign_key";
    case constraint_type::not_null: return "not_null";
    case constraint_type::check: return "check";
    case constraint_type::data_type: return "data_type";
    case constraint_type::trigger: break;
  }
  return "trigger";
}

constraint_error::constraint_error(constraint_type type, std::string constraint,
                                   std::vector<std::string> columns, std::string message, int native_code,
                                   std::source_location where)
    : error(kind_of(type), code_of(type), std::move(message), native_code, where),
      rule_(std::make_shared<const rule>(rule{type, std::move(constraint), std::move(columns)})) {}

bool constraint_error::names(std::string_view column) const noexcept {
  return std::find(rule_->columns.begin(), rule_->columns.end(), column) != rule_->columns.end();
}

}  // namespace belay::db
