// SPDX-License-Identifier: Apache-2.0
// What one task leaves in a session of PostgreSQL does not reach the next one.

#include "live.hpp"

using namespace postgres_tests;

namespace {

b::task<std::string> text(pg::database db, std::string sql) {
  co_return (co_await db.query_one(sql))->get<std::string>(0);
}

b::task<> prepare_schema(pg::database db) {
  co_await db.execute("CREATE ROLE tenant");
  co_await db.execute(
      "CREATE FUNCTION become(who text) RETURNS text LANGUAGE sql AS "
      "$$ SELECT set_config('app.tenant', who, false) $$");
}

}  // namespace

TEST_CASE("postgres session: settings, roles, locks, temporary tables and cursors go with who made them") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    co_await prepare_schema(db);
    const std::int64_t process = co_await number(db, "SELECT pg_backend_pid()");
    const std::string user = co_await text(db, "SELECT current_user::text");
    const std::string zone = co_await text(db, "SHOW TimeZone");
    co_await db.execute("SET ROLE tenant");
    CHECK(co_await text(db, "SELECT current_user::text") == user);
    co_await db.execute("SET SESSION AUTHORIZATION tenant");
    CHECK(co_await text(db, "SELECT session_user::text") == user);
    co_await db.execute("SET TIME ZONE 'Asia/Tokyo'");
    CHECK(co_await text(db, "SHOW TimeZone") == zone);
    static_cast<void>(co_await db.query("SELECT set_config('app.tenant', 'a', false)"));
    CHECK(co_await text(db, "SELECT coalesce(current_setting('app.tenant', true), '')") == "");
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      co_await c.execute("SET search_path = pg_catalog");
      co_await c.execute("CREATE TEMP TABLE mine (a int)");
      co_await c.execute("LISTEN news");
      static_cast<void>(co_await c.query("SELECT pg_advisory_lock(7)"));
      co_await c.execute_script("DECLARE held CURSOR WITH HOLD FOR SELECT 1");
      CHECK((co_await c.query_one("SELECT current_setting('search_path')"))->get<std::string>(0) ==
            "pg_catalog");
    });
    CHECK(co_await text(db, "SHOW search_path") != "pg_catalog");
    CHECK(co_await number(db, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0);
    CHECK(co_await number(db, "SELECT count(*) FROM pg_listening_channels()") == 0);
    CHECK(co_await number(db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0);
    CHECK(co_await number(db, "SELECT count(*) FROM pg_cursors WHERE name = 'held'") == 0);
    // Local ones are the transaction's, which needs no help.
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      static_cast<void>(co_await c.query("SELECT set_config('app.tenant', $1, true)", "b"));
      co_await c.execute("SET LOCAL ROLE tenant");
    });
    CHECK(co_await text(db, "SELECT coalesce(current_setting('app.tenant', true), '') || current_user") ==
          user);
    // All that on one connection, with its prepared statements.
    CHECK(co_await number(db, "SELECT pg_backend_pid()") == process);
    CHECK(co_await number(
              db, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%pg_backend_pid%'") >=
          1);
    CHECK(db.statistics().replaced == 0);
    co_await db.execute("PREPARE mine AS SELECT 1");
    CHECK(co_await number(db, "SELECT pg_backend_pid()") != process);
    CHECK(db.statistics().replaced == 1);
  });
}

TEST_CASE("postgres session: what a function does inside is taken away with reset_always") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(
      server->url(), {.max_connections = 1, .reset_always = true}, [](pg::database& db) -> b::task<> {
        co_await prepare_schema(db);
        for (int i = 0; i < 3; ++i) {
          static_cast<void>(co_await db.query("SELECT become('a')"));
          CHECK(co_await text(db, "SELECT coalesce(current_setting('app.tenant', true), '')") == "");
        }
        CHECK(db.statistics().replaced == 0);
        CHECK(db.statistics().opened == 1);
      });
}
