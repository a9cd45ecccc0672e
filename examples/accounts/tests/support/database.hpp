// SPDX-License-Identifier: Apache-2.0
#pragma once
// The service's SQLite file seen by a second process: reading what is there, holding locks, injecting faults.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;

namespace accounts_test {

class database {
 public:
  explicit database(const std::filesystem::path& file);
  database(const database&) = delete;
  database& operator=(const database&) = delete;
  ~database();

  void execute(std::string_view sql);
  /// The rows of a query, each column as text (NULL is "NULL").
  [[nodiscard]] std::vector<std::vector<std::string>> rows(std::string_view sql);
  /// The only value of a query.
  [[nodiscard]] std::int64_t number(std::string_view sql);

 private:
  sqlite3* handle_ = nullptr;
};

/// Holds the write lock: until it goes, every writer of the service has to wait.
class write_lock {
 public:
  explicit write_lock(const std::filesystem::path& file);
  write_lock(const write_lock&) = delete;
  write_lock& operator=(const write_lock&) = delete;
  ~write_lock() { release(); }

  void release();

 private:
  database database_;
  bool held_ = true;
};

}  // namespace accounts_test
