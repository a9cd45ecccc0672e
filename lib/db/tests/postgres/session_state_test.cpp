// SPDX-License-Identifier: Apache-2.0
// What is seen in the text of statements that change their session, and that it does not reach the next one.

#include <doctest/doctest.h>

#include <belay/core/sleep.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"
#include "postgres/session_state.hpp"

using namespace postgres_tests;
using pg::detail::leaving;
using pg::detail::left_by;

TEST_CASE("postgres session: statements that leave nothing") {
  for (const char* sql : {
           "",
           ";",
           "SELECT 1",
           "SELECT temp, \"set\", declare FROM weather WHERE load > $1 AND hold",
           "UPDATE t SET a = 1 WHERE call = $2",
           "INSERT INTO temperatures VALUES ($1) ON CONFLICT DO NOTHING",
           "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
           "COMMIT",
           "SET LOCAL ROLE tenant",
           "set transaction isolation level serializable",
           "SET CONSTRAINTS ALL DEFERRED",
           "SAVEPOINT a; ROLLBACK TO a; RELEASE a",
           "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
           "SELECT set_config('app.tenant', $1, true)",
           "SELECT Set_Config('app.tenant', coalesce($1, (SELECT x FROM y)), is_local => TRUE), 2",
           "SELECT 'SET ROLE a; LISTEN b' -- ; SET ROLE c\n, 1 /* ; DO x /* ; SET a */ ; CALL b */",
           "SELECT E'it\\'s; SET ROLE a', 'it''s; SET ROLE b', $$; SET ROLE c$$, $x$; SET d $$ $x$",
           "CREATE TABLE t (a int)",
           "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT set_config('a', 'b', false) $$",
           "NOTIFY x, 'LISTEN y'",
           "SELECT $1::text || $2",
           "SELECT 'unterminated; SET a = 1",
           "SELECT $tag$ unterminated; SET a = 1",
           "/* unterminated; SET a = 1",
       }) {
    CAPTURE(sql);
    CHECK(left_by(sql) == leaving::nothing);
  }
}

TEST_CASE("postgres session: statements that leave what a reset takes away, and what it does not") {
  for (const char* sql : {
           "SET ROLE admin",
           "  -- become the tenant\n/* now */ SET ROLE tenant",
           "SELECT 1; set search_path = a",
           "SELECT '--'; SET ROLE a",
           "SELECT E'\\\\'; SET ROLE a",
           "SELECT $$ -- $$; SET ROLE a",
           "SELECT $1; SET ROLE a",
           "SET SESSION AUTHORIZATION a",
           "SET TIME ZONE 'Europe/Berlin'",
           "SELECT set_config('app.tenant', $1, false)",
           "SELECT set_config('app.tenant', $1, $2)",
           "SELECT pg_catalog.\"set_config\"('a', 'b', false), true",
           "SELECT set_config('a', set_config('b', 'c', false), true)",
           "SELECT set_config('a', 'b'",
           "LISTEN news",
           "CREATE TEMP TABLE t (a int)",
           "create local temporary table t (a int)",
           "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
           "CREATE TABLE pg_temp.t (a int)",
           "SELECT 1 AS a INTO TEMP t",
           "SELECT pg_advisory_lock(1)",
           "SELECT pg_try_advisory_lock_shared(1)",
           "SELECT setseed(0.5)",
           "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
           "DO $$ BEGIN PERFORM set_config('a', 'b', false); END $$",
           "CALL something()",
       }) {
    CAPTURE(sql);
    CHECK(left_by(sql) == leaving::state);
  }
  for (const char* sql : {"PREPARE a AS SELECT 1", "SET a = 1; LOAD 'auto_explain'", "DISCARD ALL",
                          "DEALLOCATE ALL", "SELECT dblink_connect('a', 'b')"}) {
    CAPTURE(sql);
    CHECK(left_by(sql) == leaving::more);
  }
}

namespace {

template <class F>
void with_pool(fake_server& server, pg::options set, F body) {
  belay::testing::test_loop loop;
  loop.run(b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), set),
                   [&body](pg::database& db) -> b::task<> { co_await body(db); }));
  CHECK(server.open_lines == 0);
}

}  // namespace

TEST_CASE(
    "postgres session: what is left is taken away before the next one has the connection, and only then") {
  fake_server server;
  with_pool(server, {.max_connections = 1}, [&server](pg::database& db) -> b::task<> {
    for (int i = 0; i < 3; ++i) static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(server.resets == 0);
    co_await db.execute("SET ROLE admin");
    CHECK(db.statistics().tending == 1);
    static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(server.resets == 1);
    co_await b::with(pg::transaction(db), [&server](pg::connection& c) -> b::task<> {
      co_await c.execute_script("SELECT 1; SET ROLE admin");
      static_cast<void>(co_await c.query("SELECT 1"));  // here it is still so
      CHECK(server.resets == 1);
    });
    static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(server.resets == 2);
    static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(server.resets == 2);
    CHECK(db.statistics().replaced == 0);
    co_await db.execute("PREPARE mine AS SELECT 1");  // no reset takes that away
    CHECK(db.statistics().replaced == 1);
    CHECK(server.resets == 2);
  });
}

TEST_CASE(
    "postgres session: reset_always resets after each use; a server that does not answer it, is replaced") {
  fake_server server;
  with_pool(server, {.max_connections = 1, .cancel_limit = 1s, .reset_always = true},
            [&server](pg::database& db) -> b::task<> {
              for (int i = 0; i < 3; ++i) static_cast<void>(co_await db.query("SELECT 1"));
              co_await b::sleep_for(10ms);
              CHECK(server.resets == 3);
              static_cast<void>(co_await db.query("SELECT 1"));
              server.silent = true;
              co_await b::sleep_for(10s);
              server.silent = false;
              CHECK(db.statistics().replaced == 1);
              CHECK(server.resets == 3);
            });
}
