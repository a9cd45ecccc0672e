// SPDX-License-Identifier: Apache-2.0
// Each part of the database layer cancelled and failed at every await: nothing is left, nothing is half done, and it works afterwards.
//
// No co_await in a CHECK: it catches the injected error.
//
// Calls on threads are begun after the turn that made them: a driver finds them not begun, or finished. Statements that are interrupted
// while they run are in statement_test.cpp and transaction_test.cpp, with real time.

#include <belay/core/all.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <belay/testing/everywhere.hpp>
#include <new>
#include <optional>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::connection;
using sqlite::database;
using sqlite::transaction;
using testing::stage;

namespace {

// Thousands of databases are made here, and what a disk does at each commit is not under test.
std::filesystem::path quick_storage() {
  return std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path();
}

// The error was expected; what is attached to it, too (a cleanup that the driver made fail).
void handled(const failure& what) {
  for (const failure& one : what.flatten()) one.observe();
}

// A file with three accounts of 100 each, and a handle that outlives the scenario, to ask what is still in use.
struct bank {
  temporary_directory dir{quick_storage()};
  std::optional<database> db;

  bank() {
    change("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))");
    change("INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100)");
  }
  void change(const char* sql) const { stranger(dir.file()).run(sql); }
  [[nodiscard]] std::string ask(const char* sql) const { return stranger(dir.file()).ask(sql); }
  [[nodiscard]] std::string total() const { return ask("SELECT sum(balance) FROM accounts"); }
};

bool all_given_back(const std::optional<database>& db) {
  if (!db) return true;
  const sqlite::pool_statistics now = db->statistics();
  return now.in_use == 0 && now.idle == 0 && now.waiting == 0 && now.transactions == 0;
}

task<> transfer(database db, int from, int to, int amount) {
  co_await with(transaction(db), [&](connection& c) -> task<> {
    co_await c.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", amount, from);
    co_await c.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, to);
  });
}

// The bank with its rules.
bank& open_bank(stage& s) {
  bank& here = s.make<bank>();
  s.expect("all connections are given back and closed", [&here] { return all_given_back(here.db); });
  s.expect("no money is made or lost", [&here] { return here.total() == "300"; });
  s.expect("nobody holds a lock", [&here] {
    here.change("BEGIN EXCLUSIVE");
    return true;
  });
  s.afterwards([&here]() -> task<> {
    co_await with(sqlite::open(here.dir.file()), [](database& db) -> task<> {
      co_await transfer(db, 3, 1, 1);
      co_await db.query("SELECT * FROM accounts");
    });
  });
  return here;
}

// One writing connection, one for reading.
sqlite::options few() { return {.readers = 1}; }

// What the database itself answers when it does not do what it was asked.
std::vector<std::exception_ptr> database_errors() {
  return testing::errors_of(busy_error(error_kind::unavailable, "database_locked", "locked, injected"),
                            storage_error(error_kind::unavailable, "disk_full", "full, injected"),
                            std::bad_alloc());
}

using part = task<> (*)(stage&);

void check(part what, std::source_location where = std::source_location::current()) {
  const testing::report found = testing::everywhere(what, {.loop = {.blocking_threads = 2}}, where);
  CHECK_MESSAGE(found.ok(), found.text());
  const std::string line = "line " + std::to_string(where.line());
  // That cleanups fail as well was done above.
  const testing::report failing = testing::fail_everywhere(
      what, database_errors(),
      {.name = line + ", errors of the database", .fail_in_cleanup = false, .loop = {.blocking_threads = 2}},
      where);
  CHECK_MESSAGE(failing.ok(), failing.text());
}

// The same where the order of the tasks matters.
void check_orders(part what, std::source_location where = std::source_location::current()) {
  check(what, where);
  const std::string line = "line " + std::to_string(where.line());
  const testing::report found =
      testing::explore(what, 200, {.name = line + ", orders", .errors = database_errors()}, where);
  CHECK_MESSAGE(found.ok(), found.text());
}

}  // namespace

TEST_CASE("everywhere: a database in a file is opened, used and closed") {
  check([](stage& s) -> task<> {
    bank& here = open_bank(s);
    co_await with(sqlite::open(here.dir.file(), few()), [&here](database& db) -> task<> {
      here.db = db;
      co_await db.query("SELECT * FROM accounts");
    });
  });
}

TEST_CASE("everywhere: a database in memory, single statements") {
  check([](stage& s) -> task<> {
    auto& kept = s.make<std::optional<database>>();
    s.expect("all connections are given back and closed", [&kept] { return all_given_back(kept); });
    database& db = co_await use(sqlite::open(":memory:"));
    kept = db;
    co_await db.execute("CREATE TABLE t (v INTEGER UNIQUE)");
    const change made = co_await db.execute("INSERT INTO t VALUES (?), (?)", 1, 2);
    CHECK(made.rows == 2);
    const auto refused = co_await as_outcome(db.execute("INSERT INTO t VALUES (1)"));
    if (refused.failed()) handled(refused.failure());
    const rows all_of_it = co_await db.query("SELECT v FROM t");
    CHECK(all_of_it.size() == 2);
    const auto one = co_await db.query_one("SELECT v FROM t WHERE v = ?", 2);
    CHECK(one.value().get<int>(0) == 2);
  });
}

TEST_CASE("everywhere: a transaction commits, rolls back when its block fails, and reads") {
  check([](stage& s) -> task<> {
    bank& here = open_bank(s);
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    co_await transfer(db, 1, 2, 30);
    const auto fails = [](database& in) -> task<> {
      co_await with(transaction(in), [](connection& c) -> task<> {
        co_await c.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1");
        throw std::runtime_error("expected");
      });
    };
    const auto how = co_await as_outcome(fails(db));
    if (how.failed()) handled(how.failure());
    co_await with(transaction(db, sqlite::transaction_mode::read), [](connection& c) -> task<> {
      const auto sum = co_await c.query_one("SELECT sum(balance) FROM accounts");
      CHECK(sum.value().get<int>(0) == 300);
    });
  });
}

TEST_CASE("everywhere: a transaction is cancelled in its block") {
  check([](stage& s) -> task<> {
    bank& here = open_bank(s);
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    const auto never_ends = [](database& in) -> task<> {
      co_await with(transaction(in), [](connection& c) -> task<> {
        co_await c.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1");
        co_await sleep_for(1h);
      });
    };
    const auto ended = co_await move_on_after(1s, never_ends(db));
    CHECK_FALSE(ended);
    co_await transfer(db, 2, 3, 5);
  });
}

TEST_CASE("everywhere: the commit is refused, the transaction is rolled back") {
  check([](stage& s) -> task<> {
    bank& here = open_bank(s);
    here.change("CREATE TABLE owners (account REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)");
    s.expect("no owner without an account",
             [&here] { return here.ask("SELECT count(*) FROM owners") == "0"; });
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    const auto refused = [](database& in) -> task<> {
      co_await with(transaction(in), [](connection& c) -> task<> {
        co_await c.execute("UPDATE accounts SET balance = balance - 10 WHERE id = 1");
        co_await c.execute("INSERT INTO owners VALUES (99)");
      });
    };
    const auto how = co_await as_outcome(refused(db));
    CHECK_FALSE(how.succeeded());
    if (how.failed()) handled(how.failure());
    co_await transfer(db, 2, 3, 5);
  });
}

TEST_CASE("everywhere: more tasks than connections wait in line, one leaves it") {
  check_orders([](stage& s) -> task<> {
    bank& here = open_bank(s);
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    const auto reads = [](database of) -> task<> {
      co_await with(transaction(of, sqlite::transaction_mode::read), [](connection& c) -> task<> {
        const auto sum = co_await c.query_one("SELECT sum(balance) FROM accounts");
        CHECK(sum.value().get<int>(0) == 300);
      });
    };
    const auto asks = [](database of) -> task<> { co_await of.query("SELECT * FROM accounts"); };
    co_await with_group([&](group& g) -> task<> {
      g.spawn(transfer, db, 1, 2, 10);
      child<void> leaves = g.spawn(transfer, db, 2, 3, 20);
      g.spawn(transfer, db, 3, 1, 30);
      g.spawn(reads, db);
      g.spawn(asks, db);
      co_await yield();
      leaves.cancel();
    });
  });
}

TEST_CASE("everywhere: statements of several tasks in one transaction take turns") {
  check_orders([](stage& s) -> task<> {
    bank& here = open_bank(s);
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    const auto adds = [](connection c, int amount, int id) -> task<> {
      co_await c.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, id);
    };
    co_await with(transaction(db), [&](connection& c) -> task<> {
      co_await all(adds(c, -10, 1), adds(c, 15, 2), adds(c, -5, 3));
    });
  });
}

TEST_CASE("everywhere: nobody waits for a connection longer than the limit") {
  check_orders([](stage& s) -> task<> {
    bank& here = open_bank(s);
    sqlite::options limited = few();
    limited.busy_timeout = 2s;
    database& db = co_await use(sqlite::open(here.dir.file(), limited));
    here.db = db;
    const auto holds = [](database of) -> task<> {
      co_await with(transaction(of), [](connection&) -> task<> { co_await sleep_for(10s); });
    };
    const auto gives_up = [](database of) -> task<> {
      const auto how = co_await as_outcome(transfer(of, 1, 2, 10));
      if (how.failed()) handled(how.failure());
    };
    co_await all(holds(db), gives_up(db), gives_up(db));
  });
}

TEST_CASE("everywhere: it is closed while it is in use, those in line are told") {
  check_orders([](stage& s) -> task<> {
    bank& here = open_bank(s);
    const auto late = [](database of) -> task<> {
      const auto how = co_await as_outcome(transfer(of, 1, 2, 10));
      if (how.failed()) handled(how.failure());
    };
    co_await with_group([&](group& g) -> task<> {
      co_await with(sqlite::open(here.dir.file(), few()), [&](database& db) -> task<> {
        here.db = db;
        g.spawn(late, db);
        g.spawn(late, db);
        co_await yield();
      });
    });
  });
}

TEST_CASE("everywhere: migrations, each step whole or not at all") {
  check([](stage& s) -> task<> {
    bank& here = open_bank(s);
    const auto steps = [] {
      return std::vector<sqlite::migration>{
          {1, "create owners", "CREATE TABLE owners (name TEXT); INSERT INTO owners VALUES ('a')"},
          {2, "name accounts", "ALTER TABLE accounts ADD COLUMN name TEXT; UPDATE accounts SET name = 'b'"}};
    };
    s.expect("what is recorded has happened, and nothing else", [&here] {
      const auto count = [&here](const std::string& what) {
        return here.ask(("SELECT count(*) FROM " + what).c_str());
      };
      const bool begun = count("sqlite_schema WHERE name = 'belay_migrations'") == "1";
      const std::string recorded = begun ? count("belay_migrations") : "0";
      const bool first = count("sqlite_schema WHERE name = 'owners'") == "1";
      const bool second = count("pragma_table_info('accounts') WHERE name = 'name'") == "1";
      return first == (recorded != "0") && second == (recorded == "2");
    });
    s.afterwards([&here, steps]() -> task<> {
      co_await with(sqlite::open(here.dir.file()), [&](database& db) -> task<> {
        co_await sqlite::migrate(db, steps());
        const std::size_t again = co_await sqlite::migrate(db, steps());
        CHECK(again == 0);
        co_await transfer(db, 1, 2, 1);
      });
    });
    database& db = co_await use(sqlite::open(here.dir.file(), few()));
    here.db = db;
    const std::size_t run = co_await sqlite::migrate(db, steps());
    CHECK(run == 2);
  });
}
