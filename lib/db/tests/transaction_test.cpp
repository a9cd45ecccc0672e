// SPDX-License-Identifier: Apache-2.0
// Transactions: commit, rollback and cancellation, and what is left when each of them fails.

#include <belay/core/all.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include "session.hpp"
#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::connection;
using sqlite::database;
using sqlite::transaction;

namespace {

// Runs `body(database&)` on a file with the table t(v); afterwards nothing may be in use.
template <class F>
void with_table(F body, sqlite::options settings = {}) {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), settings));
    co_await db.execute("CREATE TABLE t (v INTEGER UNIQUE)");
    co_await body(db);
    CHECK(db.statistics().in_use == 0);
    CHECK(db.statistics().waiting == 0);
    CHECK(db.statistics().transactions == 0);
  });
}

task<int> count(database& db) { co_return (co_await db.query_one("SELECT count(*) FROM t"))->get<int>(0); }

// Reaches through to the connection, to cause what cannot be caused from outside.
sqlite::detail::handle& writing_connection(const database& db) {
  return db.pool()->writing_connection_for_tests();
}

}  // namespace

TEST_CASE("transaction: the block succeeds, its changes are there and its value is given") {
  with_table([](database& db) -> task<> {
    const int answer = co_await with(transaction(db), [&](connection& c) -> task<int> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      co_await c.execute("INSERT INTO t VALUES (2)");
      CHECK(db.statistics().transactions == 1);
      CHECK(db.statistics().in_use == 1);
      CHECK(co_await count(db) == 0);  // other connections see nothing yet
      co_return 42;
    });
    CHECK(answer == 42);
    CHECK(co_await count(db) == 2);
  });
}

TEST_CASE("transaction: the block fails, nothing is there and the error is the block's own [row 286]") {
  with_table([](database& db) -> task<> {
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      throw std::runtime_error("mine");
    }));
    REQUIRE(how.failed());
    CHECK(how.failure().message() == "mine");
    CHECK(how.failure().attached().empty());
    CHECK(co_await count(db) == 0);
  });
}

TEST_CASE("transaction: the block is cancelled, it is rolled back and never committed [row 286]") {
  with_table([](database& db) -> task<> {
    const auto late = co_await move_on_after(20ms, with(transaction(db), [&](connection& c) -> task<> {
                                               co_await c.execute("INSERT INTO t VALUES (1)");
                                               co_await sleep_for(10s);
                                             }));
    CHECK_FALSE(late);
    CHECK(co_await count(db) == 0);
    CHECK(db.statistics().replaced == 0);
  });
}

TEST_CASE("transaction: a statement fails and is handled, the rest is committed") {
  with_table([](database& db) -> task<> {
    co_await with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      const auto again = co_await as_outcome(c.execute("INSERT INTO t VALUES (1)"));
      CHECK(again.failure().find<constraint_error>() != nullptr);
      co_await c.execute("INSERT INTO t VALUES (2)");
    });
    CHECK(co_await count(db) == 2);
  });
}

TEST_CASE("transaction: the commit fails, it is rolled back and the commit's error is the error [row 286]") {
  with_table([](database& db) -> task<> {
    co_await db.execute("CREATE TABLE c (p REFERENCES t (v) DEFERRABLE INITIALLY DEFERRED)");
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      co_await c.execute("INSERT INTO c VALUES (99)");
    }));
    REQUIRE(how.failed());
    const auto* e = how.failure().find<constraint_error>();
    REQUIRE(e);
    CHECK(e->type() == constraint_type::foreign_key);
    CHECK(contains(e->what(), "COMMIT"));
    CHECK(how.failure().attached().empty());
    CHECK(co_await count(db) == 0);
    CHECK(db.statistics().replaced == 0);
    co_await db.execute("INSERT INTO t VALUES (7)");  // the connection is clean
  });
}

TEST_CASE(
    "transaction: block and rollback fail, the rollback's error is attached and the connection is replaced "
    "[row 286]") {
  with_table([](database& db) -> task<> {
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      writing_connection(db).deny_rollback(true);
      throw std::runtime_error("mine");
    }));
    REQUIRE(how.failed());
    CHECK(how.failure().message() == "mine");
    REQUIRE(how.failure().attached().size() == 1);
    CHECK(contains(how.failure().attached()[0].message(), "ROLLBACK"));
    CHECK(db.statistics().replaced == 1);
    CHECK(co_await count(db) == 0);
    co_await db.execute("INSERT INTO t VALUES (2)");
    CHECK(co_await count(db) == 1);
  });
}

TEST_CASE(
    "transaction: commit and rollback fail, the commit's error is the error, the rollback's is attached [row "
    "286]") {
  with_table([](database& db) -> task<> {
    co_await db.execute("CREATE TABLE c (p REFERENCES t (v) DEFERRABLE INITIALLY DEFERRED)");
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO c VALUES (99)");
      writing_connection(db).deny_rollback(true);
    }));
    REQUIRE(how.failed());
    CHECK(contains(how.failure().message(), "FOREIGN KEY"));
    REQUIRE(how.failure().attached().size() == 1);
    CHECK(contains(how.failure().attached()[0].message(), "ROLLBACK"));
    CHECK(db.statistics().replaced == 1);
    CHECK((co_await db.query_one("SELECT count(*) FROM c"))->get<int>(0) == 0);
    co_await db.execute("INSERT INTO t VALUES (2)");
  });
}

TEST_CASE("transaction: the block is cancelled and the rollback fails, the rollback's error comes out") {
  with_table([](database& db) -> task<> {
    const auto how =
        co_await as_outcome(move_on_after(10ms, with(transaction(db), [&](connection& c) -> task<> {
                                            co_await c.execute("INSERT INTO t VALUES (1)");
                                            writing_connection(db).deny_rollback(true);
                                            co_await sleep_for(10s);
                                          })));
    REQUIRE(how.failed());
    CHECK(contains(how.failure().message(), "ROLLBACK"));
    CHECK(db.statistics().replaced == 1);
    CHECK(co_await count(db) == 0);
  });
}

TEST_CASE("transaction: cancelled while the commit is under way, the commit is not torn [row 287]") {
  with_table([](database& db) -> task<> {
    event block_done;
    bool went_on = false;
    co_await with_group([&](group& g) -> task<> {
      child<void> work = g.spawn([&]() -> task<> {
        co_await with(transaction(db), [&](connection& c) -> task<> {
          co_await c.execute("INSERT INTO t VALUES (1)");
          block_done.set();
        });
        co_await yield();
        went_on = true;
      });
      co_await block_done.wait();
      CHECK(work.cancel());  // the block has ended, its commit runs on a thread
    });
    CHECK_FALSE(went_on);
    CHECK(co_await count(db) == 1);
  });
}

TEST_CASE(
    "transaction: cancelled in the middle of a query, the query stops and the connection stays healthy") {
  with_table([](database& db) -> task<> {
    const auto begun = std::chrono::steady_clock::now();
    const auto late = co_await move_on_after(20ms, with(transaction(db), [&](connection& c) -> task<> {
                                               co_await c.execute("INSERT INTO t VALUES (1)");
                                               (void)co_await c.query(endless_query);
                                             }));
    CHECK_FALSE(late);
    CHECK(std::chrono::steady_clock::now() - begun < 2s);
    CHECK(co_await count(db) == 0);
    CHECK(db.statistics().replaced == 0);
    co_await db.execute("INSERT INTO t VALUES (2)");
  });
}

TEST_CASE("transaction: a query with a limit of its own is cut short, the transaction goes on") {
  with_table([](database& db) -> task<> {
    co_await with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      const auto late = co_await move_on_after(20ms, c.query(endless_query));
      CHECK_FALSE(late);
      co_await c.execute("INSERT INTO t VALUES (2)");
    });
    CHECK(co_await count(db) == 2);
  });
}

TEST_CASE(
    "transaction: a write is cut short, the database rolls back: nothing further runs and the commit fails") {
  with_table([](database& db) -> task<> {
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      const auto late =
          co_await move_on_after(20ms, c.execute("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL "
                                                 "SELECT i + 1 FROM n) SELECT i FROM n"));
      CHECK_FALSE(late);
      const auto next = co_await as_outcome(c.execute("INSERT INTO t VALUES (2)"));
      CHECK(contains(next.failure().message(), "over before its end"));
    }));
    REQUIRE(how.failed());
    const auto* e = how.failure().find<db::error>();
    REQUIRE(e);
    CHECK(e->code() == "transaction_lost");
    CHECK(e->kind() == error_kind::unavailable);
    CHECK(co_await count(db) == 0);
  });
}

TEST_CASE("transaction: COMMIT by a statement, is found out") {
  with_table([](database& db) -> task<> {
    const auto how = co_await as_outcome(
        with(transaction(db), [&](connection& c) -> task<> { co_await c.execute("COMMIT"); }));
    REQUIRE(how.failed());
    CHECK(contains(how.failure().message(), "leave that to transaction()"));
  });
}

TEST_CASE("transaction: disk full, is unavailable, and nothing of the transaction stays") {
  with_table([](database& db) -> task<> {
    co_await db.query_with("PRAGMA user_version", {});
    const auto how = co_await as_outcome(with(transaction(db), [&](connection& c) -> task<> {
      co_await c.execute("PRAGMA max_page_count = 20");
      for (int i = 0; i < 100'000; ++i) co_await c.execute("INSERT INTO t VALUES (?)", i);
    }));
    REQUIRE(how.failed());
    const auto* e = how.failure().find<storage_error>();
    REQUIRE(e);
    CHECK(e->code() == "disk_full");
    CHECK(e->kind() == error_kind::unavailable);
    CHECK(contains(e->what(), "free space"));
    CHECK(co_await count(db) == 0);
    co_await db.execute("INSERT INTO t VALUES (1)");
    CHECK(co_await count(db) == 1);
  });
}

TEST_CASE("transaction: a handle kept beyond its end, is closed [row 288]") {
  with_table([](database& db) -> task<> {
    std::optional<connection> kept;
    co_await with(transaction(db), [&](connection& c) -> task<> {
      kept = c;
      co_return;
    });
    const auto how = co_await as_outcome(kept->execute("INSERT INTO t VALUES (1)"));
    REQUIRE(how.failed());
    const auto* e = how.failure().find<closed_error>();
    REQUIRE(e);
    CHECK(e->kind() == error_kind::internal);
  });
}

TEST_CASE("transaction: reading, sees one state throughout and cannot write") {
  with_table([](database& db) -> task<> {
    co_await db.execute("INSERT INTO t VALUES (1)");
    co_await with(transaction(db, sqlite::transaction_mode::read), [&](connection& c) -> task<> {
      CHECK((co_await c.query("SELECT v FROM t")).size() == 1);
      co_await db.execute("INSERT INTO t VALUES (2)");
      CHECK((co_await c.query("SELECT v FROM t")).size() == 1);
      const auto write = co_await as_outcome(c.execute("INSERT INTO t VALUES (3)"));
      CHECK(write.failure().find<storage_error>() != nullptr);
    });
    CHECK(co_await count(db) == 2);
  });
}

TEST_CASE("transaction: statements of two tasks on one connection, take turns") {
  with_table([](database& db) -> task<> {
    co_await with(transaction(db), [&](connection& c) -> task<> {
      std::vector<task<change>> work;
      for (int i = 0; i < 20; ++i) work.push_back(c.execute("INSERT INTO t VALUES (?)", i));
      co_await all(std::move(work));
    });
    CHECK(co_await count(db) == 20);
  });
}

TEST_CASE("transaction: used for the rest of a task, commits when the task ends") {
  with_table([](database& db) -> task<> {
    const auto insert = [](database& into) -> task<> {
      connection& c = co_await use(transaction(into));
      co_await c.execute("INSERT INTO t VALUES (1)");
    };
    co_await insert(db);
    CHECK(co_await count(db) == 1);
  });
}

TEST_CASE("transaction: locked by another process, is busy after the timeout, and nothing stays in use") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 50ms}));
    co_await db.execute("CREATE TABLE t (v INTEGER)");
    stranger other(dir.file());
    other.run("BEGIN IMMEDIATE");
    const auto how = co_await as_outcome(with(transaction(db), [&](connection&) -> task<> { co_return; }));
    REQUIRE(how.failed());
    const auto* e = how.failure().find<busy_error>();
    REQUIRE(e);
    CHECK(e->code() == "database_locked");
    CHECK(e->kind() == error_kind::unavailable);
    CHECK(contains(e->what(), "BEGIN IMMEDIATE: database is locked"));
    CHECK(db.statistics().in_use == 0);
    CHECK(co_await count(db) == 0);  // reading goes on
    other.run("COMMIT");
    co_await db.execute("INSERT INTO t VALUES (1)");
  });
}

TEST_CASE("transaction: cancelled while another process holds the lock, ends at once and nothing happened") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 60s}));
    co_await db.execute("CREATE TABLE t (v INTEGER)");
    stranger other(dir.file());
    other.run("BEGIN IMMEDIATE");
    const auto begun = std::chrono::steady_clock::now();
    bool entered = false;
    CHECK_FALSE(co_await move_on_after(20ms, with(transaction(db), [&](connection&) -> task<> {
                                         entered = true;
                                         co_return;
                                       })));
    CHECK_FALSE(co_await move_on_after(20ms, db.execute("INSERT INTO t VALUES (1)")));
    CHECK(std::chrono::steady_clock::now() - begun < 2s);
    CHECK_FALSE(entered);
    CHECK(db.statistics().in_use == 0);
    other.run("COMMIT");
    CHECK(co_await count(db) == 0);
    co_await db.execute("INSERT INTO t VALUES (2)");
    CHECK(co_await count(db) == 1);
  });
}
