// SPDX-License-Identifier: Apache-2.0
#pragma once
// SQL written once for SQLite and PostgreSQL.

#include <string>
#include <string_view>

namespace belay::db::postgres {

/// `?` becomes `$1`, `$2` …, outside of literals, quoted names and comments; `??` becomes one `?` (an operator of jsonb).
///
///     numbered("SELECT * FROM users WHERE email = ? AND name <> '?'")   // … email = $1 AND name <> '?'
///
/// It is not done by itself, because `?` is an operator of PostgreSQL. Errors: `statement_error` (`bad_statement`) for SQL that has `$1` as
/// well, and for a literal or comment without an end.
[[nodiscard]] std::string numbered(std::string_view sql);

}  // namespace belay::db::postgres
