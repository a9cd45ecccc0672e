// SPDX-License-Identifier: Apache-2.0
// Statements of a transaction, its commit and its rollback.

#include "session.hpp"

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/thread.hpp>
#include <belay/db/error.hpp>

namespace belay::db::sqlite {

namespace detail {

namespace {

[[noreturn]] void throw_ended(const session& over) {
  throw closed_error(
      error_kind::internal, "closed",
      fmt::format("database {}: the transaction of this connection has ended", over.from->path()));
}

// Runs `work(handle&, stop_token)` on a thread, in its turn, inside the transaction.
template <class Work>
auto in_turn(std::shared_ptr<session> open, Work work)
    -> task<std::invoke_result_t<Work&, handle&, std::stop_token>> {
  if (!open->held) throw_ended(*open);
  const permit turn = co_await open->turn.acquire();
  if (!open->held) throw_ended(*open);
  open->require_transaction();
  open->held->renew_deadline();
  handle& connection = open->held->connection();
  try {
    auto result = co_await to_thread([&](std::stop_token stop) { return work(connection, std::move(stop)); });
    if (connection.in_transaction()) co_return result;
    open->lost_because = "a statement ended it; leave that to transaction()";
    open->require_transaction();
    co_return result;
  } catch (const std::exception& problem) {
    if (!connection.in_transaction() && open->lost_because.empty()) open->lost_because = problem.what();
    throw;
  }
}

task<> run_command(session& open, std::string sql) {
  handle& connection = open.held->connection();
  const lock_deadline until = open.held->deadline();
  // Without the stop token: once it has begun, its outcome is known.
  co_await to_thread([&connection, &sql, until] { connection.run(sql, {}, {}, until); });
}

// What went wrong, or no failure. A connection that cannot be cleaned is replaced.
task<failure> roll_back(session& open) {
  failure problem;
  if (open.held->connection().in_transaction()) {
    try {
      co_await run_command(open, "ROLLBACK");
    } catch (...) {
      problem = current_failure();
    }
    if (problem) co_await open.held->replace();
  }
  co_return problem;
}

}  // namespace

void session::require_transaction() const {
  if (held->connection().in_transaction()) return;
  throw error(error_kind::unavailable, "transaction_lost",
              fmt::format("database {}: the transaction is over before its end: {}", from->path(),
                          lost_because.empty() ? "a cancelled statement rolled it back" : lost_because));
}

void session::give_back() noexcept {
  held.reset();
  from->transaction_ended();
}

task<std::shared_ptr<session>> begin(std::shared_ptr<pool> from, transaction_mode mode,
                                     std::source_location where) {
  const bool reads = mode == transaction_mode::read;
  lease taken = co_await from->acquire(reads ? handle::role::reader : handle::role::writer, where);
  handle& connection = taken.connection();
  const lock_deadline until = taken.deadline();
  const char* const sql = mode == transaction_mode::write ? "BEGIN IMMEDIATE" : "BEGIN";
  co_await to_thread(
      [&connection, sql, until](std::stop_token stop) { connection.run(sql, {}, std::move(stop), until); });
  from->transaction_opened();
  co_return std::make_shared<session>(from, std::move(taken));
}

task<> end(std::shared_ptr<session> open, bool commit) {
  // A copy of the connection may still be running a statement.
  const permit turn = co_await open->turn.acquire();
  open->held->renew_deadline();
  failure problem;
  if (commit) {
    try {
      open->require_transaction();
      if (!open->savepoints.empty()) {
        throw error(error_kind::unavailable, "transaction_lost",
                    fmt::format("database {}: commit: a savepoint of the transaction could not be ended",
                                open->from->path()));
      }
      co_await run_command(*open, "COMMIT");
    } catch (...) {
      problem = current_failure();
    }
    if (!problem) {
      open->give_back();
      co_return;
    }
  }
  failure unclean = co_await roll_back(*open);
  open->give_back();
  if (problem) {
    if (unclean) problem.attach(std::move(unclean));
    problem.rethrow();
  }
  if (unclean) unclean.rethrow();
}

// ---- savepoints

namespace {

std::string savepoint_sql(const char* verb, std::uint64_t number) {
  return fmt::format("{} belay_{}", verb, number);
}

// The connection is as it was before the savepoint, or the transaction is over.
task<failure> undo_savepoint(session& open, std::uint64_t number) {
  failure problem;
  try {
    co_await run_command(open, savepoint_sql("ROLLBACK TO", number));
    co_await run_command(open, savepoint_sql("RELEASE", number));
  } catch (...) {
    problem = current_failure();
  }
  if (problem) {
    if (open.lost_because.empty()) open.lost_because = problem.message();
    if (failure worse = co_await roll_back(open)) problem.attach(std::move(worse));
  }
  co_return problem;
}

}  // namespace

task<std::uint64_t> begin_savepoint(std::shared_ptr<session> open) {
  if (!open->held) throw_ended(*open);
  const permit turn = co_await open->turn.acquire();
  if (!open->held) throw_ended(*open);
  open->require_transaction();
  open->held->renew_deadline();
  const std::uint64_t number = open->next_savepoint++;
  open->savepoints.reserve(open->savepoints.size() + 1);
  co_await run_command(*open, savepoint_sql("SAVEPOINT", number));
  open->savepoints.push_back(number);
  co_return number;
}

task<> end_savepoint(std::shared_ptr<session> open, std::uint64_t number, const std::string& name,
                     bool keep) {
  const permit turn = co_await open->turn.acquire();
  if (!open->held) {
    if (keep) throw_ended(*open);
    co_return;
  }
  if (!open->held->connection().in_transaction()) {
    if (keep) open->require_transaction();
    co_return;  // it was undone with all the rest
  }
  open->held->renew_deadline();
  if (open->savepoints.back() != number) {
    const std::string who = name.empty() ? "a savepoint" : "savepoint '" + name + "'";
    open->lost_because = who + " ended before one that was opened in it";
    failure worse = co_await roll_back(*open);
    failure mistake = failure::of(std::make_exception_ptr(misuse_error(fmt::format(
        "database {}: {}; the transaction was rolled back: end savepoints in the opposite order, in one task",
        open->from->path(), open->lost_because))));
    if (worse) mistake.attach(std::move(worse));
    mistake.rethrow();
  }
  // It stays in the list until it has really ended: with one left there, nothing is committed.
  failure problem;
  if (keep) {
    try {
      co_await run_command(*open, savepoint_sql("RELEASE", number));
    } catch (...) {
      problem = current_failure();
    }
    if (!problem) {
      open->savepoints.pop_back();
      co_return;
    }
  }
  failure unclean = co_await undo_savepoint(*open, number);
  if (!unclean) open->savepoints.pop_back();
  if (problem) {
    if (unclean) problem.attach(std::move(unclean));
    problem.rethrow();
  }
  if (unclean) unclean.rethrow();
}

}  // namespace detail

task<change> connection::execute_with(std::string sql, parameters bound) const {
  const auto open = session_;
  const detail::statement_result done =
      co_await detail::in_turn(open, [&](detail::handle& on, std::stop_token stop) {
        return on.run(sql, bound, std::move(stop), open->held->deadline());
      });
  co_return done.changed;
}

task<rows> connection::query_with(std::string sql, parameters bound) const {
  const auto open = session_;
  detail::statement_result done =
      co_await detail::in_turn(open, [&](detail::handle& on, std::stop_token stop) {
        return on.run(sql, bound, std::move(stop), open->held->deadline());
      });
  co_return std::move(done.rows);
}

task<std::optional<row>> connection::query_one_with(std::string sql, parameters bound) const {
  rows found = co_await query_with(sql, std::move(bound));
  co_return detail::at_most_one(std::move(found), session_->from->path(), sql);
}

task<> connection::execute_script(std::string sql) const {
  const auto open = session_;
  co_await detail::in_turn(open, [&](detail::handle& on, std::stop_token stop) {
    on.run_script(sql, std::move(stop), open->held->deadline());
    return true;
  });
}

managed<connection> transaction(const database& db, transaction_mode mode, std::source_location where) {
  const auto open = co_await detail::begin(db.pool(), mode, where);
  connection usable(open);
  const exit_status how = co_yield usable;
  co_await detail::end(open, how.succeeded());
}

managed<connection> savepoint(connection in, std::string name) {
  const auto open = in.session();
  const std::uint64_t number = co_await detail::begin_savepoint(open);
  const exit_status how = co_yield in;
  if (how.failed() && !name.empty()) {
    failure story = how.failure();
    story.note("in savepoint '" + name + "'");
  }
  co_await detail::end_savepoint(open, number, name, how.succeeded());
}

}  // namespace belay::db::sqlite
