// SPDX-License-Identifier: Apache-2.0
#pragma once
// Much data, in and out, as a stream: COPY.

#include <belay/core/stream.hpp>
#include <belay/core/task.hpp>
#include <belay/db/postgres/connection.hpp>
#include <belay/db/value.hpp>
#include <cstdint>
#include <string>

namespace belay::db::postgres {

/// What `COPY … TO STDOUT` gives, in pieces of whole rows (some 32 KiB each). What is not asked for is not read: the server waits.
///
///     co_await for_each(copy_out(c, "COPY users TO STDOUT (FORMAT csv)"), [&](std::string& rows) { ... });
///
/// Errors:        those of a statement; out of `next`. Holds the connection until it ends: no other statement runs meanwhile.
/// Cancellation:  as a statement. Left early: the server is told to give it up, and the transaction is lost (use a `savepoint`).
[[nodiscard]] stream<std::string> copy_out(connection on, std::string sql);

/// Sends `data` to `COPY … FROM STDIN`, in pieces of any size. No piece is asked for before the one before it was taken by the network.
///
/// Result:        the number of rows.
/// Errors:        those of a statement, after all was sent; those of `data`: then nothing is kept, and the transaction is lost.
/// Cancellation:  nothing is kept.
[[nodiscard]] task<std::int64_t> copy_in(connection on, std::string sql, stream<std::string> data);

/// One row in the text format of COPY, with its end of line. Blobs are for bytea columns. Errors: `data_error` for text with a NUL.
[[nodiscard]] std::string copy_row(const parameters& columns);

}  // namespace belay::db::postgres
