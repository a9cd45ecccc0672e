// SPDX-License-Identifier: Apache-2.0
// Says what was tried, on which file, what happened and what to do.

#include "sqlite_error.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <belay/db/error.hpp>
#include <new>
#include <string>
#include <system_error>
#include <vector>

namespace belay::db::sqlite::detail {

namespace {

constexpr std::size_t max_statement_bytes = 160;

// One line, not too long. Parameters are bound, so that the text of a statement holds no data.
std::string brief(std::string_view statement) {
  std::string out;
  bool space = false;
  for (const char c : statement) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      space = !out.empty();
      continue;
    }
    if (space) out += ' ';
    space = false;
    out += c;
  }
  if (out.size() > max_statement_bytes) {
    out.resize(max_statement_bytes);
    out += "...";
  }
  return out;
}

// "UNIQUE constraint failed: users.email, users.name" -> "users.email, users.name"
std::string_view after_colon(std::string_view message) {
  const std::size_t colon = message.find("failed: ");
  return colon == std::string_view::npos ? std::string_view() : message.substr(colon + 8);
}

std::vector<std::string> columns_in(std::string_view list) {
  std::vector<std::string> columns;
  if (list.starts_with("index '")) return columns;  // an index on expressions: its columns have no names
  while (!list.empty()) {
    const std::size_t comma = list.find(", ");
    columns.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 2);
  }
  return columns;
}

[[noreturn]] void throw_constraint(int code, std::string_view happened, std::string message) {
  const std::string_view rule = after_colon(happened);
  const auto raise = [&](constraint_type type, std::string_view constraint,
                         std::vector<std::string> columns) {
    throw constraint_error(type, std::string(constraint), std::move(columns), std::move(message), code);
  };
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: raise(constraint_type::unique, rule, columns_in(rule)); break;
    case SQLITE_CONSTRAINT_NOTNULL: raise(constraint_type::not_null, rule, columns_in(rule)); break;
    case SQLITE_CONSTRAINT_CHECK: raise(constraint_type::check, rule, {}); break;
    case SQLITE_CONSTRAINT_FOREIGNKEY: raise(constraint_type::foreign_key, "foreign key", {}); break;
    case SQLITE_CONSTRAINT_DATATYPE: raise(constraint_type::data_type, happened, {}); break;
    default: raise(constraint_type::trigger, happened, {}); break;
  }
  std::abort();  // not reached
}

}  // namespace

void throw_error(sqlite3* db, int code, std::string_view path, std::string_view doing) {
  const int basic = code & 0xFF;
  if (basic == SQLITE_NOMEM) throw std::bad_alloc();
  // The text of the connection belongs to its last call; trust it only when the code agrees.
  const bool own_text = db && sqlite3_extended_errcode(db) == code;
  const std::string happened = own_text ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  const int system = db ? sqlite3_system_errno(db) : 0;
  const std::string reason =
      system != 0 ? fmt::format("{} ({})", happened, std::generic_category().message(system)) : happened;
  const auto text = [&](std::string_view what, std::string_view advice) {
    std::string out = fmt::format("database {}: {}: {}", path, brief(doing), what);
    if (!advice.empty()) out += fmt::format("; {}", advice);
    return out;
  };

  switch (basic) {
    case SQLITE_CONSTRAINT: throw_constraint(code, happened, text(happened, ""));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      throw busy_error(error_kind::unavailable, "database_locked",
                       text(happened, "another connection held the lock for too long: try again later"),
                       code);
    case SQLITE_FULL:
      throw storage_error(error_kind::unavailable, "disk_full",
                          text(reason, "free space on its file system or raise its size limit"), code);
    case SQLITE_IOERR:
      throw storage_error(error_kind::unavailable, "io_error",
                          text(reason, "look at the storage: what was not committed is rolled back"), code);
    case SQLITE_CANTOPEN:
      throw storage_error(error_kind::unavailable, "cannot_open",
                          text(reason, "check that path and permissions are right"), code);
    case SQLITE_READONLY:
      throw storage_error(error_kind::denied, "read_only",
                          text(reason, "the file, its directory or this connection cannot be written"), code);
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw storage_error(error_kind::denied, "denied", text(reason, "access is not allowed"), code);
    case SQLITE_CORRUPT:
      throw corrupt_error(error_kind::internal, "corrupt",
                          text(happened, "restore a backup, or try the command .recover of sqlite3"), code);
    case SQLITE_NOTADB:
      throw corrupt_error(error_kind::internal, "not_a_database",
                          text(happened, "it was left untouched: move it away or name another file"), code);
    case SQLITE_TOOBIG:
      throw error(error_kind::invalid, "too_big", text(happened, "a text or blob exceeds the limit"), code);
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: throw statement_error(error_kind::internal, "bad_statement", text(happened, ""), code);
    default: throw error(error_kind::internal, "sqlite", text(reason, ""), code);
  }
}

}  // namespace belay::db::sqlite::detail
