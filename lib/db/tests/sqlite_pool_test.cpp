// SPDX-License-Identifier: Apache-2.0
// Sharing connections: order, limits, cancellation in line, closing while in use, money that must not vanish.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <optional>
#include <random>
#include <stop_token>

#include "sqlite_pool.hpp"
#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::connection;
using sqlite::database;
using sqlite::transaction;

TEST_CASE("pool: fifty concurrent transfers, a third of them cancelled, conserve the sum") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db =
        co_await use(sqlite::open(dir.file(), {.busy_timeout = 60s, .durable = sqlite::durability::normal}));
    co_await db.execute(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0)) "
        "STRICT");
    for (int i = 0; i < 10; ++i) co_await db.execute("INSERT INTO accounts VALUES (?, 100)", i);
    int done = 0;
    const auto transfer = [&](int from, int to, int amount) -> task<> {
      co_await with(transaction(db), [&](connection& c) -> task<> {
        const int balance =
            (co_await c.query_one("SELECT balance FROM accounts WHERE id = ?", from))->get<int>(0);
        if (balance < amount) co_return;
        co_await c.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", amount, from);
        co_await yield();
        co_await c.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, to);
      });
      ++done;
    };
    co_await with_group([&](group& g) -> task<> {
      std::mt19937 random(1);  // NOLINT: the same every time
      std::vector<child<void>> doomed;
      for (int i = 0; i < 50; ++i) {
        auto one = g.spawn(transfer, static_cast<int>(random() % 10), static_cast<int>(random() % 10),
                           static_cast<int>(random() % 60));
        if (i % 3 == 0) doomed.push_back(std::move(one));
      }
      for (auto& one : doomed) {
        co_await sleep_for(1ms);
        one.cancel();
        const auto total = co_await db.query_one("SELECT sum(balance) FROM accounts");
        CHECK(total->get<int>(0) == 1000);
      }
    });
    CHECK(done >= 33);
    CHECK((co_await db.query_one("SELECT sum(balance) FROM accounts"))->get<int>(0) == 1000);
    CHECK(db.statistics().in_use == 0);
    CHECK(db.statistics().transactions == 0);
    CHECK(db.statistics().waiting == 0);
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE("pool: those who wait for the writing connection, get it in order") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    std::vector<int> order;
    event go;
    co_await with_group([&](group& g) -> task<> {
      g.spawn([&]() -> task<> {
        co_await with(transaction(db), [&](connection&) -> task<> { co_await go.wait(); });
      });
      while (db.statistics().transactions == 0) co_await sleep_for(1ms);
      for (int i = 0; i < 5; ++i) {
        g.spawn(
            [&](int mine) -> task<> {
              co_await with(transaction(db), [&](connection&) -> task<> {
                order.push_back(mine);
                co_return;
              });
            },
            i);
      }
      while (db.statistics().waiting < 5) co_await sleep_for(1ms);
      CHECK(db.statistics().in_use == 1);
      go.set();
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
  });
}

TEST_CASE("pool: cancelled while waiting for a connection, leaves the line; those behind move up") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    event go;
    bool first = false;
    bool second = false;
    co_await with_group([&](group& g) -> task<> {
      g.spawn([&]() -> task<> {
        co_await with(transaction(db), [&](connection&) -> task<> { co_await go.wait(); });
      });
      while (db.statistics().transactions == 0) co_await sleep_for(1ms);
      const auto take = [&](bool* flag) -> task<> {
        co_await with(transaction(db), [&](connection&) -> task<> {
          *flag = true;
          co_return;
        });
      };
      child<void> leaves = g.spawn(take, &first);
      g.spawn(take, &second);
      while (db.statistics().waiting < 2) co_await sleep_for(1ms);
      leaves.cancel();
      while (db.statistics().waiting > 1) co_await sleep_for(1ms);
      go.set();
    });
    CHECK_FALSE(first);
    CHECK(second);
    CHECK(db.statistics().in_use == 0);
    CHECK(db.statistics().waiting == 0);
  });
}

TEST_CASE("pool: no connection comes free within the limit, is busy and says who has them") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 30ms}));
    co_await with(transaction(db), [&](connection&) -> task<> {
      const auto how = co_await as_outcome(db.execute("CREATE TABLE t (a)"));
      REQUIRE(how.failed());
      const auto* e = how.failure().find<busy_error>();
      REQUIRE(e);
      CHECK(e->code() == "no_connection_free");
      CHECK(e->kind() == error_kind::unavailable);
      CHECK(contains(e->what(), "wait for a connection to write: none came free within 30ms: 1 in use"));
    });
    co_await db.execute("CREATE TABLE t (a)");
  });
}

TEST_CASE("pool: the wait in line and the wait for the lock, share one limit") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 200ms}));
    co_await db.execute("CREATE TABLE t (a)");
    stranger other(dir.file());
    other.run("BEGIN IMMEDIATE");
    const auto begun = std::chrono::steady_clock::now();
    const auto attempt = [&]() -> task<> {
      const auto how = co_await as_outcome(db.execute("INSERT INTO t VALUES (1)"));
      CHECK(how.failure().find<busy_error>() != nullptr);
    };
    co_await with_group([&](group& g) -> task<> {
      for (int i = 0; i < 5; ++i) g.spawn(attempt);
      co_return;
    });
    CHECK(std::chrono::steady_clock::now() - begun < 800ms);  // not five times 200 ms
    other.run("COMMIT");
  });
}

TEST_CASE("pool: readers, read side by side up to their number, also while somebody writes") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.readers = 2}));
    co_await db.execute("CREATE TABLE t (a)");
    event go;
    const auto read = [&]() -> task<> {
      co_await with(transaction(db, sqlite::transaction_mode::read), [&](connection& c) -> task<> {
        (void)co_await c.query("SELECT a FROM t");
        co_await go.wait();
      });
    };
    co_await with_group([&](group& g) -> task<> {
      g.spawn([&]() -> task<> {
        co_await with(transaction(db), [&](connection& c) -> task<> {
          co_await c.execute("INSERT INTO t VALUES (1)");
          co_await go.wait();
        });
      });
      for (int i = 0; i < 3; ++i) g.spawn(read);
      while (db.statistics().transactions < 3) co_await sleep_for(1ms);
      const auto now = db.statistics();
      CHECK(now.in_use == 3);
      CHECK(now.waiting == 1);
      go.set();
    });
    CHECK(db.statistics().idle == 3);
  });
}

TEST_CASE("pool: closed while in use, waits for those who have connections and refuses those who come") {
  const temporary_directory dir;
  run([&]() -> task<> {
    bool committed = false;
    bool refused = false;
    bool told_in_line = false;
    event in_transaction;
    co_await with_group([&](group& g) -> task<> {
      co_await with(sqlite::open(dir.file()), [&](database& db) -> task<> {
        co_await db.execute("CREATE TABLE t (a)");
        g.spawn([&, mine = db]() -> task<> {
          co_await with(transaction(mine), [&](connection& c) -> task<> {
            in_transaction.set();
            co_await sleep_for(30ms);  // closing has begun
            const auto late = co_await as_outcome(mine.query("SELECT 1"));
            refused = late.failure().find<closed_error>() != nullptr;
            co_await c.execute("INSERT INTO t VALUES (1)");
            committed = true;
          });
        });
        co_await in_transaction.wait();
        g.spawn([&, mine = db]() -> task<> {
          const auto how = co_await as_outcome(mine.execute("INSERT INTO t VALUES (2)"));
          told_in_line = how.failure().find<closed_error>() != nullptr;
        });
        while (db.statistics().waiting == 0) co_await sleep_for(1ms);
      });
      CHECK(committed);
    });
    CHECK(refused);
    CHECK(told_in_line);
  });
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM t") == "1");
}

TEST_CASE("pool: a query cancelled in the middle, stops soon and the connection is used again") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.readers = 1}));
    const auto begun = std::chrono::steady_clock::now();
    CHECK_FALSE(co_await move_on_after(20ms, db.query(endless_query)));
    CHECK(std::chrono::steady_clock::now() - begun < 2s);
    CHECK((co_await db.query_one("SELECT 7"))->get<int>(0) == 7);
    CHECK(db.statistics().replaced == 0);
    CHECK(db.statistics().idle == 2);
  });
}

TEST_CASE(
    "pool: closing overruns its limit, the error says so and those who have connections still finish [row "
    "285]") {
  const temporary_directory dir;
  belay::loop loop({.on_lost_failure = {}, .cleanup_limit = 60ms});
  bool committed = false;
  std::optional<database> kept;  // must not keep the file open
  loop.run([&]() -> task<> {
    co_await with_group([&](group& g) -> task<> {
      const auto how = co_await as_outcome(with(sqlite::open(dir.file()), [&](database& db) -> task<> {
        kept = db;
        co_await db.execute("CREATE TABLE t (a)");
        g.spawn([&, mine = db]() -> task<> {
          co_await with(transaction(mine), [&](connection& c) -> task<> {
            co_await sleep_for(150ms);
            co_await c.execute("INSERT INTO t VALUES (1)");
          });
          committed = true;
        });
        while (db.statistics().transactions == 0) co_await sleep_for(1ms);
      }));
      REQUIRE(how.failed());
      CHECK(how.failure().find<timeout_error>() != nullptr);
      CHECK_FALSE(committed);
    });
  }());
  CHECK(committed);
  CHECK(kept->statistics().idle == 0);
  CHECK_FALSE(std::filesystem::exists(dir.file() + "-wal"));
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM t") == "1");
}

TEST_CASE("pool: a write that gives rows, gives all of them and is kept") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    co_await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)");
    const auto ids = co_await with(transaction(db), [&](connection& c) -> task<std::size_t> {
      const rows given = co_await c.query("INSERT INTO t (a) VALUES (?), (?) RETURNING id", 1, "x");
      co_return given.size();
    });
    CHECK(ids == 2);
    CHECK((co_await db.query_one("SELECT count(*) FROM t"))->get<int>(0) == 2);
  });
}

TEST_CASE("cancelled while its statement is still parsed: stopped, not an error") {
  static sqlite3* opened = nullptr;
  const auto remember = reinterpret_cast<void (*)()>(+[](sqlite3* db, const char**, const void*) -> int {
    opened = db;
    return SQLITE_OK;
  });
  REQUIRE(sqlite3_auto_extension(remember) == SQLITE_OK);
  sqlite::detail::handle one(":memory:", sqlite::detail::handle::role::writer, {});
  sqlite3_cancel_auto_extension(remember);
  REQUIRE(opened != nullptr);
  // SQLite asks when it has read the name of the table: the rest is still to come.
  std::stop_source stop;
  const auto cancel = [](void* source, int, const char*, const char*, const char*, const char*) {
    static_cast<std::stop_source*>(source)->request_stop();
    return SQLITE_OK;
  };
  sqlite3_set_authorizer(opened, cancel, &stop);
  const auto make = [&](std::stop_token until) {
    return one.run("CREATE TABLE t (a, b, c)", {}, std::move(until), std::chrono::steady_clock::now() + 1s);
  };
  CHECK_THROWS_AS(make(stop.get_token()), stopped);
  CHECK(stop.stop_requested());
  sqlite3_set_authorizer(opened, nullptr, nullptr);
  CHECK_NOTHROW(make({}));
}

TEST_CASE("close: an interrupt that came too late for its statement, does not disturb the checkpoint") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    co_await db.execute("CREATE TABLE t (a)");
    db.pool()->writing_connection_for_tests().interrupt_for_tests();
  });
  CHECK_FALSE(std::filesystem::exists(dir.file() + "-wal"));
}
