// SPDX-License-Identifier: Apache-2.0
// Schema steps: once each, in order, all or nothing, and never over something that does not fit.

#include <belay/core/group.hpp>
#include <belay/db/sqlite/migrate.hpp>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;
using sqlite::database;
using sqlite::migrate;
using sqlite::migration;

namespace {

std::vector<migration> two_steps() {
  return {{.version = 1, .name = "users", .sql = "CREATE TABLE users (id INTEGER PRIMARY KEY); -- people\n"},
          {.version = 2,
           .name = "names",
           .sql = "ALTER TABLE users ADD COLUMN name TEXT; CREATE TABLE log (t TEXT)"}};
}

std::size_t run_steps(const std::string& path, std::vector<migration> steps) {
  return run([&]() -> task<std::size_t> {
    database& db = co_await use(sqlite::open(path));
    co_return co_await migrate(db, std::move(steps));
  });
}

migration_error refusal(const std::string& path, std::vector<migration> steps) {
  return error_of<migration_error>([&]() -> task<> {
    database& db = co_await use(sqlite::open(path));
    co_await migrate(db, std::move(steps));
  });
}

}  // namespace

TEST_CASE("migrate: steps, run once each and are recorded") {
  const temporary_directory dir;
  CHECK(run_steps(dir.file(), two_steps()) == 2);
  CHECK(run_steps(dir.file(), two_steps()) == 0);
  auto more = two_steps();
  more.push_back({.version = 10, .name = "third", .sql = "CREATE TABLE third (a)"});
  CHECK(run_steps(dir.file(), more) == 1);
  stranger other(dir.file());
  CHECK(other.ask("SELECT group_concat(version || name) FROM belay_migrations") == "1users,2names,10third");
  CHECK(other.ask("SELECT applied_at LIKE '____-__-__T__:__:__.___Z' FROM belay_migrations") == "1");
  CHECK(other.ask("SELECT count(name) FROM users") == "0");
}

TEST_CASE("migrate: a failing step, is rolled back whole, named in a note, and those before it stay") {
  const temporary_directory dir;
  auto steps = two_steps();
  steps.push_back(
      {.version = 3, .name = "broken", .sql = "CREATE TABLE half (a); INSERT INTO absent VALUES (1)"});
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    const auto how = co_await as_outcome(migrate(db, steps));
    REQUIRE(how.failed());
    CHECK(how.failure().find<statement_error>() != nullptr);
    REQUIRE(how.failure().notes().size() == 1);
    CHECK(contains(how.failure().notes()[0], "while running step 3 (broken)"));
  });
  stranger other(dir.file());
  CHECK(other.ask("SELECT max(version) FROM belay_migrations") == "2");
  CHECK(other.ask("SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == "0");
  steps.back().sql = "CREATE TABLE half (a)";
  CHECK(run_steps(dir.file(), steps) == 1);
}

TEST_CASE("migrate: a database newer than the program, is refused and left alone") {
  const temporary_directory dir;
  run_steps(dir.file(), two_steps());
  const auto e = refusal(dir.file(), {two_steps().front()});
  CHECK(e.code() == "newer_schema");
  CHECK(contains(e.what(), dir.file()));
  CHECK(contains(e.what(), "at version 2 (names), this program knows versions up to 1"));
  CHECK(refusal(dir.file(), {}).code() == "newer_schema");
}

TEST_CASE("migrate: a step that was altered, removed or put before one that has run, is refused") {
  const temporary_directory dir;
  run_steps(dir.file(), two_steps());
  auto altered = two_steps();
  altered[0].sql += " ";
  altered.push_back({.version = 3, .name = "third", .sql = "CREATE TABLE third (a)"});
  const auto e = refusal(dir.file(), altered);
  CHECK(e.code() == "altered_migration");
  CHECK(contains(e.what(), "step 1 (users) was altered"));
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM sqlite_schema WHERE name = 'third'") == "0");

  auto removed = two_steps();
  removed.erase(removed.begin());
  CHECK(refusal(dir.file(), removed).code() == "altered_migration");

  std::vector<migration> gap{two_steps()[0], {.version = 3, .name = "c", .sql = "CREATE TABLE c (a)"}};
  const temporary_directory other;
  run_steps(other.file(), gap);
  gap.insert(gap.begin() + 1, two_steps()[1]);
  CHECK(refusal(other.file(), gap).code() == "altered_migration");
}

TEST_CASE("migrate: versions that do not rise, are refused before anything runs") {
  const temporary_directory dir;
  auto steps = two_steps();
  std::swap(steps[0], steps[1]);
  CHECK(refusal(dir.file(), steps).code() == "bad_migrations");
  CHECK(refusal(dir.file(), {{.version = 0, .name = "zero", .sql = "SELECT 1"}}).code() == "bad_migrations");
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM sqlite_schema") == "0");
}

TEST_CASE("migrate: a step that ends the transaction by itself, is refused") {
  const temporary_directory dir;
  run([&]() -> task<> {
    database& db = co_await use(sqlite::open(dir.file()));
    const auto how = co_await as_outcome(
        migrate(db, {{.version = 1, .name = "sly", .sql = "CREATE TABLE a (b); COMMIT"}}));
    REQUIRE(how.failed());
    CHECK(contains(how.failure().message(), "leave that to transaction()"));
  });
}

TEST_CASE("migrate: several at the same time, each step runs once") {
  const temporary_directory dir;
  std::size_t total = 0;
  run([&]() -> task<> {
    co_await with_group([&](group& g) -> task<> {
      const auto start = [&]() -> task<> {
        database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 30s}));
        total += co_await migrate(db, two_steps());
      };
      for (int i = 0; i < 4; ++i) g.spawn(start);
      co_return;
    });
  });
  CHECK(total == 2);
}
