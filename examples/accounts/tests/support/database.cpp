// SPDX-License-Identifier: Apache-2.0
// The few calls of SQLite that the tests need.
#include "database.hpp"

#include <sqlite3.h>

#include <stdexcept>

namespace accounts_test {

database::database(const std::filesystem::path& file) {
  if (sqlite3_open_v2(file.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
    const std::string reason = sqlite3_errmsg(handle_);
    sqlite3_close(handle_);
    throw std::runtime_error("open " + file.string() + ": " + reason);
  }
  sqlite3_busy_timeout(handle_, 10'000);
}

database::~database() { sqlite3_close(handle_); }

void database::execute(std::string_view sql) { static_cast<void>(rows(sql)); }

std::vector<std::vector<std::string>> database::rows(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  std::vector<std::vector<std::string>> result;
  while (code == SQLITE_OK || code == SQLITE_ROW) {
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW) break;
    auto& row = result.emplace_back();
    for (int column = 0; column < sqlite3_column_count(statement); ++column) {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      row.emplace_back(text != nullptr ? text : "NULL");
    }
  }
  const std::string reason = sqlite3_errmsg(handle_);
  sqlite3_finalize(statement);
  if (code != SQLITE_DONE) throw std::runtime_error(std::string(sql) + ": " + reason);
  return result;
}

std::int64_t database::number(std::string_view sql) {
  const auto result = rows(sql);
  if (result.size() != 1 || result[0].size() != 1)
    throw std::runtime_error("not one value: " + std::string(sql));
  return std::stoll(result[0][0]);
}

write_lock::write_lock(const std::filesystem::path& file) : database_(file) {
  database_.execute("BEGIN IMMEDIATE");
}

void write_lock::release() {
  if (held_) database_.execute("ROLLBACK");
  held_ = false;
}

}  // namespace accounts_test
