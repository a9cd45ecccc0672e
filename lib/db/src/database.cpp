// SPDX-License-Identifier: Apache-2.0
// Opening a database, and single statements on it.

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/thread.hpp>
#include <belay/db/error.hpp>
#include <belay/db/sqlite/database.hpp>

#include "sqlite_pool.hpp"

namespace belay::db::sqlite {

namespace detail {

namespace {

task<statement_result> run_alone(std::shared_ptr<pool> from, handle::role as, std::string sql,
                                 parameters bound, std::source_location where) {
  lease taken = co_await from->acquire(as, where);
  handle& connection = taken.connection();
  const lock_deadline until = taken.deadline();
  statement_result result = co_await to_thread(
      [&](std::stop_token stop) { return connection.run(sql, bound, std::move(stop), until); });
  if (connection.in_transaction()) {
    co_await to_thread([&] { connection.run("ROLLBACK", {}, {}, until); });
    throw misuse_error(
        fmt::format("database {}: {}: a transaction needs a connection of its own: use transaction()",
                    from->path(), sql));
  }
  co_return result;
}

struct aborts_at_end {
  pool& ended;
  ~aborts_at_end() { ended.abort(); }
};

void require_valid(const options& settings) {
  if (settings.busy_timeout <= duration::zero()) {
    throw error(error_kind::invalid, "bad_options", "open database: busy_timeout must be above 0");
  }
  // Longer ones overflow the machine's clock when added to it.
  if (settings.busy_timeout > std::chrono::hours(24 * 365)) {
    throw error(error_kind::invalid, "bad_options", "open database: busy_timeout must be at most a year");
  }
  if (settings.readers > 1000) {
    throw error(error_kind::invalid, "bad_options", "open database: readers must be at most 1000");
  }
}

}  // namespace

std::optional<row> at_most_one(rows found, const std::string& path, const std::string& sql) {
  if (found.size() > 1) {
    throw statement_error(
        error_kind::internal, "too_many_rows",
        fmt::format("database {}: {}: expected one row at most, got {}", path, sql, found.size()));
  }
  if (found.empty()) return std::nullopt;
  return std::move(found).take(0);
}

}  // namespace detail

task<change> database::execute_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  const detail::statement_result done =
      co_await detail::run_alone(from, detail::handle::role::writer, std::move(sql), std::move(bound), where);
  co_return done.changed;
}

task<rows> database::query_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  detail::statement_result done =
      co_await detail::run_alone(from, detail::handle::role::reader, std::move(sql), std::move(bound), where);
  co_return std::move(done.rows);
}

task<std::optional<row>> database::query_one_with(std::string sql, parameters bound) const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  detail::statement_result done =
      co_await detail::run_alone(from, detail::handle::role::reader, sql, std::move(bound), where);
  co_return detail::at_most_one(std::move(done.rows), from->path(), sql);
}

task<> database::ping() const {
  const auto from = pool_;
  const std::source_location where = co_await belay::detail::caller_site_awaiter();
  co_await detail::run_alone(from, detail::handle::role::reader, "SELECT count(*) FROM sqlite_schema", {},
                             where);
}

std::vector<pool_holder> database::holders() const { return pool_->holders(); }

pool_statistics database::statistics() const noexcept { return pool_->statistics(); }

const std::string& database::path() const noexcept { return pool_->path(); }

managed<database> open(std::string name, options settings) {
  detail::require_valid(settings);
  const std::string path = detail::path_of(name);
  // Each connection to :memory: would be a database of its own.
  if (path == ":memory:") settings.readers = 0;
  const auto connections = std::make_shared<detail::pool>(path, settings);
  co_await connections->open();
  database usable(connections);
  co_yield usable;
  // Whatever becomes of the closing (it fails, or somebody keeps a connection for longer than cleanup may take): copies of `usable`
  // must not keep the file open.
  const detail::aborts_at_end leaves_nothing{*connections};
  co_await connections->close();
}

}  // namespace belay::db::sqlite
