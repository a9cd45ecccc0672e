// SPDX-License-Identifier: Apache-2.0
// Transactions under the drivers: whatever await is cancelled or fails, all or nothing is there, and the database can be used.

#include "support.hpp"

#include <belay/testing/everywhere.hpp>

#include <optional>

namespace sqlite = belay::db::sqlite;
namespace bt = belay::testing;
using belay::task;

namespace {

// A database that is open longer than the scenario, with one table.
struct kept_open {
  explicit kept_open(std::string name) : opening(sqlite::open(std::move(name))) {}
  belay::managed<sqlite::database> opening;
  std::optional<sqlite::database> db;

  task<> open() {
    db = co_await opening.open();
    co_await db->execute("CREATE TABLE t (i INTEGER)");
  }
  // Two rows, or none.
  task<> add_two() {
    co_await belay::with(sqlite::transaction(*db), [](sqlite::connection& c) -> task<> {
      co_await c.execute("INSERT INTO t VALUES (1)");
      co_await c.execute("INSERT INTO t VALUES (2)");
    });
  }
  task<std::int64_t> count() {
    co_return (co_await db->query_one("SELECT count(*) AS n FROM t"))->get<std::int64_t>("n");
  }
};

void run_on(const std::function<std::string()>& name) {
  const bt::report found = bt::everywhere([&name](bt::stage& s) -> task<> {
    auto& store = s.make<kept_open>(name());
    co_await s.undisturbed(store.open());
    s.expect("nothing is in use", [&store] {
      const sqlite::pool_statistics now = store.db->statistics();
      return now.in_use == 0 && now.transactions == 0 && now.waiting == 0;
    });
    s.expect("all or nothing is there", [&store, &s](const bt::run_end& how) {
      const std::int64_t rows = s.loop().run(store.count());
      return how.succeeded ? rows == 2 : rows == 0 || rows == 2;
    });
    s.afterwards([&store]() -> task<> {
      const std::int64_t before = co_await store.count();
      co_await store.add_two();
      if (co_await store.count() != before + 2) throw std::runtime_error("rows were lost");
    });
    co_await store.add_two();
  });
  CHECK_MESSAGE(found.ok(), found.text());
}

}  // namespace

TEST_CASE("transaction: cancelled or failed at any await, in memory") {
  run_on([] { return std::string(":memory:"); });
}

TEST_CASE("transaction: cancelled or failed at any await, in a file") {
  const db_test::temporary_directory place;
  run_on([&place, number = 0]() mutable { return place.file(std::to_string(number++)); });
}
