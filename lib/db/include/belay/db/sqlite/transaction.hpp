// SPDX-License-Identifier: Apache-2.0
#pragma once
// All or nothing: commits when the block succeeded, rolls back when it failed or was cancelled.

#include <belay/core/managed.hpp>
#include <belay/db/repeat.hpp>
#include <belay/db/sqlite/connection.hpp>
#include <belay/db/sqlite/database.hpp>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

namespace belay::db::sqlite {

enum class transaction_mode : unsigned char {
  write,  ///< takes the lock for writing at the start, so that it cannot fail for a conflict later
  read,   ///< one unchanging view of the data, on a reading connection; writing fails
  /// On the writing connection, but takes the lock with the first statement that writes. When another process has written since the
  /// first statement that read, that is a `busy_error`: see `repeatable`.
  deferred,
};

/// A transaction around a block: `co_await with(transaction(db), [&](connection& c) -> task<receipt> { ...
/// });`
///
/// Errors:        opening: `busy_error`, `closed_error`. When the commit fails, the transaction is rolled
///                back and the commit's error is the error. When the rollback fails, its error is attached
///                and the connection is replaced.
/// Cancellation:  while it waits or begins: nothing happened. In the block: rolled back, never committed.
///                Commit and rollback are shielded, and a commit under way is not torn: its outcome is
///                known.
[[nodiscard]] managed<connection> transaction(const database& db,
                                              transaction_mode mode = transaction_mode::write,
                                              std::source_location where = std::source_location::current());

/// A part of a transaction that may fail by itself:
///
///     co_await with(transaction(db), [&](connection& c) -> task<> {
///       co_await c.execute("INSERT INTO orders ...");
///       const auto sent = co_await as_outcome(with(savepoint(c, "coupon"), [&](connection& inner) -> task<> { ... }));
///     });
///
/// When the block fails or is cancelled, what was done since its beginning is undone, and the transaction goes on. They may be nested, and
/// end in the opposite order. `name` is for people: it stands in the notes of an error that leaves the block.
///
/// Errors:        opening: those of a statement. At the end: `transaction_lost` when the database itself has rolled the whole transaction
///                back meanwhile; `misuse_error` when it ends before one that was opened in it, and then the whole transaction is rolled back.
/// Cancellation:  a statement that writes and is interrupted undoes the whole transaction: that is SQLite's way. What is cancelled
///                between statements undoes the block only. The end is shielded.
[[nodiscard]] managed<connection> savepoint(connection in, std::string name = {});

/// A transaction whose block may be run more than once: when it fails for a conflict with another process (`is_conflict`), it is rolled
/// back, and after a pause the block is called again.
///
///     const receipt r = co_await repeatable(db, [&](connection& c) -> task<receipt> { ... });
///
/// Result, Errors, Cancellation, Time: as `transaction`, and `repeat_on_conflict`.
/// Lifetime: `block` is kept until the end. What it does besides the database, it does again.
template <class F>
[[nodiscard]] BELAY_CORO_WRAPPER auto repeatable(database db, F block,
                                                 transaction_mode mode = transaction_mode::write,
                                                 repeat_options options = {},
                                                 std::source_location where = std::source_location::current())
    -> std::invoke_result_t<F&, connection&> {
  return db::detail::repeat_transaction(std::move(block), options, where, &transaction, std::move(db), mode,
                                        where);
}

}  // namespace belay::db::sqlite
