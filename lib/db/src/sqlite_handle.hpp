// SPDX-License-Identifier: Apache-2.0
#pragma once
// One SQLite connection, blocking. The coroutine side calls it on threads for blocking work only.

#include <belay/core/time.hpp>
#include <belay/db/row.hpp>
#include <belay/db/sqlite/options.hpp>
#include <belay/db/value.hpp>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace belay::db::sqlite::detail {

struct statement_result {
  db::rows rows;
  change changed;
};

// Thread: one at a time, any; only the stop token is used by others.
class handle {
 public:
  enum class role : unsigned char { writer, reader };

  // Opens and configures. The writer makes the file and its parent directories.
  // Errors: storage_error, corrupt_error, busy_error, naming the path.
  handle(const std::string& path, role as, const options& settings);
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  ~handle();

  // Runs one statement. Waits for locks until `lock_deadline`.
  // Errors: any db::error; `belay::stopped` when `stop` was requested before it had finished: then it had no
  // effect, and SQLite may have rolled the transaction back (`in_transaction` tells).
  statement_result run(std::string_view sql, const parameters& bound, std::stop_token stop,
                       std::chrono::steady_clock::time_point lock_deadline);

  // Runs all statements of `sql`, which takes no parameters and whose rows are dropped. Errors: as `run`.
  void run_script(std::string_view sql, std::stop_token stop,
                  std::chrono::steady_clock::time_point lock_deadline);

  [[nodiscard]] bool in_transaction() const noexcept;

  // Moves the log into the file, as far as other processes let it, and closes. The handle is closed whatever
  // happens. Errors: storage_error when the checkpoint fails.
  void close();

  // For tests: ROLLBACK fails with "not authorized".
  void deny_rollback(bool deny) noexcept;
  // For tests: an interrupt at a moment when no statement runs.
  void interrupt_for_tests() noexcept;

 private:
  struct finalizer {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  using statement = std::unique_ptr<sqlite3_stmt, finalizer>;
  struct cached {
    std::string sql;
    statement prepared;
  };
  class running;

  void configure(role as, const options& settings);
  std::string use_write_ahead_log();
  void pragma(std::string_view sql);
  std::string pragma_text(std::string_view sql);
  // A statement ready to bind: taken out of the cache or prepared. `rest` gets what follows it in the text.
  statement prepare(std::string_view sql, std::string_view* rest);
  statement take_cached(std::string_view sql);
  void keep(std::string_view sql, statement used) noexcept;
  void bind(sqlite3_stmt* into, std::string_view sql, const parameters& bound);
  // Steps to the end. Errors: as `run`.
  void step_all(sqlite3_stmt* prepared, std::string_view sql, statement_result* into,
                const std::stop_token& stop);
  [[noreturn]] void fail(int code, std::string_view doing) const;

  static int on_busy(void* self, int attempt);
  static int on_progress(void* self);

  const std::string path_;
  const std::size_t cache_limit_;
  sqlite3* db_ = nullptr;
  std::list<cached> cache_;  // latest used first
  std::unordered_map<std::string_view, std::list<cached>::iterator> cache_index_;

  // Of the call under way.
  std::stop_token stop_;
  std::chrono::steady_clock::time_point lock_deadline_;
  std::mutex sleep_mutex_;
  std::condition_variable_any sleep_;
};

// "sqlite:var/a.db" and "var/a.db" -> "var/a.db". Errors: db::error (invalid) for an empty name or another
// scheme.
std::string path_of(std::string_view name);

// The only row, or none. Errors: statement_error for more.
std::optional<row> at_most_one(rows found, const std::string& path, const std::string& sql);

}  // namespace belay::db::sqlite::detail
