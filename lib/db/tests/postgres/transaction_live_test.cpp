// SPDX-License-Identifier: Apache-2.0
// Transactions, savepoints, conflicts, and commits whose connection is cut, on a real server.

#include "live.hpp"

using namespace postgres_tests;
namespace db_errors = belay::db;

namespace {

// As it stands in a message; not that of READ COMMITTED.
const std::string commit_text("COMMIT\0", 7);

b::task<> make_accounts(pg::database db) {
  co_await db.execute("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)");
  co_await db.execute("INSERT INTO accounts VALUES (1, 100), (2, 100)");
}
b::task<> move_ten(pg::connection& c) {
  co_await c.execute("UPDATE accounts SET balance = balance - $1 WHERE id = $2", 10, 1);
  co_await c.execute("UPDATE accounts SET balance = balance + $1 WHERE id = $2", 10, 2);
}
b::task<std::int64_t> balance(pg::database db, int id) {
  co_return (co_await db.query_one("SELECT balance FROM accounts WHERE id = $1", id))->get<std::int64_t>(0);
}

}  // namespace

TEST_CASE(
    "postgres transaction: commits when the block succeeds, rolls back when it fails or is cancelled [row 286]") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 2}, [](pg::database& db) -> b::task<> {
    co_await make_accounts(db);
    co_await b::with(pg::transaction(db), move_ten);
    CHECK(co_await balance(db, 1) == 90);
    CHECK(co_await balance(db, 2) == 110);
    const auto failed =
        co_await error_of<b::error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await move_ten(c);
          throw b::error(b::error_kind::conflict, "no", "no");
        }));
    CHECK(failed.code() == "no");
    static_cast<void>(co_await error_of<b::timeout_error>(
        b::with_timeout(100ms, b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
                          co_await move_ten(c);
                          co_await c.query("SELECT pg_sleep(30)");
                        }))));
    CHECK(co_await balance(db, 1) == 90);
    CHECK(db.statistics().replaced == 0);
    CHECK(co_await number(db, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0);
  });
}

TEST_CASE("postgres transaction: after a failed statement it is lost, and the commit says so") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await make_accounts(db);
    const auto lost =
        co_await error_of<db_errors::error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          static_cast<void>(co_await error_of<db_errors::constraint_error>(
              c.execute("INSERT INTO accounts VALUES (1, 1)")));
          const auto next = co_await error_of<db_errors::error>(c.query("SELECT 1"));
          CHECK(next.code() == "transaction_lost");
        }));
    CHECK(lost.code() == "transaction_lost");
    CHECK(std::string(lost.what()).find("accounts_pkey") != std::string::npos);
    const auto ended = co_await error_of<db_errors::error>(
        b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> { co_await c.execute("COMMIT"); }));
    CHECK(ended.code() == "transaction_lost");
    std::optional<pg::connection> kept;
    co_await b::with(pg::transaction(db), [&kept](pg::connection& c) -> b::task<> {
      kept = c;
      co_return;
    });
    static_cast<void>(co_await error_of<db_errors::closed_error>(kept->query("SELECT 1")));
    const auto deferred = co_await error_of<db_errors::constraint_error>(
        b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await c.execute(
              "CREATE TABLE later (id bigint REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)");
          co_await c.execute("INSERT INTO later VALUES (77)");
        }));
    CHECK(deferred.type() == db_errors::constraint_type::foreign_key);
  });
}

TEST_CASE("postgres savepoint: what is inside can fail alone") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await make_accounts(db);
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      co_await move_ten(c);
      static_cast<void>(co_await error_of<db_errors::constraint_error>(
          b::with(pg::savepoint(c), [](pg::connection& inside) -> b::task<> {
            co_await inside.execute("UPDATE accounts SET balance = 0");
            co_await inside.execute("INSERT INTO accounts VALUES (1, 1)");
          })));
      static_cast<void>(co_await error_of<b::timeout_error>(
          b::with_timeout(50ms, b::with(pg::savepoint(c), [](pg::connection& inside) -> b::task<> {
                            co_await inside.query("SELECT pg_sleep(30)");
                          }))));
      co_await b::with(pg::savepoint(c), [](pg::connection& inside) -> b::task<> {
        co_await b::with(pg::savepoint(inside),
                         [](pg::connection& deep) -> b::task<> { co_await move_ten(deep); });
      });
      for (int i = 0; i < 20; ++i)
        co_await b::with(pg::savepoint(c), [](pg::connection&) -> b::task<> { co_return; });
      // Two deep at the most: so many statements are prepared, however often.
      const auto prepared = co_await c.query_one(
          "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SAVEPOINT%'");
      CHECK(prepared->get<int>(0) == 2);
    });
    CHECK(co_await balance(db, 1) == 80);
    CHECK(co_await balance(db, 2) == 120);
  });
}

TEST_CASE("postgres transaction: isolation, read only, scripts") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {}, [](pg::database& db) -> b::task<> {
    co_await make_accounts(db);
    const pg::transaction_options exact{
        .level = pg::isolation::serializable, .read_only = true, .deferrable = true};
    const auto denied = co_await error_of<db_errors::storage_error>(
        b::with(pg::transaction(db, exact), [](pg::connection& c) -> b::task<> {
          CHECK((co_await c.query_one("SHOW transaction_isolation"))->get<std::string>(0) == "serializable");
          CHECK((co_await c.query_one("SHOW transaction_deferrable"))->get<std::string>(0) == "on");
          co_await move_ten(c);
        }));
    CHECK(denied.code() == "read_only");
    CHECK(denied.kind() == b::error_kind::denied);
    co_await b::with(pg::transaction(db, {.level = pg::isolation::repeatable_read}),
                     [](pg::connection& c) -> b::task<> {
                       CHECK((co_await c.query_one("SHOW transaction_isolation"))->get<std::string>(0) ==
                             "repeatable read");
                       co_await c.execute_script("CREATE TABLE a (i int); CREATE TABLE b (i int); -- done\n");
                     });
    CHECK(co_await number(db, "SELECT count(*) FROM a") == 0);
    const auto torn =
        co_await error_of<db_errors::error>(b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
          co_await c.execute_script("INSERT INTO a VALUES (1); COMMIT; SELECT 1");
        }));
    CHECK(torn.code() == "transaction_lost");
  });
}

TEST_CASE("postgres repeatable: conflicts are tried again, and nothing is lost") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 8}, [](pg::database& db) -> b::task<> {
    co_await make_accounts(db);
    int runs = 0;
    constexpr int tasks = 8;
    constexpr int each = 5;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < tasks; ++i) {
        g.spawn([&db, &runs]() -> b::task<> {
          for (int n = 0; n < each; ++n) {
            co_await pg::repeatable(db,
                                    [&runs](pg::connection& c) -> b::task<> {
                                      ++runs;
                                      const auto now_is =
                                          co_await c.query_one("SELECT balance FROM accounts WHERE id = 1");
                                      co_await c.execute("UPDATE accounts SET balance = $1 WHERE id = 1",
                                                         now_is->get<std::int64_t>(0) + 1);
                                    },
                                    {.level = pg::isolation::serializable}, {.attempts = 100});
          }
        });
      }
      co_return;
    });
    CHECK(co_await balance(db, 1) == 100 + tasks * each);
    CHECK(runs > tasks * each);  // there were conflicts
    const auto given_up = co_await error_of<pg::serialization_error>(pg::repeatable(
        db,
        [](pg::connection& c) -> b::task<int> {
          co_await c.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$");
          co_return 1;
        },
        {}, {.attempts = 2, .first_pause = 0ms}));
    CHECK(given_up.code() == "deadlock");
  });
}

TEST_CASE("postgres commit: cut before it arrives, it has not happened; cut after it, it has [row 287]") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  // Without a cache: the text of COMMIT is to be seen.
  with_database(postgres_server::url_at(proxy.port()), {.max_connections = 3, .cached_statements = 0},
                [&](pg::database& db) -> b::task<> {
                  co_await make_accounts(db);
                  for (int round = 0; round < 3; ++round) {
                    proxy.cut_on(commit_text, fault_proxy::when::before_it_arrives);
                    const auto lost =
                        co_await error_of<pg::connection_error>(b::with(pg::transaction(db), move_ten));
                    CHECK(lost.code() == "connection_lost");
                    CHECK(std::string(lost.what()).find("was not committed") != std::string::npos);
                    CHECK(co_await balance(db, 1) == 100 - 10 * round);
                    proxy.cut_on(commit_text, fault_proxy::when::after_the_answer);
                    co_await b::with(pg::transaction(db), move_ten);  // it has happened: no error
                    CHECK(co_await balance(db, 1) == 90 - 10 * round);
                  }
                });
}

TEST_CASE("postgres commit: the server is killed in it: it has happened or not, and what was said is true") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(postgres_server::url_at(proxy.port()), {.commit_limit = 9s, .cached_statements = 0},
                [&](pg::database& db) -> b::task<> {
                  co_await make_accounts(db);
                  std::int64_t expected = 100;
                  for (const auto moment :
                       {fault_proxy::when::before_it_arrives, fault_proxy::when::after_the_answer}) {
                    proxy.cut_on(commit_text, moment);
                    const b::outcome<void> how =
                        co_await b::as_outcome([](pg::database on, postgres_server& machine) -> b::task<> {
                          co_await b::with(pg::transaction(on), [&machine](pg::connection& c) -> b::task<> {
                            co_await move_ten(c);
                            // While the commit is asked about, the server comes back from a crash.
                            machine.kill();
                            co_return;
                          });
                        }(db, *server));
                    CHECK(how.failed());
                    how.failure().observe();
                    server->start_again();
                    CHECK(co_await balance(db, 1) == expected);
                  }
                  proxy.cut_on(commit_text, fault_proxy::when::after_the_answer);
                  std::thread crash([&] {
                    std::this_thread::sleep_for(50ms);
                    server->kill();
                    server->start_again();
                  });
                  const b::outcome<void> how = co_await b::as_outcome(b::with(pg::transaction(db), move_ten));
                  crash.join();
                  if (how.failed()) how.failure().observe();
                  CHECK(co_await balance(db, 1) == (how.succeeded() ? expected - 10 : expected));
                });
}

TEST_CASE("postgres commit: that it cannot be found out is an error of its own") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(postgres_server::url_at(proxy.port()), {.cancel_limit = 100ms, .commit_limit = 1s},
                [&](pg::database& db) -> b::task<> {
                  co_await make_accounts(db);
                  std::string id;
                  const auto began = steady::now();
                  const auto unknown = co_await error_of<pg::commit_unknown_error>(
                      b::with(pg::transaction(db), [&](pg::connection& c) -> b::task<> {
                        co_await move_ten(c);
                        id = (co_await c.query_one("SELECT pg_current_xact_id()::text"))->get<std::string>(0);
                        proxy.black_hole(true);
                      }));
                  CHECK(seconds_since(began) < 5);
                  CHECK(unknown.code() == "commit_unknown");
                  CHECK(unknown.transaction() == id);
                  proxy.black_hole(false);
                  proxy.cut_now();
                  CHECK(co_await balance(db, 1) == 100);
                });
}
