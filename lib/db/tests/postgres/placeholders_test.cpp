// SPDX-License-Identifier: Apache-2.0
// SQL for both databases: which question marks are placeholders.

#include <doctest/doctest.h>

#include <belay/db/error.hpp>
#include <belay/db/postgres/placeholders.hpp>

using belay::db::postgres::numbered;

TEST_CASE("numbered: placeholders are counted") {
  CHECK(numbered("SELECT * FROM users WHERE id = ? AND email=?") ==
        "SELECT * FROM users WHERE id = $1 AND email=$2");
  CHECK(numbered("") == "");
  CHECK(numbered("SELECT 1") == "SELECT 1");
}

TEST_CASE("numbered: text, names and comments stay as they are") {
  CHECK(numbered("SELECT '?', 'it''s ?', ?") == "SELECT '?', 'it''s ?', $1");
  CHECK(numbered(R"(SELECT E'\'?''\'?', ?)") == R"(SELECT E'\'?''\'?', $1)");
  CHECK(numbered(R"(SELECT '\', ?)") == R"(SELECT '\', $1)");
  CHECK(numbered(R"(SELECT "who?" FROM t WHERE a = ?)") == R"(SELECT "who?" FROM t WHERE a = $1)");
  CHECK(numbered("SELECT ? -- why?\n, ?") == "SELECT $1 -- why?\n, $2");
  CHECK(numbered("SELECT ? -- why?") == "SELECT $1 -- why?");
  CHECK(numbered("SELECT /* ? /* ? */ ? */ ?") == "SELECT /* ? /* ? */ ? */ $1");
  CHECK(numbered("SELECT $$ ? $$, $a$ ? $$ $a$, ?") == "SELECT $$ ? $$, $a$ ? $$ $a$, $1");
  CHECK(numbered("SELECT a$b FROM t WHERE c = ?") == "SELECT a$b FROM t WHERE c = $1");
}

TEST_CASE("numbered: the operators with a question mark are written with two") {
  CHECK(numbered("SELECT doc ?? 'key', doc ??| ? FROM t") == "SELECT doc ? 'key', doc ?| $1 FROM t");
}

TEST_CASE("numbered: what cannot be read is refused") {
  CHECK_THROWS_AS(static_cast<void>(numbered("SELECT $1, ?")), belay::db::statement_error);
  CHECK_THROWS_AS(static_cast<void>(numbered("SELECT 'open")), belay::db::statement_error);
  CHECK_THROWS_AS(static_cast<void>(numbered("SELECT \"open")), belay::db::statement_error);
  CHECK_THROWS_AS(static_cast<void>(numbered("SELECT /* /* */")), belay::db::statement_error);
  CHECK_THROWS_AS(static_cast<void>(numbered("SELECT $x$ open")), belay::db::statement_error);
}
