// SPDX-License-Identifier: Apache-2.0
// Parts of a transaction that fail by themselves, transactions that are repeated, and who holds the writing connection.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/test_loop.hpp>
#include <optional>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::connection;
using sqlite::database;
using sqlite::repeatable;
using sqlite::savepoint;
using sqlite::transaction;
using sqlite::transaction_mode;

namespace {

template <class F>
void with_table(F body, sqlite::options settings = {}) {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file(), settings));
    co_await db.execute("CREATE TABLE t (v INTEGER UNIQUE)");
    co_await body(db, dir);
    CHECK(db.statistics().in_use == 0);
    CHECK(db.statistics().transactions == 0);
    CHECK(db.holders().empty());
  });
}

task<std::string> all_values(database& db) {
  const auto found =
      co_await db.query_one("SELECT coalesce(group_concat(v), '') FROM (SELECT v FROM t ORDER BY v)");
  co_return found->get<std::string>(0);
}

task<> insert(connection& c, int v) { co_await c.execute("INSERT INTO t VALUES (?)", v); }

task<> fails(connection& c, int v) {
  co_await insert(c, v);
  throw std::runtime_error("the block");
}

}  // namespace

TEST_CASE("savepoint: its block fails, only its part is undone, and the error is named") {
  with_table([](database& db, const auto&) -> task<> {
    co_await with(transaction(db), [](connection& c) -> task<> {
      co_await insert(c, 1);
      const auto how = co_await as_outcome(
          with(savepoint(c, "coupon"), [](connection& inner) -> task<> { co_await fails(inner, 2); }));
      const failure why = how.failure();
      CHECK(why.message() == "the block");
      REQUIRE(why.notes().size() == 1);
      CHECK(why.notes()[0] == "in savepoint 'coupon'");
      co_await with(savepoint(c), [](connection& inner) -> task<> { co_await insert(inner, 3); });
    });
    const std::string found = co_await all_values(db);
    CHECK(found == "1,3");
  });
}

TEST_CASE("savepoint: nested, the inner one undone, the outer one kept, and the other way round") {
  with_table([](database& db, const auto&) -> task<> {
    co_await with(transaction(db), [](connection& c) -> task<> {
      co_await with(savepoint(c, "outer"), [](connection& outer) -> task<> {
        co_await insert(outer, 1);
        const auto how = co_await as_outcome(
            with(savepoint(outer, "inner"), [](connection& in) -> task<> { co_await fails(in, 2); }));
        CHECK(how.failure());
      });
      const auto how = co_await as_outcome(with(savepoint(c, "outer"), [](connection& outer) -> task<> {
        co_await with(savepoint(outer, "inner"), [](connection& in) -> task<> { co_await insert(in, 3); });
        throw std::runtime_error("outer");
      }));
      CHECK(how.failure());
    });
    const std::string found = co_await all_values(db);
    CHECK(found == "1");
  });
}

TEST_CASE(
    "savepoint: cancelled between two statements, its part is undone and the transaction goes on [row 286]") {
  with_table([](database& db, const auto&) -> task<> {
    co_await with(transaction(db), [](connection& c) -> task<> {
      const auto none = co_await move_on_after(20ms, with(savepoint(c), [](connection& inner) -> task<> {
                                                 co_await insert(inner, 1);
                                                 co_await sleep_for(1min);
                                               }));
      CHECK_FALSE(none);
      co_await insert(c, 2);
    });
    const std::string found = co_await all_values(db);
    CHECK(found == "2");
  });
}

TEST_CASE("savepoint: ended before one that was opened in it, is misuse, and nothing is committed") {
  with_table([](database& db, const auto&) -> task<> {
    const auto how = co_await as_outcome(with(transaction(db), [](connection& c) -> task<> {
      event both;
      event go;
      co_await with_group([&](group& g) -> task<> {
        g.spawn([&]() -> task<> {
          co_await with(savepoint(c, "first"), [&](connection& inner) -> task<> {
            co_await insert(inner, 1);
            co_await both.wait();
          });
        });
        co_await sleep_for(20ms);
        g.spawn([&]() -> task<> {
          co_await with(savepoint(c, "second"), [&](connection&) -> task<> {
            both.set();
            co_await go.wait();
          });
        });
        co_return;
      });
    }));
    const failure why = how.failure();
    const auto* e = why.find<misuse_error>();
    REQUIRE(e != nullptr);
    CHECK(contains(
        e->what(),
        "savepoint 'first' ended before one that was opened in it; the transaction was rolled back"));
    for (const failure& one : why.flatten()) one.observe();
    const std::string found = co_await all_values(db);
    CHECK(found.empty());
  });
}

TEST_CASE("savepoint: the transaction was ended by a statement, or is over: an error, not a commit") {
  with_table([](database& db, const auto&) -> task<> {
    const auto how = co_await as_outcome(with(transaction(db), [](connection& c) -> task<> {
      co_await with(savepoint(c), [](connection& inner) -> task<> {
        co_await insert(inner, 1);
        const auto ended = co_await as_outcome(inner.execute("ROLLBACK"));
        CHECK(ended.failure());
      });
    }));
    const failure why = how.failure();
    const auto* e = why.find<db::error>();
    REQUIRE(e != nullptr);
    CHECK(e->code() == "transaction_lost");
    for (const failure& one : why.flatten()) one.observe();
    std::optional<connection> kept;
    co_await with(transaction(db), [&](connection& c) -> task<> {
      kept = c;
      co_return;
    });
    const auto late = co_await as_outcome(with(savepoint(*kept), [](connection&) -> task<> { co_return; }));
    CHECK(late.failure().template find<closed_error>() != nullptr);
    const std::string found = co_await all_values(db);
    CHECK(found.empty());
  });
}

TEST_CASE("repeatable: a deferred transaction that read before another process wrote, is run again") {
  with_table([](database& db, const auto& dir) -> task<> {
    stranger other(dir.file());
    int calls = 0;
    const int seen = co_await repeatable(db,
                                         [&](connection& c) -> task<int> {
                                           const auto found = co_await c.query_one("SELECT count(*) FROM t");
                                           if (++calls == 1) other.run("INSERT INTO t VALUES (7)");
                                           co_await insert(c, 8);
                                           co_return found->template get<int>(0);
                                         },
                                         transaction_mode::deferred, {.first_pause = 1ms});
    CHECK(calls == 2);
    CHECK(seen == 1);
    const std::string found = co_await all_values(db);
    CHECK(found == "7,8");
  });
}

TEST_CASE(
    "repeatable: gives up after the last attempt, with the earlier failures; other errors pass at once") {
  with_table(
      [](database& db, const auto& dir) -> task<> {
        stranger other(dir.file());
        other.run("BEGIN IMMEDIATE");
        const auto how =
            co_await as_outcome(repeatable(db, [](connection& c) -> task<> { co_await insert(c, 1); },
                                           transaction_mode::write, {.attempts = 3, .first_pause = 1ms}));
        const failure why = how.failure();
        CHECK(why.find<busy_error>() != nullptr);
        CHECK(why.attached().size() == 2);
        REQUIRE_FALSE(why.notes().empty());
        CHECK(why.notes().back() == "attempt 3 of 3");
        other.run("COMMIT");
        int calls = 0;
        const auto wrong = co_await as_outcome(repeatable(db, [&](connection& c) -> task<> {
          ++calls;
          co_await c.execute("INSERT INTO nothing VALUES (1)");
        }));
        CHECK(wrong.failure().template find<statement_error>() != nullptr);
        CHECK(calls == 1);
      },
      {.busy_timeout = 10ms});
}

TEST_CASE("repeat_on_conflict: pauses grow, none goes beyond the deadline, a cancellation ends it") {
  testing::test_loop loop;
  int calls = 0;
  const auto always = [&calls]() -> task<> {
    ++calls;
    throw busy_error(error_kind::unavailable, "database_locked", "locked");
    co_return;
  };
  loop.run([&]() -> task<> {
    const auto all = co_await as_outcome(repeat_on_conflict(always, {.attempts = 20, .first_pause = 10ms}));
    CHECK(all.failure());
    CHECK(calls == 20);
    CHECK(loop.elapsed() > 1s);
    CHECK(loop.elapsed() < 15s);
    calls = 0;
    const auto late = co_await as_outcome(with_timeout(
        1s, repeat_on_conflict(always, {.attempts = 1000, .first_pause = 10s, .longest_pause = 10s})));
    const failure why = late.failure();
    CHECK(why.find<busy_error>() != nullptr);
    CHECK(contains(why.notes().back(), "given up: the deadline would pass before the next one"));
    const auto misused = co_await as_outcome(repeat_on_conflict(always, {.attempts = 0}));
    CHECK(misused.failure().find<misuse_error>() != nullptr);
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors() == std::vector<std::string>{});
}

TEST_CASE("holders: who has the writing connection, since when and where; busy names it") {
  with_table(
      [](database& db, const auto&) -> task<> {
        event go;
        co_await with_group([&](group& g) -> task<> {
          g.spawn([&]() -> task<> {
             co_await with(transaction(db), [&](connection&) -> task<> { co_await go.wait(); });
           }).named("purge");
          while (db.statistics().transactions == 0) co_await sleep_for(1ms);
          const auto who = db.holders();
          REQUIRE(who.size() == 1);
          CHECK(who[0].task == "task 'purge'");
          CHECK(contains(who[0].taken_at.file_name(), "savepoint_test.cpp"));
          const auto how = co_await as_outcome(db.execute("INSERT INTO t VALUES (1)"));
          CHECK(contains(how.failure().message(), "; held by task 'purge' for "));
          go.set();
        });
        co_await db.ping();
      },
      {.busy_timeout = 20ms});
}

TEST_CASE("everywhere: savepoints in a transaction: all of it or nothing, never the part that was undone") {
  struct kept_open {
    managed<database> opening{sqlite::open(":memory:")};
    std::optional<database> db;
    task<> open() {
      db = co_await opening.open();
      co_await db->execute("CREATE TABLE t (v INTEGER)");
    }
    task<std::string> values() { co_return co_await all_values(*db); }
  };
  const testing::report found = testing::everywhere([](testing::stage& s) -> task<> {
    auto& store = s.make<kept_open>();
    co_await s.undisturbed(store.open());
    s.expect("nothing is in use", [&store] { return store.db->statistics().in_use == 0; });
    s.expect("all or nothing is there", [&store, &s](const testing::run_end& how) {
      const std::string there = s.loop().run(store.values());
      return how.succeeded ? there == "1,3" || there == "1" : there.empty() || there == "1,3" || there == "1";
    });
    s.afterwards([&store]() -> task<> {
      co_await with(transaction(*store.db), [](connection& c) -> task<> {
        co_await with(savepoint(c), [](connection& inner) -> task<> { co_await insert(inner, 9); });
      });
    });
    co_await with(transaction(*store.db), [](connection& c) -> task<> {
      co_await insert(c, 1);
      const auto how = co_await as_outcome(
          with(savepoint(c, "undone"), [](connection& inner) -> task<> { co_await fails(inner, 2); }));
      if (how.failed()) {
        for (const failure& one : how.failure().flatten()) one.observe();
      }
      co_await with(savepoint(c, "kept"), [](connection& inner) -> task<> { co_await insert(inner, 3); });
    });
  });
  CHECK_MESSAGE(found.ok(), found.text());
}
