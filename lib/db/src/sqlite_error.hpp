// SPDX-License-Identifier: Apache-2.0
#pragma once
// From SQLite's result codes to the errors of this library.

#include <string_view>

struct sqlite3;

namespace belay::db::sqlite::detail {

// Throws the error for `code`. `db` may be null (open failed). `doing` is the statement or the step.
[[noreturn]] void throw_error(sqlite3* db, int code, std::string_view path, std::string_view doing);

}  // namespace belay::db::sqlite::detail
