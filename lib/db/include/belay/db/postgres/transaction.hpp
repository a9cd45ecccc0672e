// SPDX-License-Identifier: Apache-2.0
#pragma once
// All or nothing: commits when the block succeeded, rolls back when it failed or was cancelled.

#include <belay/core/managed.hpp>
#include <belay/db/postgres/connection.hpp>
#include <belay/db/postgres/database.hpp>
#include <belay/db/repeat.hpp>
#include <source_location>
#include <type_traits>
#include <utility>

namespace belay::db::postgres {

enum class isolation : unsigned char { read_committed, repeatable_read, serializable };

struct transaction_options {
  isolation level = isolation::read_committed;
  bool read_only = false;   ///< writing fails (`storage_error`, code `read_only`)
  bool deferrable = false;  ///< with serializable and read_only: waits until it cannot fail for a conflict
};

/// A transaction around a block: `co_await with(transaction(db), [&](connection& c) -> task<receipt> { ... });`
///
/// It takes a connection, and begins with the first statement: BEGIN is sent along with it, and what the server says against BEGIN is the error
/// of that statement. Without one, nothing is sent at all.
///
/// Errors:        opening: those of `database`. The commit fails: nothing happened, and the commit's error is the error. The connection is
///                lost in the middle of the commit: the server is asked on another connection how it ended (`pg_xact_status`); committed:
///                no error; not: `connection_error` (`connection_lost`, nothing happened); it cannot be found out within
///                `options::commit_limit`, or a failover has put another primary in its place: `commit_unknown_error`. When the cleanup's
///                limit leaves no time to find it out (a copy of the connection was at a statement for long), it is rolled back:
///                `transaction_lost`. A rollback that fails drops the connection, which rolls back too. (A transaction that only notifies
///                counts as one that has written nothing: its message may have been delivered though its COMMIT is told as lost.)
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

/// Runs `block(connection&)` in a transaction, and again, from its beginning, when the server gave it up for another one (`is_conflict`),
/// also when other statements of the block ran beside the one that was told so.
///
///     co_await repeatable(db, [&](connection& c) -> task<receipt> { ... },   // may run several times: keep effects out of it
///                         {.level = isolation::serializable});
///
/// Result, Errors, Cancellation, Time: as `transaction`, and `repeat_on_conflict`. A `commit_unknown_error` is never repeated.
/// Lifetime: `block` is kept until the end. What it does besides the database, it does again.
template <class F>
[[nodiscard]] BELAY_CORO_WRAPPER auto repeatable(database db, F block, transaction_options how = {},
                                                 repeat_options options = {},
                                                 std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, connection&> {
  return db::detail::repeat_transaction(std::move(block), options, where, &transaction, std::move(db), how,
                                        where);
}

}  // namespace belay::db::postgres
