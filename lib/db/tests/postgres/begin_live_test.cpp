// SPDX-License-Identifier: Apache-2.0
// BEGIN travels with the first statement, whatever that is, on a real server.

#include <belay/db/postgres/copy.hpp>

#include "live.hpp"

using namespace postgres_tests;

namespace {

b::task<> make_table(pg::database db) {
  co_await db.execute("CREATE TABLE t (name text PRIMARY KEY, i int)");
}

b::stream<std::string> two_rows() {
  co_yield std::string("a\t1\n");
  co_yield std::string("b\t2\n");
}

}  // namespace

TEST_CASE("postgres transaction: a first statement that cannot be sent, or fails, ends as it would later") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    co_await make_table(db);
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      // It was never sent: the transaction is as good as before.
      static_cast<void>(co_await error_of<b::error>(
          c.execute("INSERT INTO t VALUES ($1, 1)", std::string("NUL\0in it", 9))));
      co_await c.execute("INSERT INTO t VALUES ($1, 1)", "good");
      static_cast<void>(co_await error_of<b::error>(
          c.execute("INSERT INTO t VALUES ($1, 2)", std::string("NUL\0in it", 9))));
    });
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 1);
    const auto wrong = co_await error_of<belay::db::statement_error>(
        b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> { co_await c.execute("SELEKT"); }));
    CHECK(std::string(wrong.what()).find("SELEKT") != std::string::npos);
    const auto lost =
        co_await error_of<belay::db::error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          static_cast<void>(
              co_await error_of<belay::db::constraint_error>(c.execute("INSERT INTO t VALUES ('good', 1)")));
          static_cast<void>(
              co_await error_of<belay::db::error>(c.execute("INSERT INTO t VALUES ('late', 1)")));
        }));
    CHECK(lost.code() == "transaction_lost");
    CHECK(co_await number(db, "SELECT count(*) FROM t") == 1);
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE("postgres transaction: begun by a script, a COPY, a savepoint or a pipeline, and not by nothing") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 2}, [](pg::database& db) -> b::task<> {
    co_await make_table(db);
    const auto undone = [&db](auto block) -> b::task<> {
      const auto then_fails = [&block](pg::connection& c) -> b::task<> {
        co_await block(c);
        throw b::error(b::error_kind::conflict, "no", "no");
      };
      CHECK((co_await error_of<b::error>(b::with(pg::transaction(db), then_fails))).code() == "no");
      CHECK(co_await number(db, "SELECT count(*) FROM t") == 0);
    };
    co_await undone([](pg::connection& c) -> b::task<> {
      co_await c.execute_script("INSERT INTO t VALUES ('a', 1); INSERT INTO t VALUES ('b', 1)");
    });
    co_await undone([](pg::connection& c) -> b::task<> {
      CHECK(co_await pg::copy_in(c, "COPY t FROM STDIN", two_rows()) == 2);
    });
    co_await undone([](pg::connection& c) -> b::task<> {
      co_await b::with(pg::savepoint(c), [](pg::connection& inside) -> b::task<> {
        co_await inside.execute("INSERT INTO t VALUES ('a', 1)");
      });
    });
    co_await undone([](pg::connection& c) -> b::task<> {
      pg::pipeline all;
      all.add("INSERT INTO t VALUES ('a', 1)");
      all.add("SELECT count(*) FROM t");
      const auto got = co_await c.run(std::move(all));
      CHECK(got.size() == 2);
      CHECK(got[0].changed.rows == 1);
      CHECK(got[1].rows[0].get<int>(0) == 1);
    });
    co_await b::with(pg::transaction(db), [&db](pg::connection&) -> b::task<> {
      CHECK(co_await number(db, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0);
    });
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE(
    "postgres transaction: cancelled at any moment of its first statement, it leaves nothing [row 286]") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    co_await make_table(db);
    int told = 0;
    for (int i = 0; i < 60; ++i) {
      const auto how =
          co_await b::as_outcome(b::with(pg::transaction(db), [i](pg::connection& c) -> b::task<> {
            co_await b::with_timeout(std::chrono::microseconds(20 * i),
                                     c.execute("INSERT INTO t VALUES ($1, 1)", std::to_string(i)));
          }));
      if (how.succeeded()) {
        ++told;
      } else {
        const b::failure why = how.failure();
        CHECK_MESSAGE(why.find<b::timeout_error>() != nullptr, why.message());
      }
    }
    CHECK(co_await number(db, "SELECT count(*) FROM t") == told);
    CHECK(db.statistics().replaced == 0);
  });
}
