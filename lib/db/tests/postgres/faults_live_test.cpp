// SPDX-License-Identifier: Apache-2.0
// The pool on a server that is full, killed, started again, stalled, cut off; and statements that are cancelled under load.

#include "live.hpp"

using namespace postgres_tests;
namespace db_errors = belay::db;

namespace {

// Until the pool works again, for a while.
b::task<> wait_until_it_works(pg::database db) {
  for (;;) {
    const b::outcome<belay::db::rows> how = co_await b::as_outcome(db.query("SELECT 1"));
    if (how.succeeded()) co_return;
    how.failure().observe();
    co_await b::sleep_for(20ms);
  }
}

}  // namespace

TEST_CASE("postgres pool: connections are made as needed, shared in order, and refused with a reason") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(
      server->url(), {.max_connections = 2, .acquire_limit = 200ms}, [](pg::database& db) -> b::task<> {
        CHECK(db.statistics().opened == 1);
        std::vector<int> order;
        co_await b::with_group([&](b::group& g) -> b::task<> {
          for (int i = 0; i < 6; ++i) {
            g.spawn([&db, &order, i]() -> b::task<> {
              co_await db.query("SELECT pg_sleep(0.01)");
              order.push_back(i);
            });
          }
          co_await b::yield();
          co_await b::yield();
          CHECK(db.statistics().in_use == 1);
          CHECK(db.statistics().opening == 1);
          CHECK(db.statistics().waiting == 5);
        });
        CHECK(order.size() == 6);
        CHECK(db.statistics().opened == 2);
        CHECK(db.statistics().idle == 2);
        co_await b::with(pg::transaction(db), [&db](pg::connection&) -> b::task<> {
          co_await b::with(pg::transaction(db), [&db](pg::connection&) -> b::task<> {
            const auto busy = co_await error_of<db_errors::busy_error>(db.query("SELECT 1"));
            CHECK(busy.code() == "no_connection_free");
            CHECK(std::string(busy.what()).find("2 of 2 in use") != std::string::npos);
            CHECK(std::string(busy.what()).find("held longest by the main task for") != std::string::npos);
            CHECK(db.holders().size() == 2);
            CHECK(db.statistics().transactions == 2);
          });
        });
      });
}

TEST_CASE("postgres pool: old connections are replaced, and an idle one that is dead is noticed") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1, .max_lifetime = 50ms},
                [](pg::database& db) -> b::task<> {
                  const std::int64_t first = co_await number(db, "SELECT pg_backend_pid()");
                  co_await b::sleep_for(60ms);
                  CHECK(co_await number(db, "SELECT pg_backend_pid()") != first);
                  CHECK(db.statistics().replaced >= 1);
                });
  with_database(server->url(), {.max_connections = 2, .check_after = 0s}, [](pg::database& db) -> b::task<> {
    const std::int64_t victim = co_await number(db, "SELECT pg_backend_pid()");
    co_await b::with(pg::transaction(db), [&db, victim](pg::connection& c) -> b::task<> {
      const bool is_other = (co_await c.query_one("SELECT pg_backend_pid()"))->get<std::int64_t>(0) != victim;
      const auto by = [&]() -> b::task<> {
        if (is_other) co_await c.query("SELECT pg_terminate_backend($1)", victim);
      };
      co_await by();
      co_await b::sleep_for(50ms);
      CHECK(co_await number(db, "SELECT 7") == 7);
    });
  });
}

TEST_CASE(
    "postgres pool: a server that is killed is an error for who waits; started again, it is used again") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(
      server->url(), {.max_connections = 4, .acquire_limit = 500ms}, [&](pg::database& db) -> b::task<> {
        for (int round = 0; round < 2; ++round) {
          const bool crash = round == 0;
          co_await b::with_group([&](b::group& g) -> b::task<> {
            for (int i = 0; i < 4; ++i) {
              g.spawn([&db]() -> b::task<> {
                const auto lost = co_await error_of<pg::connection_error>(db.query("SELECT pg_sleep(30)"));
                CHECK((lost.code() == "connection_lost" || lost.code() == "server_stops"));
                CHECK(lost.kind() == b::error_kind::unavailable);
              });
            }
            co_await b::sleep_for(150ms);
            if (crash) {
              server->kill();
            } else {
              co_await b::to_thread([&] { server->stop(); });
            }
          });
          const auto began = steady::now();
          const auto away = co_await error_of<pg::connection_error>(db.query("SELECT 1"));
          CHECK(away.code() == "server_away");
          // The reason is the system's, or the server's last words.
          CHECK_MESSAGE(std::string_view(away.what()).find(": ") != std::string_view::npos, away.what());
          CHECK(seconds_since(began) < 3);
          co_await b::to_thread([&] { server->start_again(); });
          co_await wait_until_it_works(db);
        }
      });
}

TEST_CASE("postgres pool: who waits for a connection gets one when the server is there again in time") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.acquire_limit = 20s}, [&](pg::database& db) -> b::task<> {
    co_await db.query("SELECT 1");
    server->kill();
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> { co_await b::to_thread([&] { server->start_again(); }); });
      co_await b::sleep_for(10ms);
      CHECK(co_await number(db, "SELECT 5") == 5);
    });
    CHECK(db.statistics().failures > 0);
  });
}

TEST_CASE("postgres: a server that is stalled: the deadline passes in time, and the connection is replaced") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(
      server->url(), {.max_connections = 2, .acquire_limit = 300ms, .cancel_limit = 200ms},
      [&](pg::database& db) -> b::task<> {
        co_await db.query("SELECT 1");
        server->stall();
        const auto began = steady::now();
        static_cast<void>(co_await error_of<b::timeout_error>(b::with_timeout(100ms, db.query("SELECT 1"))));
        CHECK(seconds_since(began) < 3);
        CHECK(db.statistics().replaced == 1);
        const auto away = co_await error_of<pg::connection_error>(db.query("SELECT 1"));
        CHECK(away.code() == "server_away");
        server->go_on();
        co_await wait_until_it_works(db);
      });
}

TEST_CASE("postgres: cut in the middle of a query or of its answer") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(postgres_server::url_at(proxy.port()), {.max_connections = 2},
                [&](pg::database& db) -> b::task<> {
                  for (const long bytes : {0L, 1L, 100L, 5000L, 60000L}) {
                    co_await wait_until_it_works(db);
                    co_await b::with_group([&](b::group& g) -> b::task<> {
                      g.spawn([&]() -> b::task<> {
                        const auto lost = co_await error_of<pg::connection_error>(
                            db.query("SELECT pg_sleep(0.1), repeat('x', 1000) FROM generate_series(1, 200)"));
                        CHECK(lost.code() == "connection_lost");
                      });
                      co_await b::sleep_for(20ms);
                      if (bytes == 0) {
                        proxy.cut_now();
                      } else {
                        proxy.cut_after_answer_bytes(2000 + bytes);
                      }
                    });
                    proxy.cut_after_answer_bytes(-1);
                  }
                  co_await wait_until_it_works(db);
                });
}

TEST_CASE("postgres: cancelled statements end on the server; the connection is used again [row 286]") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    const std::int64_t process = co_await number(db, "SELECT pg_backend_pid()");
    for (int i = 0; i < 10; ++i) {
      static_cast<void>(
          co_await error_of<b::timeout_error>(b::with_timeout(200ms, db.query("SELECT pg_sleep(30)"))));
      CHECK(co_await number(db, "SELECT pg_backend_pid()") == process);
    }
    CHECK(db.statistics().replaced == 0);
    CHECK(db.statistics().opened == 1);
  });
}

TEST_CASE(
    "postgres: a request to cancel that came too early is repeated until the statement ends [row 286]") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(
      postgres_server::url_at(proxy.port()), {.max_connections = 1}, [&](pg::database& db) -> b::task<> {
        const std::int64_t process = co_await number(db, "SELECT pg_backend_pid()");
        for (const int lost : {1, 3}) {
          proxy.lose_cancels(lost);
          const auto began = steady::now();
          static_cast<void>(
              co_await error_of<b::timeout_error>(b::with_timeout(50ms, db.query("SELECT pg_sleep(30)"))));
          CHECK(seconds_since(began) < 1.5);
          CHECK(co_await number(db, "SELECT pg_backend_pid()") == process);
        }
        // At the moment at which the statement is sent, and soon after it.
        for (int i = 0; i < 40; ++i) {
          const auto limit = std::chrono::microseconds(25 * i);
          static_cast<void>(co_await error_of<b::timeout_error>(
              b::with_timeout(limit, db.query("SELECT pg_sleep(30), $1", i))));
          CHECK(co_await number(db, "SELECT pg_backend_pid()") == process);
        }
        CHECK(db.statistics().replaced == 0);
      });
}

TEST_CASE("postgres: a statement that cannot be cancelled costs the connection, when cancel_limit is over") {
  auto server = postgres_server::start();
  if (!server) return;
  fault_proxy proxy(server->port());
  with_database(postgres_server::url_at(proxy.port()), {.max_connections = 1, .cancel_limit = 300ms},
                [&](pg::database& db) -> b::task<> {
                  const std::int64_t process = co_await number(db, "SELECT pg_backend_pid()");
                  proxy.lose_cancels(1000);
                  const auto began = steady::now();
                  static_cast<void>(co_await error_of<b::timeout_error>(
                      b::with_timeout(50ms, db.query("SELECT pg_sleep(30)"))));
                  CHECK(seconds_since(began) < 2);
                  CHECK(co_await number(db, "SELECT pg_backend_pid()") != process);
                  CHECK(db.statistics().replaced == 1);
                });
}

TEST_CASE(
    "postgres: a finished statement is delivered although the deadline passed; in line, it is not sent") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 1}, [](pg::database& db) -> b::task<> {
    co_await db.execute("CREATE TABLE t (i int)");
    int told = 0;
    for (int i = 0; i < 100; ++i) {
      const auto how = co_await b::as_outcome(b::with_timeout(std::chrono::microseconds(50 + 10 * i),
                                                              db.execute("INSERT INTO t VALUES ($1)", i)));
      if (how.succeeded()) {
        ++told;
      } else {
        how.failure().observe();
      }
    }
    // What was reported as done is there, and nothing else: the others were cancelled before they were done, or never sent.
    CHECK(co_await number(db, "SELECT count(*) FROM t") == told);
    CHECK(told > 0);
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE("postgres: cancellation under load leaves nothing behind") {
  auto server = postgres_server::start();
  if (!server) return;
  with_database(server->url(), {.max_connections = 6}, [](pg::database& db) -> b::task<> {
    co_await db.execute("CREATE TABLE t (i int)");
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 24; ++i) {
        g.spawn([&db, i]() -> b::task<> {
          for (int n = 0; n < 15; ++n) {
            const auto limit = std::chrono::microseconds(200 + (i * 7919 + n * 104729) % 20000);
            const auto how = co_await b::as_outcome(
                b::with_timeout(limit, b::with(pg::transaction(db), [i](pg::connection& c) -> b::task<> {
                                  co_await c.execute("INSERT INTO t VALUES ($1)", i);
                                  co_await c.query("SELECT pg_sleep(0.005)");
                                })));
            if (how.failed()) {
              const b::failure why = how.failure();
              CHECK_MESSAGE(why.find<b::timeout_error>() != nullptr, why.message());
            }
          }
        });
      }
      co_return;
    });
    const pg::pool_statistics after = db.statistics();
    CHECK(after.in_use == 0);
    CHECK(after.idle + after.replaced == after.opened);
    CHECK(after.replaced == 0);
    CHECK(co_await number(db, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0);
    CHECK(co_await number(db, "SELECT 3") == 3);
  });
}

TEST_CASE("postgres pool: closing waits for who has a connection, and refuses the others") {
  auto server = postgres_server::start();
  if (!server) return;
  b::loop loop;
  std::optional<pg::database> kept;
  loop.run([](std::string url, std::optional<pg::database>& out) -> b::task<> {
    co_await b::with(pg::open(std::move(url)), [&out](pg::database& db) -> b::task<> {
      out = db;
      co_await db.query("SELECT 1");
    });
    static_cast<void>(co_await error_of<db_errors::closed_error>(out->query("SELECT 1")));
    CHECK(out->statistics().idle == 0);
  }(server->url(), kept));
}
