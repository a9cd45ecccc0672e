// SPDX-License-Identifier: Apache-2.0
// Single statements: parameters, types, what each violation says, what a wrong statement says.

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;

namespace {

// Runs `body(database&)` with an empty database in memory.
template <class F>
auto with_memory(F body) {
  return run([&]() -> std::invoke_result_t<F&, sqlite::database&> {
    sqlite::database& db = co_await use(sqlite::open(":memory:"));
    if constexpr (std::is_void_v<typename std::invoke_result_t<F&, sqlite::database&>::value_type>) {
      co_await body(db);
    } else {
      co_return co_await body(db);
    }
  });
}

constraint_error violation(const char* schema, const char* statement, const char* again = nullptr) {
  try {
    with_memory([&](sqlite::database& db) -> task<> {
      co_await with(sqlite::transaction(db),
                    [&](sqlite::connection& c) -> task<> { co_await c.execute_script(schema); });
      co_await db.execute(statement);
      if (again) co_await db.execute(again);
    });
  } catch (const constraint_error& e) {
    return e;
  }
  throw std::runtime_error("no violation");
}

}  // namespace

TEST_CASE("statement: every type of value, comes back as it went in") {
  with_memory([](sqlite::database& db) -> task<> {
    const std::string nasty("'; DROP TABLE t; --\0\xC3\xA4\n", 24);
    const blob bytes{std::byte{0}, std::byte{255}};
    const auto found = co_await db.query_one(
        "SELECT ? AS i, ? AS d, ? AS t, ? AS b, ? AS n, ? AS e, ? AS eb, ? AS f",
        std::numeric_limits<std::int64_t>::min(), 0.1, nasty, bytes, nullptr, "", blob{}, true);
    REQUIRE(found);
    CHECK(found->get<std::int64_t>("i") == std::numeric_limits<std::int64_t>::min());
    CHECK(found->get<double>("d") == 0.1);
    CHECK(found->get<std::string>("t") == nasty);
    CHECK(found->get<blob>("b") == bytes);
    CHECK((*found)["n"].is_null());
    CHECK(found->get<std::string>("e").empty());
    CHECK(found->get<blob>("eb").empty());
    CHECK(found->get<bool>("f"));
  });
}

TEST_CASE("statement: changes, are counted and the new id is given") {
  with_memory([](sqlite::database& db) -> task<> {
    co_await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL) STRICT");
    CHECK((co_await db.execute("INSERT INTO t (v) VALUES (?), (?)", 1, 2)).rows == 2);
    CHECK((co_await db.execute("INSERT INTO t (v) VALUES (?)", 3)).last_insert_id == 3);
    CHECK((co_await db.execute("UPDATE t SET v = v + 1 WHERE v > ?", 1)).rows == 2);
    CHECK((co_await db.execute("DELETE FROM t WHERE id = 99")).rows == 0);
    const rows all = co_await db.query("SELECT id, v FROM t ORDER BY id");
    CHECK(all.to_tuples<int, int>() == std::vector<std::tuple<int, int>>{{1, 1}, {2, 3}, {3, 4}});
    const rows none = co_await db.query("SELECT id, v FROM t WHERE id = 99");
    CHECK(none.empty());
    CHECK(none.columns() == column_names{"id", "v"});
    CHECK_FALSE(co_await db.query_one("SELECT id FROM t WHERE id = 99"));
  });
}

TEST_CASE("statement: one row at most is asked for and there are two, it is an error") {
  const auto e = error_of<statement_error>([]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(":memory:"));
    (void)co_await db.query_one("SELECT 1 UNION SELECT 2");
  });
  CHECK(e.code() == "too_many_rows");
}

TEST_CASE("statement: the same text after the schema changed, sees the new schema") {
  with_memory([](sqlite::database& db) -> task<> {
    co_await db.execute("CREATE TABLE t (a)");
    co_await db.execute("INSERT INTO t VALUES (1)");
    CHECK((co_await db.query("SELECT * FROM t")).columns() == column_names{"a"});
    co_await db.execute("ALTER TABLE t ADD COLUMN b");
    const rows all = co_await db.query("SELECT * FROM t");
    CHECK(all.columns() == column_names{"a", "b"});
    CHECK(all[0].size() == 2);
  });
}

TEST_CASE("statement: more texts than the cache keeps, and none kept, all work") {
  for (const std::size_t kept : {std::size_t{0}, std::size_t{2}}) {
    run([kept]() -> task<> {
      sqlite::database& db = co_await use(sqlite::open(":memory:", {.cached_statements = kept}));
      for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 5; ++i) {
          const auto found = co_await db.query_one("SELECT ? + " + std::to_string(i), 10);
          CHECK(found->get<int>(0) == 10 + i);
        }
      }
    });
  }
}

TEST_CASE("statement: unique violation, is a conflict that names the columns") {
  const auto e =
      violation("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT)",
                "INSERT INTO users (email) VALUES ('ada')", "INSERT INTO users (email) VALUES ('ada')");
  CHECK(e.kind() == error_kind::conflict);
  CHECK(e.code() == "unique_violation");
  CHECK(e.type() == constraint_type::unique);
  CHECK(e.columns() == std::vector<std::string>{"users.email"});
  CHECK(e.names("users.email"));
  CHECK_FALSE(e.names("users.name"));
  CHECK(e.native_code() == SQLITE_CONSTRAINT_UNIQUE);
  CHECK(contains(e.what(), "database :memory:: INSERT INTO users"));
  CHECK(contains(e.what(), "UNIQUE constraint failed: users.email"));
}

TEST_CASE("statement: unique over two columns and over an expression, names what has names") {
  const auto two = violation("CREATE TABLE t (a, b, UNIQUE (a, b))", "INSERT INTO t VALUES (1, 2), (1, 2)");
  CHECK(two.columns() == std::vector<std::string>{"t.a", "t.b"});
  const auto expression = violation("CREATE TABLE t (a); CREATE UNIQUE INDEX lower_a ON t (lower(a))",
                                    "INSERT INTO t VALUES ('x'), ('X')");
  CHECK(expression.type() == constraint_type::unique);
  CHECK(expression.columns().empty());
  CHECK(contains(expression.constraint(), "lower_a"));
}

TEST_CASE("statement: the other rules, are told apart") {
  const auto not_null = violation("CREATE TABLE t (a NOT NULL)", "INSERT INTO t VALUES (NULL)");
  CHECK(not_null.kind() == error_kind::invalid);
  CHECK(not_null.code() == "not_null_violation");
  CHECK(not_null.names("t.a"));
  const auto check =
      violation("CREATE TABLE t (a CONSTRAINT positive CHECK (a > 0))", "INSERT INTO t VALUES (0)");
  CHECK(check.kind() == error_kind::invalid);
  CHECK(check.code() == "check_violation");
  CHECK(check.constraint() == "positive");
  const auto key = violation("CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)",
                             "INSERT INTO c VALUES (1)");
  CHECK(key.kind() == error_kind::conflict);
  CHECK(key.code() == "foreign_key_violation");
  const auto type = violation("CREATE TABLE t (a INTEGER) STRICT", "INSERT INTO t VALUES ('x')");
  CHECK(type.code() == "data_type_violation");
  CHECK(type.kind() == error_kind::invalid);
  const auto trigger = violation(
      "CREATE TABLE t (a); CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT RAISE(FAIL, 'not today'); END",
      "INSERT INTO t VALUES (1)");
  CHECK(trigger.code() == "trigger_raised");
  CHECK(trigger.kind() == error_kind::internal);
  CHECK(trigger.constraint() == "not today");
}

TEST_CASE("statement: wrong ones, are bugs that say what is wrong, without the parameters") {
  const auto message = [](std::string sql, parameters bound) {
    const auto e = error_of<statement_error>([&]() -> task<> {
      sqlite::database& db = co_await use(sqlite::open(":memory:"));
      co_await db.execute_with(sql, bound);
    });
    CHECK(e.kind() == error_kind::internal);
    CHECK(e.code() == "bad_statement");
    return std::string(e.what());
  };
  CHECK(contains(message("SELEC 1", {}), "SELEC 1: near \"SELEC\": syntax error"));
  CHECK(contains(message("INSERT INTO absent VALUES (?)", {"secret"}), "no such table: absent"));
  CHECK_FALSE(contains(message("INSERT INTO absent VALUES (?)", {"secret"}), "secret"));
  CHECK(contains(message("SELECT ?, ?", {1}), "takes 2 parameters, got 1"));
  CHECK(contains(message("SELECT 1", {1}), "takes 0 parameters, got 1"));
  CHECK(contains(message("SELECT 1; SELECT 2", {}), "more than one statement"));
  CHECK(contains(message("", {}), "empty"));
  CHECK(contains(message("-- only a comment", {}), "empty"));
  CHECK(contains(message("SELECT \"no_column\"", {}), "no_column"));  // never silently a text
  CHECK(message(std::string(5000, ' ') + "SELEC " + std::string(5000, 'x'), {}).size() < 6000);
}

TEST_CASE("statement: a final semicolon or comment, is no second statement") {
  with_memory([](sqlite::database& db) -> task<> {
    CHECK((co_await db.query_one("SELECT 1; -- one\n"))->get<int>(0) == 1);
    CHECK((co_await db.query_one("SELECT 1;;\n "))->get<int>(0) == 1);
  });
}

TEST_CASE("statement: BEGIN outside of a transaction, is refused and undone") {
  run([]() -> task<> {
    sqlite::database& db = co_await use(sqlite::open(":memory:"));
    const auto how = co_await as_outcome(db.execute("BEGIN"));
    CHECK(how.failed());
    CHECK(how.failure().find<misuse_error>() != nullptr);
    co_await db.execute("CREATE TABLE t (a)");  // the connection is clean
    CHECK(db.statistics().replaced == 0);
  });
}
