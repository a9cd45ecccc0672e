// SPDX-License-Identifier: Apache-2.0
// Statements of a transaction, savepoints, its commit and its rollback.

#include "session.hpp"

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/error.hpp>
#include <algorithm>

#include "server_error.hpp"

namespace belay::db::postgres {

namespace detail {

namespace {

// The number that tells later whether it was committed; null before the transaction writes.
constexpr const char* ask_number = "SELECT pg_current_xact_id_if_assigned()::text AS id";

[[noreturn]] void throw_ended(const session& over) {
  throw closed_error(
      error_kind::internal, "closed",
      fmt::format("database {}: the transaction of this connection has ended", over.from->name()));
}

void require_transaction(session& open) {
  if (!open.begin.empty()) return;  // the first statement sees
  if (open.on().usable() && open.on().transaction() == transaction_state::open) return;
  throw error(error_kind::unavailable, "transaction_lost",
              fmt::format("database {}: the transaction is over before its end: {}", open.from->name(),
                          !open.lost_because.empty() ? open.lost_because
                          : open.on().usable()       ? "a cancelled statement ended it"
                                                     : "its connection was lost"));
}

const char* begin_words(const transaction_options& how) {
  switch (how.level) {
    case isolation::read_committed: return "BEGIN ISOLATION LEVEL READ COMMITTED";
    case isolation::repeatable_read: return "BEGIN ISOLATION LEVEL REPEATABLE READ";
    case isolation::serializable: break;
  }
  return "BEGIN ISOLATION LEVEL SERIALIZABLE";
}

void take_number(session& open, const result& from) {
  if (from.rows.empty()) return;
  open.number_may_be_new = false;
  if (!from.rows[0][0].is_null()) open.number = {from.rows[0].get<std::string>(0), open.on().timeline};
}

// The connection says how it ended, or nothing.
task<outcome<std::vector<result>>> try_batch(line& on, std::string sql, duration limit) {
  std::vector<statement> all;
  all.push_back({std::move(sql)});
  co_return co_await as_outcome(with_timeout({limit, "a commit or rollback"}, run_batch(on, std::move(all))));
}

[[noreturn]] void throw_not_committed(const session& open, const std::string& why) {
  throw connection_error(
      error_kind::unavailable, "connection_lost",
      fmt::format("database {}: COMMIT: the connection was lost, and the transaction was not committed: {}",
                  open.from->name(), why));
}

[[noreturn]] void throw_too_late(const session& open, duration left) {
  const auto ms = [](duration of) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(of).count();
  };
  const options& set = open.from->settings();
  throw error(
      error_kind::unavailable, "transaction_lost",
      fmt::format("database {}: rolled back instead of committed: {} ms are left of the cleanup's limit, "
                  "too few to find out how an interrupted COMMIT ended. A statement on a copy of the "
                  "connection ran for too long, or loop_options::cleanup_limit is not above "
                  "commit_limit ({} ms) and twice cancel_limit ({} ms)",
                  open.from->name(), ms(left), ms(set.commit_limit), ms(set.cancel_limit)));
}

task<> commit(session& open) {
  if (!open.begin.empty()) co_return;  // there was no statement
  require_transaction(open);
  const options& set = open.from->settings();
  if (open.number_may_be_new) {
    std::vector<statement> ask;
    ask.push_back({ask_number});
    const std::vector<result> got = co_await with_timeout(
        {set.commit_limit / 4, "the number of a transaction"}, run_batch(open.on(), std::move(ask)));
    take_number(open, got.front());
  }
  // COMMIT, giving it up, the inquiry, and giving that up must end within the limit of this cleanup: beyond it nobody could tell how it ended.
  const duration left = time_left();
  const duration giving_up = std::min(set.cancel_limit, left / 2);
  const duration limit = std::min(set.commit_limit / 2, (left - 2 * giving_up) / 3);
  if (limit <= duration::zero()) throw_too_late(open, left);
  const int backend = open.on().backend();
  exchange_wait wait(open.on(), step::batch, {{"COMMIT"}});
  outcome<void> how = co_await as_outcome(
      with_timeout({limit, "COMMIT"}, [](exchange_wait& answer) -> task<> { co_await answer; }(wait)));
  if (how.succeeded()) {
    // Of a transaction that has failed before, COMMIT makes a rollback without a word.
    if (!wait.tags.empty() && wait.tags.front() == "COMMIT") co_return;
    throw error(
        error_kind::unavailable, "transaction_lost",
        fmt::format("database {}: COMMIT: the server rolled back: {}", open.from->name(), open.lost_because));
  }
  const failure why = how.failure();
  // The server's own word is the outcome; that of a broken connection is not.
  if (open.on().usable() && open.on().transaction() == transaction_state::none &&
      why.find<timeout_error>() == nullptr) {
    co_await fail(why);
  }
  open.on().drop();
  why.observe();
  if (open.number.id.empty()) throw_not_committed(open, "it had written nothing");  // nothing to be committed
  if (co_await was_committed(open.from, open.number, backend)) co_return;
  throw_not_committed(open, why.message());
}

// A connection that cannot be cleaned is dropped, which rolls back, too.
task<> roll_back(session& open) {
  if (open.on().usable() && open.on().transaction() != transaction_state::none) {
    outcome<std::vector<result>> how =
        co_await try_batch(open.on(), "ROLLBACK", open.from->settings().cancel_limit);
    if (how.failed()) {
      open.on().drop();
      // That the server is gone is told by what failed before, if it matters; it has rolled back.
      how.failure().observe();
    }
  }
}

}  // namespace

void session::give_back() noexcept {
  if (!held) return;
  held.reset();
  from->transaction_ended();
}

task<permit> take_turn(session& open) {
  if (!open.held) throw_ended(open);
  permit turn = co_await open.turn.acquire();
  if (!open.held) throw_ended(open);
  require_transaction(open);
  co_return turn;
}

task<std::vector<result>> run_in(session& open, std::vector<statement> all) {
  const std::size_t count = all.size();
  if (count == 0) co_return std::vector<result>();
  // BEGIN goes with the first statement, and the number of the transaction comes with the first answer after it has one: without round trips
  // of their own.
  const std::size_t leading = open.begin.empty() ? 0 : 1;
  if (leading != 0) all.insert(all.begin(), {std::exchange(open.begin, {})});
  const bool asks = open.number.id.empty() && !open.how.read_only;
  if (asks) all.push_back({ask_number});
  try {
    exchange_wait wait(open.on(), step::batch, std::move(all));
    wait.leading = leading;
    std::vector<result> got = std::move((co_await wait).results);
    got.resize(leading + count + (asks ? 1 : 0));
    if (asks) {
      take_number(open, got.back());
      got.pop_back();
    }
    if (open.on().transaction() != transaction_state::open) {
      open.lost_because = "a statement ended it; leave that to transaction()";
      require_transaction(open);
    }
    if (leading != 0) got.erase(got.begin());
    co_return got;
  } catch (const std::exception& problem) {
    if (open.lost_because.empty()) open.lost_because = problem.what();
    throw;
  }
}

task<> run_other(session& open, exchange_wait& what) {
  try {
    if (!open.begin.empty()) {
      std::vector<statement> first;
      first.push_back({std::exchange(open.begin, {})});
      static_cast<void>(co_await run_batch(open.on(), std::move(first)));
    }
    if (!open.how.read_only && open.number.id.empty()) open.number_may_be_new = true;
    co_await what;
  } catch (const std::exception& problem) {
    if (open.lost_because.empty()) open.lost_because = problem.what();
    throw;
  }
}

task<std::shared_ptr<session>> begin(std::shared_ptr<pool> from, transaction_options how,
                                     std::source_location where) {
  lease taken = co_await from->acquire(where);
  std::string words = begin_words(how);
  words += how.read_only ? " READ ONLY" : " READ WRITE";
  if (how.deferrable) words += " DEFERRABLE";
  from->transaction_opened();
  const auto made = std::make_shared<session>(from, std::move(taken), how);
  made->begin = std::move(words);
  co_return made;
}

task<> end(std::shared_ptr<session> open, bool wanted) {
  // A copy of the connection may still be running a statement.
  const permit turn = co_await open->turn.acquire();
  failure problem;
  if (wanted) {
    try {
      co_await commit(*open);
    } catch (...) {
      problem = current_failure();
    }
  }
  co_await roll_back(*open);
  open->give_back();
  if (problem) problem.rethrow();
}

std::optional<row> at_most_one(rows found, const std::string& database, const std::string& sql) {
  if (found.size() > 1) {
    throw statement_error(
        error_kind::internal, "too_many_rows",
        fmt::format("database {}: {}: expected one row at most, got {}", database, brief(sql), found.size()));
  }
  if (found.empty()) return std::nullopt;
  return std::move(found).take(0);
}

}  // namespace detail

namespace {

task<result> run_single(std::shared_ptr<detail::session> open, std::string sql, parameters bound) {
  const permit turn = co_await detail::take_turn(*open);
  std::vector<statement> all;
  all.push_back({std::move(sql), std::move(bound)});
  std::vector<result> got = co_await detail::run_in(*open, std::move(all));
  co_return std::move(got.front());
}

}  // namespace

task<change> connection::execute_with(std::string sql, parameters bound) const {
  co_return (co_await run_single(session_, std::move(sql), std::move(bound))).changed;
}

task<rows> connection::query_with(std::string sql, parameters bound) const {
  co_return (co_await run_single(session_, std::move(sql), std::move(bound))).rows;
}

task<std::optional<row>> connection::query_one_with(std::string sql, parameters bound) const {
  const auto open = session_;
  rows found = (co_await run_single(open, sql, std::move(bound))).rows;
  co_return detail::at_most_one(std::move(found), open->from->name(), sql);
}

task<std::vector<result>> connection::run(pipeline all) const {
  const auto open = session_;
  const permit turn = co_await detail::take_turn(*open);
  co_return co_await detail::run_in(*open, std::move(all).take());
}

task<> connection::execute_script(std::string sql) const {
  const auto open = session_;
  const permit turn = co_await detail::take_turn(*open);
  std::vector<statement> text;
  text.push_back({std::move(sql)});
  detail::exchange_wait wait(open->on(), detail::step::script, std::move(text));
  co_await detail::run_other(*open, wait);
  if (open->on().transaction() != detail::transaction_state::open) {
    open->lost_because = "a statement ended it; leave that to transaction()";
    throw error(error_kind::unavailable, "transaction_lost",
                fmt::format("database {}: the script ended the transaction; leave that to transaction()",
                            open->from->name()));
  }
}

managed<connection> transaction(database db, transaction_options how, std::source_location where) {
  const auto open = co_await detail::begin(db.pool(), how, where);
  connection usable(open);
  const exit_status ended = co_yield usable;
  co_await detail::end(open, ended.succeeded());
}

namespace {

// Names of savepoints are numbered by depth: the same few statements again and again, which stay prepared.
class nested {
 public:
  explicit nested(detail::session& in) : in_(&in), depth_(++in.savepoints) {}
  nested(const nested&) = delete;
  nested& operator=(const nested&) = delete;
  ~nested() { --in_->savepoints; }
  [[nodiscard]] std::string name() const { return fmt::format("belay_{}", depth_); }

 private:
  detail::session* in_;
  unsigned depth_;
};

}  // namespace

managed<connection> savepoint(connection on) {
  const auto open = on.session();
  const nested here(*open);
  const std::string name = here.name();
  co_await on.execute_with("SAVEPOINT " + name, {});
  const exit_status ended = co_yield on;
  const permit turn = co_await open->turn.acquire();
  if (!open->held || !open->on().usable()) co_return;  // the transaction is over, which it tells itself
  pipeline closing;
  if (!ended.succeeded()) closing.add("ROLLBACK TO " + name);
  closing.add("RELEASE " + name);
  open->lost_because.clear();
  static_cast<void>(co_await detail::run_batch(open->on(), std::move(closing).take()));
}

}  // namespace belay::db::postgres
