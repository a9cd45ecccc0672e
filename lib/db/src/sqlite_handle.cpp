// SPDX-License-Identifier: Apache-2.0
// The blocking SQLite connection: configuration, prepared statements, locks, interruption.

#include "sqlite_handle.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <belay/core/thread.hpp>
#include <belay/db/error.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <thread>
#include <type_traits>

#include "sqlite_error.hpp"

namespace belay::db::sqlite::detail {

namespace {

using std::chrono::steady_clock;

constexpr std::string_view in_memory = ":memory:";
// About 0.1 ms of work between two looks at the stop token.
constexpr int progress_instructions = 4000;

void make_parent_directory(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (parent.empty()) return;
  std::error_code problem;
  std::filesystem::create_directories(parent, problem);
  if (problem) {
    throw storage_error(
        error_kind::unavailable, "cannot_open",
        fmt::format("database {}: create directory {}: {}; check that path and permissions are right", path,
                    parent.string(), problem.message()),
        SQLITE_CANTOPEN);
  }
}

// SQLite takes a file of one byte for an empty one and would overwrite it.
void refuse_single_byte(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::file_size(path, ignored) == 1) throw_error(nullptr, SQLITE_NOTADB, path, "open");
}

bool is_blank(std::string_view sql) {
  // Comments are blank, too, but SQLite answers those: prepare gives no statement for them.
  return sql.find_first_not_of(" \t\r\n;") == std::string_view::npos;
}

value column_value(sqlite3_stmt* from, int index) {
  switch (sqlite3_column_type(from, index)) {
    case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(from, index));
    case SQLITE_FLOAT: return sqlite3_column_double(from, index);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(from, index));
      return std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(from, index)));
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(from, index));
      return blob(bytes, bytes + sqlite3_column_bytes(from, index));
    }
    default: return nullptr;
  }
}

// The code of a call that ended since its stop was requested, and would have gone on otherwise.
bool ended_by_stop(int code) noexcept {
  return (code & 0xFF) == SQLITE_INTERRUPT || (code & 0xFF) == SQLITE_BUSY;
}

}  // namespace

std::string path_of(std::string_view name) {
  constexpr std::string_view scheme = "sqlite:";
  std::string_view path = name;
  if (path.starts_with(scheme)) path.remove_prefix(scheme.size());
  while (path.starts_with("//")) path.remove_prefix(1);  // sqlite:///var/a.db
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    throw error(error_kind::invalid, "bad_name",
                fmt::format("open database \"{}\": no file is named; write sqlite:PATH", std::string(name)));
  }
  if (path.find("://") != std::string_view::npos) {
    throw error(error_kind::invalid, "bad_name",
                fmt::format("open database {}: SQLite opens files; write sqlite:PATH",
                            name.substr(0, name.find("://") + 3)));
  }
  return std::string(path);
}

// Sets up what the callbacks need for one call, and sqlite3_interrupt for as long as it lasts.
class handle::running {
 public:
  running(handle& owner, std::stop_token stop, steady_clock::time_point lock_deadline)
      : owner_(owner), interrupt_(stop, interruption{owner.db_}) {
    owner_.stop_ = std::move(stop);
    owner_.lock_deadline_ = lock_deadline;
  }
  running(const running&) = delete;
  running& operator=(const running&) = delete;
  ~running() { owner_.stop_ = {}; }

 private:
  struct interruption {
    sqlite3* db;
    void operator()() const noexcept { sqlite3_interrupt(db); }
  };
  handle& owner_;
  // Ends waits inside SQLite that do not come by the progress handler. An interrupt that arrives between two
  // statements is forgotten by SQLite; the progress handler sees the stop token all the same.
  std::stop_callback<interruption> interrupt_;
};

void handle::finalizer::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }

handle::handle(const std::string& path, role as, const options& settings)
    : path_(path), cache_limit_(settings.cached_statements) {
  const bool memory = path == in_memory;
  if (as == role::writer && !memory) {
    make_parent_directory(path);
    refuse_single_byte(path);
  }
  // "file:" would be read as a URI with parameters.
  const std::string file = path.starts_with("file:") ? "./" + path : path;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (as == role::writer) flags |= SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(file.c_str(), &db_, flags, nullptr);
  try {
    if (code != SQLITE_OK) fail(code, "open");
    lock_deadline_ = steady_clock::now() + settings.busy_timeout;
    configure(as, settings);
  } catch (...) {
    sqlite3_close_v2(db_);
    throw;
  }
}

void handle::configure(role as, const options& settings) {
  const bool memory = path_ == in_memory;
  sqlite3_busy_handler(db_, on_busy, this);
  sqlite3_progress_handler(db_, progress_instructions, on_progress, this);
  // "name" in double quotes is a column, never silently a text; and the schema cannot be damaged by SQL.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);

  // Reads first: a file that is no database must be found out before anything is written into it.
  try {
    pragma("SELECT count(*) FROM sqlite_schema");
  } catch (const corrupt_error& problem) {
    if (problem.native_code() != SQLITE_NOTADB) throw;
    throw_error(db_, SQLITE_NOTADB, path_, "open");
  }
  if (as == role::reader) {
    pragma("PRAGMA query_only=ON");
    return;
  }
  if (!memory) {
    const std::string mode = use_write_ahead_log();
    if (mode != "wal") {
      throw storage_error(
          error_kind::unavailable, "cannot_open",
          fmt::format("database {}: switch to write-ahead logging: stayed in mode {}; its file system "
                      "must offer shared memory: put it on a local disk",
                      path_, mode));
    }
  }
  pragma(settings.durable == durability::full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  pragma("PRAGMA foreign_keys=ON");
  if (settings.check != open_check::schema) {
    const std::string found = pragma_text(settings.check == open_check::quick ? "PRAGMA quick_check(1)"
                                                                              : "PRAGMA integrity_check(1)");
    if (found != "ok") {
      throw corrupt_error(
          error_kind::internal, "corrupt",
          fmt::format("database {}: integrity check: {}; restore a backup, or try the command .recover "
                      "of sqlite3",
                      path_, found),
          SQLITE_CORRUPT);
    }
  }
}

// Several processes that make the same new file get in each other's way, and SQLite does not ask the busy
// handler where waiting might be a deadlock.
std::string handle::use_write_ahead_log() {
  while (true) {
    try {
      return pragma_text("PRAGMA journal_mode=WAL");
    } catch (const busy_error&) {
      if (steady_clock::now() >= lock_deadline_) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

handle::~handle() {
  cache_.clear();
  sqlite3_close_v2(db_);
}

void handle::fail(int code, std::string_view doing) const { throw_error(db_, code, path_, doing); }

void handle::pragma(std::string_view sql) {
  const statement prepared = prepare(sql, nullptr);
  step_all(prepared.get(), sql, nullptr, {});
}

std::string handle::pragma_text(std::string_view sql) {
  const statement prepared = prepare(sql, nullptr);
  statement_result result;
  step_all(prepared.get(), sql, &result, {});
  return result.rows.empty() ? std::string() : result.rows[0].get<std::string>(0);
}

handle::statement handle::prepare(std::string_view sql, std::string_view* rest) {
  sqlite3_stmt* made = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      cache_limit_ > 0 ? SQLITE_PREPARE_PERSISTENT : 0U, &made, &tail);
  statement prepared(made);
  if (code != SQLITE_OK) {
    if (stop_.stop_requested() && ended_by_stop(code)) throw stopped();  // the parser heeds interrupts, too
    fail(code, sql);
  }
  if (rest) *rest = sql.substr(static_cast<std::size_t>(tail - sql.data()));
  return prepared;
}

handle::statement handle::take_cached(std::string_view sql) {
  const auto found = cache_index_.find(sql);
  if (found == cache_index_.end()) return nullptr;
  statement prepared = std::move(found->second->prepared);
  const auto place = found->second;
  cache_index_.erase(found);
  cache_.erase(place);
  return prepared;
}

void handle::keep(std::string_view sql, statement used) noexcept {
  sqlite3_reset(used.get());
  sqlite3_clear_bindings(used.get());
  if (cache_limit_ == 0) return;
  try {
    cache_.push_front({std::string(sql), std::move(used)});
    cache_index_.emplace(cache_.front().sql, cache_.begin());
    if (cache_.size() > cache_limit_) {
      cache_index_.erase(cache_.back().sql);
      cache_.pop_back();
    }
  } catch (...) {
    // No memory for the cache: it starts again, empty.
    cache_index_.clear();
    cache_.clear();
  }
}

void handle::bind(sqlite3_stmt* into, std::string_view sql, const parameters& bound) {
  const int wanted = sqlite3_bind_parameter_count(into);
  if (static_cast<std::size_t>(wanted) != bound.size()) {
    throw statement_error(
        error_kind::internal, "bad_statement",
        fmt::format("database {}: {}: takes {} parameters, got {}", path_, sql, wanted, bound.size()),
        SQLITE_RANGE);
  }
  int index = 0;
  for (const value& next : bound) {
    ++index;
    // The parameters outlive the statement's run, and `keep` clears the bindings: no copies.
    const int code = std::visit(
        [&](const auto& v) -> int {
          using type = std::remove_cvref_t<decltype(v)>;
          if constexpr (std::is_same_v<type, std::nullptr_t>) {
            return sqlite3_bind_null(into, index);
          } else if constexpr (std::is_same_v<type, std::int64_t>) {
            return sqlite3_bind_int64(into, index, v);
          } else if constexpr (std::is_same_v<type, double>) {
            return sqlite3_bind_double(into, index, v);
          } else if constexpr (std::is_same_v<type, std::string>) {
            return sqlite3_bind_text64(into, index, v.data(), v.size(), SQLITE_STATIC, SQLITE_UTF8);
          } else {
            // A null pointer would bind null: an empty blob is not null.
            if (v.empty()) return sqlite3_bind_zeroblob(into, index, 0);
            return sqlite3_bind_blob64(into, index, v.data(), v.size(), SQLITE_STATIC);
          }
        },
        next.get());
    if (code != SQLITE_OK) fail(code, sql);
  }
}

void handle::step_all(sqlite3_stmt* prepared, std::string_view sql, statement_result* into,
                      const std::stop_token& stop) {
  int columns = 0;
  std::shared_ptr<column_names> names;
  std::vector<row> all;
  // After the first step: it prepares the statement anew when the schema has changed.
  const auto learn_columns = [&] {
    if (!into || names) return;
    columns = sqlite3_column_count(prepared);
    names = std::make_shared<column_names>();
    for (int i = 0; i < columns; ++i) names->emplace_back(sqlite3_column_name(prepared, i));
  };
  while (true) {
    // A write that has given a row (RETURNING) has happened: leaving it now would keep it and lose its
    // answer.
    if (stop.stop_requested() && (!sqlite3_stmt_busy(prepared) || sqlite3_stmt_readonly(prepared)))
      throw stopped();
    const int code = sqlite3_step(prepared);
    if (code == SQLITE_ROW) {
      if (!into) continue;
      learn_columns();
      try {
        std::vector<value> values;
        values.reserve(static_cast<std::size_t>(columns));
        for (int i = 0; i < columns; ++i) values.push_back(column_value(prepared, i));
        all.emplace_back(names, std::move(values));
      } catch (...) {
        // No memory for the row of a write: a reset would keep the write, an interrupted step takes it back.
        sqlite3_interrupt(db_);
        sqlite3_step(prepared);
        throw;
      }
    } else if (code == SQLITE_DONE) {
      break;
    } else if (stop.stop_requested() && ended_by_stop(code)) {
      throw stopped();
    } else {
      fail(code, sql);
    }
  }
  if (into) {
    learn_columns();
    into->rows = db::rows(std::move(names), std::move(all));
    // sqlite3_changes64 keeps the number of the last INSERT, UPDATE or DELETE: other statements changed
    // nothing.
    into->changed.rows = sqlite3_stmt_readonly(prepared) ? 0 : sqlite3_changes64(db_);
    into->changed.last_insert_id = sqlite3_last_insert_rowid(db_);
  }
}

statement_result handle::run(std::string_view sql, const parameters& bound, std::stop_token stop,
                             steady_clock::time_point lock_deadline) {
  const running call(*this, stop, lock_deadline);
  if (stop.stop_requested()) throw stopped();
  statement prepared = take_cached(sql);
  if (!prepared) {
    std::string_view rest;
    prepared = prepare(sql, &rest);
    if (!prepared) {
      throw statement_error(error_kind::internal, "bad_statement",
                            fmt::format("database {}: the statement is empty", path_));
    }
    if (!is_blank(rest) && prepare(rest, nullptr)) {
      throw statement_error(
          error_kind::internal, "bad_statement",
          fmt::format("database {}: {}: more than one statement; run them one by one", path_, sql));
    }
  }
  statement_result result;
  try {
    bind(prepared.get(), sql, bound);
    step_all(prepared.get(), sql, &result, stop);
  } catch (...) {
    keep(sql, std::move(prepared));
    throw;
  }
  keep(sql, std::move(prepared));
  return result;
}

void handle::run_script(std::string_view sql, std::stop_token stop, steady_clock::time_point lock_deadline) {
  const running call(*this, stop, lock_deadline);
  std::string_view rest = sql;
  while (!is_blank(rest)) {
    const std::string_view current = rest;
    const statement prepared = prepare(current, &rest);
    if (!prepared) continue;  // a comment
    const std::string_view text = current.substr(0, current.size() - rest.size());
    bind(prepared.get(), text, {});
    step_all(prepared.get(), text, nullptr, stop);
  }
}

bool handle::in_transaction() const noexcept { return db_ && sqlite3_get_autocommit(db_) == 0; }

void handle::close() {
  if (!db_) return;
  cache_index_.clear();
  cache_.clear();
  int code = SQLITE_OK;
  if (path_ != in_memory) {
    lock_deadline_ = {};  // does not wait for others: the log is as safe as the file
    const auto checkpoint = [this] {
      return sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
    };
    code = checkpoint();
    // A cancellation that came as its statement ended left an interrupt behind; this call has used it up.
    if ((code & 0xFF) == SQLITE_INTERRUPT) code = checkpoint();
    // Another process reads the log: it stays, and whoever closes last moves it.
    if ((code & 0xFF) == SQLITE_BUSY || (code & 0xFF) == SQLITE_LOCKED) code = SQLITE_OK;
  }
  sqlite3* closing = std::exchange(db_, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_close_v2(closing);
    return;
  }
  try {
    throw_error(closing, code, path_, "checkpoint at close");
  } catch (...) {
    sqlite3_close_v2(closing);
    throw;
  }
}

void handle::deny_rollback(bool deny) noexcept {
  const auto refuse = [](void*, int action, const char* operation, const char*, const char*, const char*) {
    return action == SQLITE_TRANSACTION && std::string_view(operation) == "ROLLBACK" ? SQLITE_DENY
                                                                                     : SQLITE_OK;
  };
  sqlite3_set_authorizer(db_, deny ? +refuse : nullptr, nullptr);
}

void handle::interrupt_for_tests() noexcept { sqlite3_interrupt(db_); }

int handle::on_busy(void* self, int attempt) {
  // SQLite's own handler sleeps up to 100 ms and cannot be woken.
  constexpr std::array<int, 7> waits_ms{1, 1, 2, 4, 8, 15, 25};
  auto& me = *static_cast<handle*>(self);
  const auto now = steady_clock::now();
  if (me.stop_.stop_requested() || now >= me.lock_deadline_) return 0;
  const auto step = std::chrono::milliseconds(
      waits_ms[std::min<std::size_t>(static_cast<std::size_t>(attempt), waits_ms.size() - 1)]);
  const auto until = std::min<steady_clock::time_point>(now + step, me.lock_deadline_);
  std::unique_lock lock(me.sleep_mutex_);
  me.sleep_.wait_until(lock, me.stop_, until, [] { return false; });
  return me.stop_.stop_requested() ? 0 : 1;
}

int handle::on_progress(void* self) { return static_cast<handle*>(self)->stop_.stop_requested() ? 1 : 0; }

}  // namespace belay::db::sqlite::detail
