// SPDX-License-Identifier: Apache-2.0
// Values, rows, errors, prepared statements and pipelines on a real server.

#include "live.hpp"

#include <belay/db/postgres/placeholders.hpp>

#include <limits>

using namespace postgres_tests;
namespace db_errors = belay::db;

TEST_CASE("postgres: values go in and come out as they are") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    const auto one = co_await db.query_one(
        "SELECT $1::bigint AS large, $2::smallint AS small, $3::float8 AS real, $4::text AS words, $5::bytea AS raw, "
        "$6::boolean AS yes, $7::text AS nothing, $8::numeric AS exact, $9::timestamptz AS moment, 7::oid AS o",
        std::numeric_limits<std::int64_t>::min(), 7, 0.1, "gr\xC3\xBC\xC3\x9F dich; ' \" \\ $1",
        belay::db::blob{std::byte{0}, std::byte{255}, std::byte{39}}, true, nullptr,
        "123456789012345678901234.50", "2026-11-21T21:15:00.5+01:00");
    CHECK(one->get<std::int64_t>("large") == std::numeric_limits<std::int64_t>::min());
    CHECK(one->get<int>("small") == 7);
    CHECK(one->get<double>("real") == 0.1);
    CHECK(one->get<std::string>("words") == "gr\xC3\xBC\xC3\x9F dich; ' \" \\ $1");
    CHECK(one->get<belay::db::blob>("raw") == belay::db::blob{std::byte{0}, std::byte{255}, std::byte{39}});
    CHECK(one->get<bool>("yes"));
    CHECK(one->get<std::optional<std::string>>("nothing") == std::nullopt);
    CHECK(one->get<std::string>("exact") == "123456789012345678901234.50");
    CHECK(one->get<std::string>("moment") == "2026-11-21T20:15:00.5Z");
    CHECK(one->get<int>("o") == 7);

    const auto edge = co_await db.query_one(
        "SELECT $1::float8 AS inf, $2::float8 AS nan, ''::bytea AS empty, $3::bytea AS sent_empty, "
        "'infinity'::timestamptz AS never, '2026-01-02 03:04:05'::timestamp AS local, '2026-01-02'::date AS day, "
        "ARRAY[1,2] AS list, '{\"a\": 1}'::jsonb AS doc",
        std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), belay::db::blob{});
    CHECK(edge->get<double>("inf") == std::numeric_limits<double>::infinity());
    CHECK(edge->get<double>("nan") != edge->get<double>("nan"));
    CHECK(edge->get<belay::db::blob>("empty").empty());
    CHECK(edge->get<belay::db::blob>("sent_empty").empty());
    CHECK(edge->get<std::string>("never") == "infinity");
    CHECK(edge->get<std::string>("local") == "2026-01-02T03:04:05");
    CHECK(edge->get<std::string>("day") == "2026-01-02");
    CHECK(edge->get<std::string>("list") == "{1,2}");
    CHECK(edge->get<std::string>("doc") == "{\"a\": 1}");
  });
}

TEST_CASE("postgres: statements say what they changed, queries give rows") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await db.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text)");
    CHECK((co_await db.execute("INSERT INTO t VALUES ($1, $2), ($3, $4)", 1, "a", 2, "b")).rows == 2);
    CHECK((co_await db.execute("UPDATE t SET name = 'c' WHERE id = $1", 2)).rows == 1);
    CHECK((co_await db.execute("SELECT * FROM t")).rows == 0);
    const belay::db::rows all = co_await db.query("SELECT id, name FROM t ORDER BY id");
    CHECK(all.to_tuples<std::int64_t, std::string>() ==
          std::vector<std::tuple<std::int64_t, std::string>>{{1, "a"}, {2, "c"}});
    const belay::db::rows none = co_await db.query("SELECT id, name FROM t WHERE id = $1", 9);
    CHECK(none.empty());
    CHECK(none.columns() == belay::db::column_names{"id", "name"});
    CHECK(!(co_await db.query_one("SELECT 1 WHERE false")).has_value());
    const auto many = co_await error_of<db_errors::statement_error>(db.query_one("SELECT id FROM t"));
    CHECK(many.code() == "too_many_rows");
    CHECK((co_await db.query_one(pg::numbered("SELECT name FROM t WHERE id = ? AND name = ?"), 1, "a"))
              .has_value());
  });
}

TEST_CASE("postgres: errors are of their type, name the rule, and do not show parameters") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await db.run([] {
      pg::pipeline all;
      all.add(
          "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, age int CHECK (age >= 0))");
      all.add("CREATE TABLE posts (user_id bigint REFERENCES users)");
      all.add("INSERT INTO users VALUES (1, 'secret@example.com', 3)");
      return all;
    }());
    using db_errors::constraint_type;
    const auto unique = co_await error_of<db_errors::constraint_error>(
        db.execute("INSERT INTO users VALUES ($1, $2)", 2, "secret@example.com"));
    CHECK(unique.type() == constraint_type::unique);
    CHECK(unique.kind() == b::error_kind::conflict);
    CHECK(unique.constraint() == "users_email_key");
    CHECK(unique.names("users.email"));
    CHECK(pg::sqlstate(unique) == "23505");
    CHECK(std::string(unique.what()).find("secret") == std::string::npos);
    CHECK(std::string(unique.what()).find("INSERT INTO users") != std::string::npos);
    const auto foreign =
        co_await error_of<db_errors::constraint_error>(db.execute("INSERT INTO posts VALUES (99)"));
    CHECK(foreign.type() == constraint_type::foreign_key);
    CHECK(foreign.names("posts.user_id"));
    const auto missing = co_await error_of<db_errors::constraint_error>(
        db.execute("INSERT INTO users VALUES (3, $1)", nullptr));
    CHECK(missing.type() == constraint_type::not_null);
    CHECK(missing.names("users.email"));
    const auto check = co_await error_of<db_errors::constraint_error>(
        db.execute("INSERT INTO users VALUES (3, 'x', $1)", -1));
    CHECK(check.type() == constraint_type::check);
    CHECK(check.constraint() == "users_age_check");
    const auto syntax = co_await error_of<db_errors::statement_error>(db.execute("SELEC 1"));
    CHECK(syntax.code() == "bad_statement");
    const auto several = co_await error_of<db_errors::statement_error>(db.execute("SELECT 1; SELECT 2"));
    CHECK(several.code() == "bad_statement");
    static_cast<void>(co_await error_of<db_errors::statement_error>(db.execute("SELECT $1::int")));
    const auto bad = co_await error_of<pg::data_error>(db.execute("SELECT $1::int", "secret"));
    CHECK(bad.kind() == b::error_kind::invalid);
    CHECK(std::string(bad.what()).find("secret") == std::string::npos);
    const auto nul = co_await error_of<pg::data_error>(db.execute("SELECT $1", std::string("se\0cret", 7)));
    CHECK(std::string(nul.what()).find("NUL") != std::string::npos);
    static_cast<void>(co_await error_of<pg::data_error>(db.execute("SELECT 1/0")));
    const auto begun = co_await error_of<b::misuse_error>(db.execute("BEGIN"));
    CHECK(std::string(begun.what()).find("use transaction()") != std::string::npos);
    const auto copy = co_await error_of<db_errors::statement_error>(db.execute("COPY users TO STDOUT"));
    CHECK(std::string(copy.what()).find("copy_out") != std::string::npos);
    CHECK(co_await number(db, "SELECT count(*) FROM users") == 1);
  });
}

TEST_CASE("postgres: a pipeline is all or nothing, and tells of the statement that failed") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await db.execute("CREATE TABLE t (id bigint PRIMARY KEY)");
    pg::pipeline good;
    good.add("INSERT INTO t VALUES ($1)", 1);
    good.add("INSERT INTO t VALUES ($1)", 2);
    good.add("SELECT count(*) AS n FROM t");
    const std::vector<pg::result> got = co_await db.run(std::move(good));
    REQUIRE(got.size() == 3);
    CHECK(got[0].changed.rows == 1);
    CHECK(got[2].rows[0].get<int>("n") == 2);
    pg::pipeline bad;
    bad.add("INSERT INTO t VALUES ($1)", 3);
    bad.add("INSERT INTO t VALUES ($1)", 1);
    bad.add("INSERT INTO t VALUES ($1)", 4);
    static_cast<void>(co_await error_of<db_errors::constraint_error>(db.run(std::move(bad))));
    pg::pipeline unsendable;
    unsendable.add("INSERT INTO t VALUES ($1)", 5);
    unsendable.add("SELECT $1", std::string("\0", 1));
    static_cast<void>(co_await error_of<pg::data_error>(db.run(std::move(unsendable))));
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 2);
    CHECK((co_await db.run({})).empty());
  });
}

TEST_CASE("postgres: prepared statements are kept, forgotten, and made anew when the table changes") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(
      server->url(), {.max_connections = 1, .cached_statements = 3}, [](pg::database& db) -> b::task<> {
        for (int round = 0; round < 3; ++round) {
          for (int i = 0; i < 6; ++i) {
            CHECK(co_await number(db, "SELECT " + std::to_string(i)) == i);
          }
        }
        CHECK(co_await number(db, "SELECT count(*) FROM pg_prepared_statements") <= 3);
        co_await db.execute("CREATE TABLE t (a int)");
        co_await db.execute("INSERT INTO t VALUES (1)");
        CHECK((co_await db.query("SELECT * FROM t")).columns().size() == 1);
        co_await db.execute("ALTER TABLE t ADD COLUMN b int");
        CHECK((co_await db.query("SELECT * FROM t")).columns().size() == 2);
        co_await db.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$");
        CHECK((co_await db.query("SELECT * FROM t")).columns().size() == 2);
        // A statement that cannot be prepared is not remembered as prepared.
        static_cast<void>(co_await error_of<db_errors::statement_error>(db.execute("SELECT * FROM later")));
        co_await db.execute("CREATE TABLE later (a int)");
        CHECK((co_await db.query("SELECT * FROM later")).empty());
        CHECK(db.statistics().opened == 1);
      });
}

TEST_CASE("postgres: passwords let us in, and are shown nowhere") {
  auto server = postgres_server::start();
  if (!server) return;
  const std::string at = "@127.0.0.1:" + std::to_string(server->port()) + "/postgres?sslmode=disable";
  with_database(server->url(), {}, [&](pg::database& db) -> b::task<> {
    co_await db.execute("CREATE USER with_password PASSWORD 'open sesame'");
    co_return;
  });
  with_database("postgresql://with_password:open%20sesame" + at, {}, [&](pg::database& db) -> b::task<> {
    CHECK(db.name() ==
          "postgresql://with_password@127.0.0.1:" + std::to_string(server->port()) + "/postgres");
    CHECK(co_await number(db, "SELECT 1") == 1);
    // Statements can be cancelled on such a connection, too.
    const auto began = steady::now();
    static_cast<void>(
        co_await error_of<b::timeout_error>(b::with_timeout(100ms, db.execute("SELECT pg_sleep(30)"))));
    CHECK(seconds_since(began) < 5);
    CHECK(db.statistics().replaced == 0);
  });
  b::loop loop;
  const auto refused = loop.run(
      error_of<pg::connection_error>(b::with(pg::open("postgresql://with_password:wrong-secret" + at),
                                             [](pg::database&) -> b::task<> { co_return; })));
  CHECK(refused.code() == "login_refused");
  CHECK(refused.kind() == b::error_kind::unauthenticated);
  CHECK(std::string(refused.what()).find("secret") == std::string::npos);
  const auto bad_url = loop.run(error_of<belay::db::error>([]() -> b::task<> {
    co_await b::with(pg::open("postgresql://u:%zzsecret@h/x"), [](pg::database&) -> b::task<> { co_return; });
  }()));
  CHECK(bad_url.code() == "bad_database_url");
  CHECK(std::string(bad_url.what()).find("zzsecret") == std::string::npos);
  const auto nowhere = loop.run(error_of<pg::connection_error>(b::with(
      pg::open("postgresql://postgres@localhost:" + std::to_string(server->port()) + "/none?sslmode=disable"),
      [](pg::database&) -> b::task<> { co_return; })));
  CHECK(nowhere.code() == "no_such_database");
}

TEST_CASE("postgres: notices come to the hook; what it throws does not hurt") {
  auto server = postgres_server::start();
  if (!server) return;
  std::vector<std::string> heard;
  with_database(
      server->url(), {.on_notice = [&heard](std::string_view text) { heard.emplace_back(text); }},
      [](pg::database& db) -> b::task<> { co_await db.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$"); });
  CHECK(heard == std::vector<std::string>{"NOTICE: hello"});
}
