// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the db tests share: a directory of their own, a loop in real time that must end clean, another
// "process".

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <belay/core/loop.hpp>
#include <belay/core/task.hpp>
#include <belay/db/error.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace db_test {

struct temporary_directory {
  explicit temporary_directory(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string pattern = (parent / "belay-db-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    path = pattern;
  }
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  [[nodiscard]] std::string file(std::string_view name = "test.db") const { return (path / name).string(); }

  std::filesystem::path path;
};

// Runs `body()` (a coroutine) on a loop in real time: threads do the work, and they know no virtual one.
// Nothing may be left behind.
template <class F>
auto run(F body) {
  std::vector<std::string> lost;
  belay::loop loop(
      {.on_lost_failure = [&lost](const belay::failure& what) { lost.push_back(belay::describe(what)); }});
  const auto check = [&] {
    CHECK(lost == std::vector<std::string>{});
    CHECK(loop.statistics().live_tasks == 0);
    CHECK(loop.statistics().blocking_jobs == 0);
    CHECK(loop.statistics().timers == 0);
  };
  if constexpr (std::is_void_v<decltype(loop.run(body()))>) {
    loop.run(body());
    check();
  } else {
    auto result = loop.run(body());
    check();
    return result;
  }
}

// The error of type E that `body()` ends with; fails the test when there is none.
template <class E, class F>
E error_of(F body) {
  try {
    run(std::move(body));
  } catch (const E& found) {
    return found;
  }
  throw std::runtime_error("expected an error, got none");
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Somebody else who uses the file. SQLite keeps its connections apart as if they were in different processes.
class stranger {
 public:
  explicit stranger(const std::string& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) throw std::runtime_error("stranger: open");
    run("PRAGMA busy_timeout=5000");
  }
  ~stranger() { sqlite3_close(db_); }
  stranger(const stranger&) = delete;
  stranger& operator=(const stranger&) = delete;

  void run(const char* sql) {
    char* message = nullptr;
    if (sqlite3_exec(db_, sql, nullptr, nullptr, &message) != SQLITE_OK) {
      const std::string text = message ? message : "unknown";
      sqlite3_free(message);
      throw std::runtime_error("stranger: " + text);
    }
  }
  // The first column of the first row.
  std::string ask(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) != SQLITE_OK)
      throw std::runtime_error(sqlite3_errmsg(db_));
    std::string answer;
    if (sqlite3_step(statement) == SQLITE_ROW) {
      if (const auto* text = sqlite3_column_text(statement, 0)) answer = reinterpret_cast<const char*>(text);
    }
    sqlite3_finalize(statement);
    return answer;
  }

 private:
  sqlite3* db_ = nullptr;
};

// Counts for minutes, when nobody stops it.
inline constexpr const char* endless_query =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

}  // namespace db_test
