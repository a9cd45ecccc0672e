// SPDX-License-Identifier: Apache-2.0
// Opening and closing: files, directories, damage, locks, and what each refusal says.

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;
using namespace std::chrono_literals;

namespace {

// Opens, makes a table, closes.
void make_database(const std::string& path) {
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(path));
    co_await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL)");
    for (int i = 0; i < 200; ++i) co_await db.execute("INSERT INTO t (v) VALUES (?)", std::string(1000, 'x'));
  });
}

template <class E>
E open_error(const std::string& name, sqlite::options settings = {}) {
  return error_of<E>([&]() -> task<> { (void)co_await use(sqlite::open(name, settings)); });
}

}  // namespace

TEST_CASE("open: a new file in directories that do not exist, is made, and closed without a log") {
  const temporary_directory dir;
  const std::string path = dir.file("a/b/c.db");
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open("sqlite:" + path));
    CHECK(db.path() == path);
    co_await db.execute("CREATE TABLE t (a)");
    CHECK((co_await db.query_one("PRAGMA journal_mode"))->get<std::string>(0) == "wal");
    CHECK(std::filesystem::exists(path + "-wal"));
  });
  CHECK(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(path + "-wal"));
  CHECK(stranger(path).ask("SELECT count(*) FROM t") == "0");
}

TEST_CASE("open: settings, are in force on the writing connection") {
  const temporary_directory dir;
  for (const bool full : {true, false}) {
    run([&]() -> task<> {
      sqlite::database& db = co_await use(sqlite::open(
          dir.file(), {.durable = full ? sqlite::durability::full : sqlite::durability::normal}));
      co_await with(sqlite::transaction(db), [&](sqlite::connection& c) -> task<> {
        CHECK((co_await c.query_one("PRAGMA synchronous"))->get<int>(0) == (full ? 2 : 1));
        CHECK((co_await c.query_one("PRAGMA foreign_keys"))->get<int>(0) == 1);
      });
    });
  }
}

TEST_CASE("open: a parent that is a regular file, is refused with path and reason") {
  const temporary_directory dir;
  std::ofstream(dir.file("file")) << "x";
  const auto e = open_error<storage_error>(dir.file("file/sub/a.db"));
  CHECK(e.kind() == error_kind::unavailable);
  CHECK(e.code() == "cannot_open");
  CHECK(contains(e.what(), "database " + dir.file("file/sub/a.db")));
  CHECK(contains(e.what(), "Not a directory"));
  const auto direct = open_error<storage_error>(dir.file("file/a.db"));
  CHECK(contains(direct.what(), dir.file("file/a.db")));
}

TEST_CASE("open: a directory in place of the file, is refused") {
  const temporary_directory dir;
  const auto e = open_error<storage_error>(dir.path.string());
  CHECK(e.code() == "cannot_open");
  CHECK(contains(e.what(), "unable to open database file"));
}

TEST_CASE("open: a file that is no database, is refused and left byte for byte as it was") {
  const temporary_directory dir;
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{5}, std::size_t{511}, std::size_t{512}, std::size_t{100'000}}) {
    CAPTURE(size);
    const std::string path = dir.file("notes" + std::to_string(size));
    const std::string text(size, 'n');
    std::ofstream(path) << text;
    const auto e = open_error<corrupt_error>(path);
    CHECK(e.code() == "not_a_database");
    CHECK(e.kind() == error_kind::internal);
    CHECK(contains(e.what(), path));
    CHECK(contains(e.what(), "not a database"));
    CHECK(contents(path) == text);
    CHECK_FALSE(std::filesystem::exists(path + "-wal"));
    CHECK_FALSE(std::filesystem::exists(path + "-journal"));
  }
}

TEST_CASE(
    "open: damage in the middle of the file, is found by the check that was asked for, or by the query") {
  const temporary_directory dir;
  const std::string path = dir.file();
  make_database(path);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(3 * 4096);
    file << std::string(20'000, '\xAA');
  }
  for (const auto check : {sqlite::open_check::quick, sqlite::open_check::full}) {
    const auto e = open_error<corrupt_error>(path, {.check = check});
    CHECK(e.code() == "corrupt");
    CHECK(contains(e.what(), path));
  }
  const auto late = error_of<corrupt_error>([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(path));
    (void)co_await db.query("SELECT * FROM t");
  });
  CHECK(late.code() == "corrupt");
  CHECK(contains(late.what(), "restore a backup"));
}

TEST_CASE("open: a file cut short, is found at once") {
  const temporary_directory dir;
  const std::string path = dir.file();
  make_database(path);
  std::filesystem::resize_file(path, 4096 * 2);
  const auto e = open_error<corrupt_error>(path);
  CHECK(e.code() == "corrupt");
}

TEST_CASE("open: locked by another process, is busy after the timeout") {
  const temporary_directory dir;
  make_database(dir.file());
  stranger other(dir.file());
  other.run("PRAGMA locking_mode=EXCLUSIVE");
  other.run("BEGIN EXCLUSIVE");
  const auto e = open_error<busy_error>(dir.file(), {.busy_timeout = 30ms});
  CHECK(e.kind() == error_kind::unavailable);
  CHECK(e.code() == "database_locked");
  CHECK(contains(e.what(), dir.file()));
  CHECK(contains(e.what(), "locked"));
}

TEST_CASE("open: another process that only holds the lock for writing, is no hindrance") {
  const temporary_directory dir;
  make_database(dir.file());
  stranger other(dir.file());
  other.run("BEGIN IMMEDIATE");
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 1s}));
    CHECK((co_await db.query_one("SELECT count(*) FROM t"))->get<int>(0) == 200);
  });
}

TEST_CASE("open: names and options out of range, are refused before anything is opened") {
  for (const char* name : {"", "sqlite:", "mysql://x", "postgresql://user:secret@host/db"}) {
    CAPTURE(name);
    const auto e = open_error<db::error>(name);
    CHECK(e.kind() == error_kind::invalid);
    CHECK_FALSE(contains(e.what(), "secret"));
  }
  CHECK(open_error<db::error>(":memory:", {.busy_timeout = 0s}).kind() == error_kind::invalid);
  CHECK(open_error<db::error>(":memory:", {.busy_timeout = duration::max()}).kind() == error_kind::invalid);
  CHECK(open_error<db::error>(":memory:", {.readers = 1'000'000}).kind() == error_kind::invalid);
}

TEST_CASE("open: sqlite:///absolute and file:, name files and nothing else") {
  const temporary_directory dir;
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open("sqlite://" + dir.file("three.db")));
    CHECK(db.path() == dir.file("three.db"));
  });
  CHECK(std::filesystem::exists(dir.file("three.db")));
}

TEST_CASE("open: a database used after its end, is closed [row 288]") {
  const temporary_directory dir;
  const auto e = error_of<closed_error>([&]() -> task<> {
    std::optional<sqlite::database> kept;
    co_await with(sqlite::open(dir.file()), [&](sqlite::database& db) -> task<> {
      kept = db;
      co_return;
    });
    (void)co_await kept->query("SELECT 1");
  });
  CHECK(e.kind() == error_kind::unavailable);
  CHECK(e.code() == "closed");
}

TEST_CASE("open: the block fails, the database is closed and the error is the block's own [row 266]") {
  const temporary_directory dir;
  CHECK_THROWS_WITH_AS(run([&]() -> task<> {
                         co_await with(sqlite::open(dir.file()), [&](sqlite::database& db) -> task<> {
                           co_await db.execute("CREATE TABLE t (a)");
                           throw std::runtime_error("mine");
                         });
                       }),
                       "mine", std::runtime_error);
  CHECK_FALSE(std::filesystem::exists(dir.file() + "-wal"));
  CHECK(stranger(dir.file()).ask("SELECT count(*) FROM t") == "0");
}

TEST_CASE("close: another process reads the log, closing does not wait for it and loses nothing") {
  const temporary_directory dir;
  make_database(dir.file());
  stranger other(dir.file());
  other.run("BEGIN");
  (void)other.ask("SELECT count(*) FROM t");
  run([&]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(dir.file(), {.busy_timeout = 50ms}));
    co_await db.execute("DELETE FROM t");
  });
  other.run("COMMIT");
  CHECK(other.ask("SELECT count(*) FROM t") == "0");
}
