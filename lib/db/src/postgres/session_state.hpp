// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a statement leaves in its session beyond its transaction, and the words that take it away.

#include <string_view>

namespace belay::db::postgres::detail {

enum class leaving : unsigned char {
  nothing,
  state,  // `reset_words` take it away
  more,   // they do not: SQL's own PREPARE, loaded libraries, connections of dblink
};

// Read in the text, without literals and comments: SET and set_config (but for local ones), LISTEN, temporary tables, session-level advisory
// locks, cursors WITH HOLD, and whatever DO and CALL may do. What other functions do inside is not seen.
[[nodiscard]] leaving left_by(std::string_view sql) noexcept;

// As DISCARD ALL, but for the prepared statements, which are the driver's; in one transaction.
inline constexpr const char* reset_words =
    "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; "
    "SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

}  // namespace belay::db::postgres::detail
