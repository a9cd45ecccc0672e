// SPDX-License-Identifier: Apache-2.0
#pragma once
// All or nothing: commits when the block succeeded, rolls back when it failed or was cancelled.

#include <belay/core/managed.hpp>
#include <belay/db/postgres/connection.hpp>
#include <belay/db/postgres/database.hpp>
#include <belay/resilience/retry.hpp>
#include <source_location>

namespace belay::db::postgres {

enum class isolation : unsigned char { read_committed, repeatable_read, serializable };

struct transaction_options {
  isolation level = isolation::read_committed;
  bool read_only = false;   ///< writing fails (`storage_error`, code `read_only`)
  bool deferrable = false;  ///< with serializable and read_only: waits until it cannot fail for a conflict
};

/// A transaction around a block: `co_await with(transaction(db), [&](connection& c) -> task<receipt> { ... });`
///
/// Errors:        opening: those of `database`. The commit fails: nothing happened, and the commit's error is the error. The connection is
///                lost in the middle of the commit: the server is asked on another connection how it ended (`pg_xact_status`); committed:
///                no error; not: `connection_error` (`connection_lost`, nothing happened); it cannot be found out within
///                `options::commit_limit`: `commit_unknown_error`. A rollback that fails drops the connection, which rolls back too.
/// Cancellation:  while it waits or begins: nothing happened. In the block: rolled back, never committed. Commit and rollback are shielded,
///                and a commit under way is not torn: its outcome is known.
/// See:           docs/decisions/0054-outcome-of-an-interrupted-commit.md
[[nodiscard]] managed<connection> transaction(database db, transaction_options how = {},
                                              std::source_location where = std::source_location::current());

/// A part of a transaction that can fail alone: rolled back to its beginning when the block failed or was cancelled; the transaction goes on.
///
/// Errors:        opening: those of a statement. Closing fails: the connection is lost, and with it the transaction.
/// Cancellation:  as `transaction`. Lifetime: within the transaction of `on`.
[[nodiscard]] managed<connection> savepoint(connection on);

struct repeat_options {
  transaction_options transaction = {};
  unsigned max_attempts = 5;  ///< in all; at least 1
  backoff delay = backoff::exponential(std::chrono::milliseconds(5), std::chrono::milliseconds(500));
};

/// Whether the whole transaction may be run again: a serialization failure or a deadlock, here or among what is attached.
[[nodiscard]] error_filter conflicts();

/// Runs `block(connection&)` in a transaction, and again, from its beginning, when the server gave it up for another one.
///
///     co_await repeatable(db, {.transaction = {.level = isolation::serializable}},
///                         [&](connection& c) -> task<receipt> { ... });   // may run several times: keep effects out of it
///
/// Result, Cancellation: as `transaction`. Errors: as `retry`: the last one bare, those before it attached.
template <class F>
[[nodiscard]] auto repeatable(database db, repeat_options how, F block)
    -> std::invoke_result_t<F&, connection&> {
  const retry again(retry_options{.max_attempts = how.max_attempts,
                                  .delay = how.delay,
                                  .on = conflicts(),
                                  .name = "repeatable transaction"});
  using result = typename std::invoke_result_t<F&, connection&>::value_type;
  co_return co_await again([&db, &how, &block]() -> task<result> {
    co_return co_await with(transaction(db, how.transaction),
                            [&block](connection& c) -> task<result> { co_return co_await block(c); });
  });
}

}  // namespace belay::db::postgres
