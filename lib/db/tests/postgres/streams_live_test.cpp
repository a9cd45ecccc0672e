// SPDX-License-Identifier: Apache-2.0
// COPY, LISTEN and migrations on a real server.

#include "live.hpp"

#include <belay/db/postgres/copy.hpp>
#include <belay/db/postgres/listen.hpp>
#include <belay/db/postgres/migrate.hpp>

using namespace postgres_tests;
namespace db_errors = belay::db;

namespace {

b::stream<std::string> lines(int count, int fail_at = -1) {
  for (int i = 0; i < count; ++i) {
    if (i == fail_at) throw b::error(b::error_kind::data_format, "bad_file", "bad file");
    std::string line = pg::copy_row(belay::db::make_parameters(i, "tab\t line\n back\\slash", nullptr));
    co_yield line;
  }
}
b::task<> make_table(pg::database db) {
  co_await db.execute("CREATE TABLE t (i int, words text, nothing text)");
}

b::task<std::string> next_payload(b::open_stream<pg::notification>& from) {
  const pg::notification* one = co_await from.next();
  co_return one->type == pg::notification_type::gap ? std::string("GAP") : one->channel + ":" + one->payload;
}

}  // namespace

TEST_CASE("postgres copy: in and out, all there, in order") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await make_table(db);
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      CHECK(co_await pg::copy_in(c, "COPY t FROM STDIN", lines(20000)) == 20000);
      CHECK((co_await c.query_one(
                 "SELECT count(*) FROM t WHERE words = E'tab\\t line\\n back\\\\slash' AND nothing IS NULL"))
                ->get<int>(0) == 20000);
      std::string all;
      std::size_t pieces = 0;
      co_await b::for_each(pg::copy_out(c, "COPY (SELECT i FROM t ORDER BY i) TO STDOUT"),
                           [&](std::string& piece) {
                             all += piece;
                             ++pieces;
                           });
      CHECK(all.starts_with("0\n1\n2\n"));
      CHECK(all.ends_with("\n19998\n19999\n"));
      CHECK(pieces > 1);
      CHECK((co_await c.query_one("SELECT 1"))->get<int>(0) == 1);
    });
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 20000);
  });
}

TEST_CASE(
    "postgres copy: what fails, is cancelled or left early keeps nothing, and the connection is used again") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    co_await make_table(db);
    const auto bad =
        co_await error_of<b::error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await pg::copy_in(c, "COPY t FROM STDIN", lines(1000, 500));
        }));
    CHECK(bad.code() == "bad_file");
    static_cast<void>(
        co_await error_of<pg::data_error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await pg::copy_in(c, "COPY t FROM STDIN", []() -> b::stream<std::string> {
            for (int i = 0; i < 100; ++i) co_yield std::string("no number\tx\ty\n");
          }());
        })));
    static_cast<void>(co_await error_of<b::timeout_error>(
        b::with_timeout(100ms, b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
                          co_await pg::copy_in(c, "COPY t FROM STDIN", []() -> b::stream<std::string> {
                            for (;;) {
                              co_await b::sleep_for(1ms);
                              co_yield std::string("1\tx\ty\n");
                            }
                          }());
                        }))));
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 0);
    // Left early, inside of a savepoint: the rest of the transaction goes on.
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      static_cast<void>(
          co_await error_of<b::error>(b::with(pg::savepoint(c), [](pg::connection& s) -> b::task<> {
            co_await b::with(
                pg::copy_out(s, "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"),
                [](b::open_stream<std::string>& all) -> b::task<> {
                  CHECK((co_await all.next())->starts_with("xxx"));
                });
            throw b::error(b::error_kind::conflict, "enough", "enough");
          })));
      CHECK((co_await c.query_one("SELECT 1"))->get<int>(0) == 1);
    });
    static_cast<void>(co_await error_of<b::timeout_error>(b::with_timeout(
        100ms, b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await b::for_each(
              pg::copy_out(c, "COPY (SELECT i FROM generate_series(1, 100000000) i) TO STDOUT"),
              [](std::string&) -> b::task<> { co_await b::sleep_for(1ms); });
        }))));
    static_cast<void>(co_await error_of<db_errors::statement_error>(
        b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await b::for_each(pg::copy_out(c, "COPY nowhere TO STDOUT"), [](std::string&) {});
        })));
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 0);
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE("postgres listen: messages come in order, and a lost connection is a gap") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(postgres_server::url_at(proxy.port()), {}, [&](pg::database& db) -> b::task<> {
    co_await b::with(
        pg::listen(db, {"news", "odd \"name\""}), [&](b::open_stream<pg::notification>& all) -> b::task<> {
          // The first step connects; what was sent before it is not heard.
          co_await b::with_group([&](b::group& g) -> b::task<> {
            b::child<std::string> first = g.spawn(next_payload, std::ref(all));
            while (
                (co_await number(
                    db,
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%odd%' AND state = 'idle'")) ==
                0)
              co_await b::sleep_for(10ms);
            for (int i = 0; i < 3; ++i)
              co_await db.execute("SELECT pg_notify('news', $1)", "n" + std::to_string(i));
            co_await db.execute("SELECT pg_notify($1, 'x')", "odd \"name\"");
            CHECK(co_await first == "news:n0");
          });
          CHECK(co_await next_payload(all) == "news:n1");
          CHECK(co_await next_payload(all) == "news:n2");
          CHECK(co_await next_payload(all) == "odd \"name\":x");
          proxy.cut_now();
          CHECK(co_await next_payload(all) == "GAP");
          for (bool sent = false; !sent;) {
            const auto how = co_await b::as_outcome(db.execute("SELECT pg_notify('news', 'again')"));
            sent = how.succeeded();
            if (!sent) how.failure().observe();
          }
          CHECK(co_await next_payload(all) == "news:again");
          const auto quiet = co_await b::move_on_after(50ms, next_payload(all));
          CHECK(!quiet.has_value());
        });
  });
}

TEST_CASE("postgres migrate: each step once, also when several programs start together") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 8}, [](pg::database& db) -> b::task<> {
    std::vector<pg::migration> steps{
        {1, "accounts", "CREATE TABLE accounts (id bigint); CREATE TABLE log (t text);"},
        {2, "fill", "INSERT INTO log VALUES ('two')"}};
    std::size_t run = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 6; ++i) {
        g.spawn([&db, &steps, &run]() -> b::task<> { run += co_await pg::migrate(db, steps); });
      }
      co_return;
    });
    CHECK(run == 2);
    CHECK(co_await number(db, "SELECT count(*) FROM log") == 1);
    steps.push_back({3, "broken", "INSERT INTO log VALUES ('three'); INSERT INTO nowhere VALUES (1)"});
    b::outcome<std::size_t> broken = co_await b::as_outcome(pg::migrate(db, steps));
    REQUIRE(broken.failed());
    CHECK(broken.failure().find<db_errors::statement_error>() != nullptr);
    REQUIRE(broken.failure().notes().size() == 1);
    CHECK(broken.failure().notes()[0].find("step 3 (broken)") != std::string::npos);
    CHECK(co_await number(db, "SELECT count(*) FROM log") == 1);
    steps.pop_back();
    CHECK(co_await pg::migrate(db, steps) == 0);
    steps[1].sql += " -- changed";
    CHECK((co_await error_of<db_errors::migration_error>(pg::migrate(db, steps))).code() ==
          "altered_migration");
    steps.pop_back();
    CHECK((co_await error_of<db_errors::migration_error>(pg::migrate(db, steps))).code() == "newer_schema");
    CHECK((co_await error_of<db_errors::migration_error>(pg::migrate(db, {{2, "b", ""}, {1, "a", ""}})))
              .code() == "bad_migrations");
  });
}
