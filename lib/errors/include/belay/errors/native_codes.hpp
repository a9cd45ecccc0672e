// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the numbers of the system and of well-known libraries mean. Numbers and texts only: none of these libraries is linked or
// included; layers that have one turn its error into a number and ask here.

#include <belay/errors/classify.hpp>
#include <string_view>

namespace belay {

/// An `errno` (POSIX.1-2017, Linux). What is not known is internal, `system`.
[[nodiscard]] classification classify_errno(int number);

/// An (extended) result code of SQLite (sqlite.org/rescode.html).
[[nodiscard]] classification classify_sqlite(int code);

/// An SQLSTATE of PostgreSQL, as libpq gives it (PQresultErrorField with PG_DIAG_SQLSTATE), five characters; by its class where the
/// state itself says no more (PostgreSQL documentation, appendix A). An empty one is what libpq gives when the connection is lost.
[[nodiscard]] classification classify_sqlstate(std::string_view state);

/// A CURLcode of libcurl's easy interface (curl.se/libcurl/c/libcurl-errors.html).
[[nodiscard]] classification classify_curl(int code);

}  // namespace belay
