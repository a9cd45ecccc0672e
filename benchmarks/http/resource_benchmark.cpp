// SPDX-License-Identifier: Apache-2.0
// What a request pays for its dependencies: one managed resource, one transaction. Time is that of the whole process, because the statements
// run on another thread; allocations are those of the loop's thread.

#include <belay/core/managed.hpp>
#include <belay/db/sqlite/transaction.hpp>

#include "../core/measure.hpp"

namespace bench {
namespace {

namespace sqlite = belay::db::sqlite;
using belay::task;

struct session {
  int user = 0;
};

[[gnu::noinline]] belay::managed<session> open_session(int user) {
  const belay::exit_status how = co_yield session{user};
  benchmark::DoNotOptimize(how.succeeded());
}

[[gnu::noinline]] task<int> handler(int user) { co_return user; }

task<> no_dependency(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await handler(7));
  meter.report(state);
}

task<> dependency_with(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) {
    benchmark::DoNotOptimize(co_await belay::with(
        open_session(7), [](session& s) -> task<int> { co_return co_await handler(s.user); }));
  }
  meter.report(state);
}

[[gnu::noinline]] task<int> handler_that_uses() {
  session& s = co_await belay::use(open_session(7));
  co_return co_await handler(s.user);
}
task<> dependency_use(benchmark::State& state) {
  const allocation_meter meter;
  for (auto _ : state) benchmark::DoNotOptimize(co_await handler_that_uses());
  meter.report(state);
}

template <class Body>
task<> in_memory(benchmark::State& state, Body body) {
  co_await belay::with(sqlite::open(":memory:"), [&](sqlite::database& db) -> task<> {
    co_await db.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)");
    co_await db.execute("INSERT INTO accounts VALUES (1, 1000000000)");
    co_await body(db);
    const allocation_meter meter;
    for (auto _ : state) co_await body(db);
    meter.report(state);
  });
}

task<> statement(benchmark::State& state) {
  co_await in_memory(state, [](sqlite::database& db) -> task<> {
    benchmark::DoNotOptimize(co_await db.query_one("SELECT balance FROM accounts WHERE id = ?", 1));
  });
}

task<> empty_transaction(benchmark::State& state) {
  co_await in_memory(state, [](sqlite::database& db) -> task<> {
    co_await belay::with(sqlite::transaction(db), [](sqlite::connection&) -> task<> { co_return; });
  });
}

task<> transaction_of_one(benchmark::State& state) {
  co_await in_memory(state, [](sqlite::database& db) -> task<> {
    co_await belay::with(sqlite::transaction(db), [](sqlite::connection& c) -> task<> {
      co_await c.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", 1, 1);
    });
  });
}

BENCHMARK(on_belay<no_dependency>)->Name("handler/alone");
BENCHMARK(on_belay<dependency_with>)->Name("handler/one_managed_dependency_with");
BENCHMARK(on_belay<dependency_use>)->Name("handler/one_managed_dependency_use");
BENCHMARK(on_belay<statement>)->Name("sqlite/statement")->MeasureProcessCPUTime();
BENCHMARK(on_belay<empty_transaction>)->Name("sqlite/empty_transaction")->MeasureProcessCPUTime();
BENCHMARK(on_belay<transaction_of_one>)->Name("sqlite/transaction_of_one_update")->MeasureProcessCPUTime();

}  // namespace
}  // namespace bench
