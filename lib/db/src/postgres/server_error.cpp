// SPDX-License-Identifier: Apache-2.0
// What each SQLSTATE asks of the caller.

#include "server_error.hpp"

#include <fmt/format.h>

#include <belay/db/postgres/error.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <optional>
#include <vector>

namespace belay::db::postgres {

namespace detail {

namespace {

// Five characters in 30 bits, as libpq and the server do it.
int packed(std::string_view state) {
  int number = 0;
  for (std::size_t i = 0; i < state.size() && i < 5; ++i) number |= ((state[i] - '0') & 0x3F) << (6 * i);
  return number;
}

// From the first quote to the last: it may be a parameter.
std::string without_quoted(std::string_view text) {
  const auto first = text.find('"');
  if (first == std::string_view::npos) return std::string(text);
  return std::string(text.substr(0, first)) + "..." + std::string(text.substr(text.rfind('"') + 1));
}

// `Key (user_id, day)=(7, 2026-11-21) already exists.`: the names of the columns; never the values.
std::vector<std::string> key_columns(const server_message& said) {
  std::vector<std::string> columns;
  const auto end = said.detail.find(")=(");
  const auto begin = said.detail.find('(');
  if (end == std::string_view::npos || begin >= end) return columns;
  std::string_view names = said.detail.substr(begin + 1, end - begin - 1);
  while (!names.empty()) {
    const auto comma = names.find(", ");
    columns.push_back(fmt::format("{}.{}", said.table, names.substr(0, comma)));
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 2);
  }
  return columns;
}

std::optional<constraint_type> broken_rule(std::string_view state) {
  if (state == "23505" || state == "23P01") return constraint_type::unique;
  if (state == "23503" || state == "23001") return constraint_type::foreign_key;
  if (state == "23502") return constraint_type::not_null;
  if (state == "23514" || state == "23000") return constraint_type::check;
  if (state == "P0001") return constraint_type::trigger;
  return std::nullopt;
}

std::exception_ptr to_constraint_error(constraint_type type, const server_message& said, std::string message,
                                       int number) {
  std::vector<std::string> columns;
  if (type == constraint_type::unique || type == constraint_type::foreign_key) columns = key_columns(said);
  if (type == constraint_type::not_null && !said.column.empty())
    columns.push_back(fmt::format("{}.{}", said.table, said.column));
  const std::string_view rule = type == constraint_type::trigger ? said.primary : said.constraint;
  return std::make_exception_ptr(
      constraint_error(type, std::string(rule), std::move(columns), std::move(message), number));
}

template <class E>
std::exception_ptr make(error_kind kind, const char* code, std::string message, int number) {
  return std::make_exception_ptr(E(kind, code, std::move(message), number));
}

}  // namespace

std::exception_ptr to_error(const server_message& said, std::string_view database, std::string_view doing) {
  const std::string_view state = said.state;
  const int number = packed(state);
  const bool is_about_data = state.starts_with("22");
  std::string text =
      fmt::format("database {}: {}: {} ({})", database, doing,
                  is_about_data ? without_quoted(said.primary) : one_line(said.primary), state);

  if (const auto rule = broken_rule(state)) return to_constraint_error(*rule, said, std::move(text), number);
  if (is_about_data) return make<data_error>(error_kind::invalid, "bad_value", std::move(text), number);
  if (state == "40001" || state == "40P01") {
    return make<serialization_error>(error_kind::unavailable,
                                     state == "40001" ? "serialization_failure" : "deadlock", std::move(text),
                                     number);
  }
  if (state == "55P03") {
    return make<busy_error>(error_kind::unavailable, "lock_not_available", std::move(text), number);
  }
  if (state == "57014") {
    return make<interrupted_error>(error_kind::unavailable, "statement_cancelled", std::move(text), number);
  }
  if (state == "57P01" || state == "57P02" || state == "57P03" || state == "57P05") {
    return make<connection_error>(error_kind::unavailable, "server_stops", std::move(text), number);
  }
  if (state == "53300") {
    return make<connection_error>(error_kind::overloaded, "too_many_connections", std::move(text), number);
  }
  if (state == "53100")
    return make<storage_error>(error_kind::unavailable, "disk_full", std::move(text), number);
  if (state.starts_with("53")) {
    return make<busy_error>(error_kind::overloaded, "server_overloaded", std::move(text), number);
  }
  if (state.starts_with("28")) {
    return make<connection_error>(error_kind::unauthenticated, "login_refused", std::move(text), number);
  }
  if (state == "3D000") {
    return make<connection_error>(error_kind::not_found, "no_such_database", std::move(text), number);
  }
  // 08P01: as a rule the number of parameters is wrong, not the protocol.
  if (state == "08P01") {
    return make<statement_error>(error_kind::internal, "bad_statement", std::move(text), number);
  }
  if (state.starts_with("08") || state == "57P04" || state == "25P03") {
    return make<connection_error>(error_kind::unavailable, "connection_lost", std::move(text), number);
  }
  if (state == "25006") {
    return make<storage_error>(error_kind::denied, "read_only", std::move(text), number);
  }
  if (state == "25P02") {
    return make<error>(error_kind::unavailable, "transaction_lost",
                       text + ": a statement before it failed; what ran inside of a savepoint can be undone",
                       number);
  }
  if (state == "42501") return make<error>(error_kind::denied, "not_allowed", std::move(text), number);
  if (state.starts_with("58")) {
    return make<storage_error>(error_kind::unavailable, "io_error", std::move(text), number);
  }
  if (state == "XX001" || state == "XX002") {
    return make<corrupt_error>(error_kind::internal, "corrupt", std::move(text), number);
  }
  if (state.starts_with("42") || state.starts_with("0A") || state.starts_with("26") ||
      state.starts_with("34") || state.starts_with("3") || state.starts_with("2") ||
      state.starts_with("54")) {
    return make<statement_error>(error_kind::internal, "bad_statement", std::move(text), number);
  }
  return make<error>(error_kind::internal, "server_error", std::move(text), number);
}

std::exception_ptr lost_error(std::string_view database, std::string_view doing, std::string_view why) {
  return std::make_exception_ptr(
      connection_error(error_kind::unavailable, "connection_lost",
                       fmt::format("database {}: {}: the connection was lost: {}", database, doing,
                                   why.empty() ? "it was closed" : one_line(why))));
}

std::string brief(std::string_view sql) {
  std::string text = one_line(sql);
  constexpr std::size_t most = 200;
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside of a character
  return text.substr(0, end) + "...";
}

std::string one_line(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (const char c : text) {
    const bool space = c == '\n' || c == '\t' || c == '\r' || c == ' ';
    if (!space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace detail

std::string sqlstate(const db::error& from) {
  std::string state;
  const int number = from.native_code();
  if (number == 0) return state;
  for (int i = 0; i < 5; ++i) state += static_cast<char>(((number >> (6 * i)) & 0x3F) + '0');
  return state;
}

commit_unknown_error::commit_unknown_error(std::string message, std::string transaction,
                                           std::source_location where)
    // No policy may repeat it by itself: it may have happened.
    : db::error(error_kind::internal, "commit_unknown", std::move(message), 0, where),
      transaction_(std::make_shared<const std::string>(std::move(transaction))) {}

}  // namespace belay::db::postgres
