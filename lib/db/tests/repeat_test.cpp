// SPDX-License-Identifier: Apache-2.0
// What a conflict is, and transactions of SQLite that met one while several of their statements ran.

#include <belay/core/group.hpp>
#include <belay/db/repeat.hpp>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using db_error = belay::db::error;

namespace {

failure of(const db_error& what) { return failure::of(std::make_exception_ptr(what)); }
failure a_conflict(const char* code = "serialization_failure") {
  return of({error_kind::unavailable, code, "somebody else was first"});
}
failure lost_transaction() { return of({error_kind::unavailable, "transaction_lost", "it is over"}); }
failure unknown_commit() { return of({error_kind::internal, "commit_unknown", "nobody knows"}); }

failure with_attached(failure what, failure attached) {
  what.attach(std::move(attached));
  return what;
}

bool is_one(failure what) {
  const bool so = is_conflict(what);
  static_cast<void>(what.flatten());  // observes all of it
  return so;
}

task<> insert(sqlite::connection on, int v) { co_await on.execute("INSERT INTO t VALUES (?)", v); }

}  // namespace

TEST_CASE("is_conflict: what is attached to a conflict may only say that the transaction is lost") {
  for (const char* code : {"serialization_failure", "deadlock", "database_locked"})
    CHECK(is_one(a_conflict(code)));
  CHECK_FALSE(is_one(a_conflict("lock_not_available")));  // a lock that was waited for, as long as one may
  CHECK(is_one(with_attached(a_conflict(), lost_transaction())));
  CHECK(is_one(with_attached(a_conflict(), a_conflict("deadlock"))));
  CHECK(is_one(with_attached(a_conflict(), with_attached(lost_transaction(), a_conflict()))));
  // The first part of a script with COMMIT in it may be done.
  CHECK_FALSE(is_one(lost_transaction()));
  CHECK_FALSE(is_one(with_attached(lost_transaction(), a_conflict())));
  CHECK_FALSE(is_one(
      with_attached(a_conflict(), failure::of(std::make_exception_ptr(std::runtime_error("of the block"))))));
}

TEST_CASE(
    "is_conflict: a commit of which nobody knows how it ended is none, whatever came with it [row 287]") {
  CHECK_FALSE(is_one(unknown_commit()));
  CHECK_FALSE(is_one(with_attached(unknown_commit(), a_conflict())));
  CHECK_FALSE(is_one(with_attached(a_conflict(), unknown_commit())));
  CHECK_FALSE(is_one(with_attached(a_conflict(), with_attached(lost_transaction(), unknown_commit()))));
}

TEST_CASE("repeatable: a block of SQLite whose statements run side by side is run again after a conflict") {
  const temporary_directory dir;
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(dir.file()));
    co_await db.execute("CREATE TABLE t (v INTEGER UNIQUE)");
    stranger other(dir.file());
    int runs = 0;
    const auto block = [&](sqlite::connection& c) -> task<> {
      static_cast<void>(co_await c.query("SELECT count(*) FROM t"));
      if (++runs == 1) other.run("INSERT INTO t VALUES (7)");
      co_await with_group([&c](group& both) -> task<> {
        both.spawn(insert, c, 8);
        both.spawn(insert, c, 9);
        co_return;
      });
    };
    co_await sqlite::repeatable(db, block, sqlite::transaction_mode::deferred, {.first_pause = 1ms});
    CHECK(runs == 2);
    const auto found = co_await db.query_one("SELECT group_concat(v) FROM (SELECT v FROM t ORDER BY v)");
    CHECK(found->get<std::string>(0) == "7,8,9");
  });
}

TEST_CASE(
    "repeatable: misuse is told with the line of the call, and a commit that is unknown is not repeated") {
  const temporary_directory dir;
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(dir.file()));
    int runs = 0;
    const auto block = [&runs](sqlite::connection&) -> task<int> {
      ++runs;
      co_await sleep_for(1ms);
      throw db_error(error_kind::internal, "commit_unknown", "of another database");
    };
    const auto unknown = co_await as_outcome(sqlite::repeatable(db, block));
    CHECK(unknown.failure().find<db_error>()->code() == "commit_unknown");
    CHECK(runs == 1);
    const auto none =
        co_await as_outcome(sqlite::repeatable(db, block, sqlite::transaction_mode::write, {.attempts = 0}));
    const failure why = none.failure();
    const auto* wrong = why.find<misuse_error>();
    REQUIRE(wrong != nullptr);
    CHECK(std::string(wrong->where().file_name()).find("repeat_test") != std::string::npos);
    CHECK(runs == 1);
  });
}
