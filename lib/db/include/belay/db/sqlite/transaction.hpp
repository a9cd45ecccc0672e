// SPDX-License-Identifier: Apache-2.0
#pragma once
// All or nothing: commits when the block succeeded, rolls back when it failed or was cancelled.

#include <belay/core/managed.hpp>
#include <belay/db/sqlite/connection.hpp>
#include <belay/db/sqlite/database.hpp>

namespace belay::db::sqlite {

enum class transaction_mode : unsigned char {
  write,  ///< takes the lock for writing at the start, so that it cannot fail for a conflict later
  read,   ///< one unchanging view of the data, on a reading connection; writing fails
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
                                              transaction_mode mode = transaction_mode::write);

}  // namespace belay::db::sqlite
