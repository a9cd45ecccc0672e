// SPDX-License-Identifier: Apache-2.0
// Transfers of money on PostgreSQL, one after the other: time and processor time for each. The server's URL is the argument.

#include <sys/resource.h>

#include <belay/core/run.hpp>
#include <belay/core/time.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

namespace pg = belay::db::postgres;
using belay::task;

constexpr int warm_up = 500;
constexpr int transfers = 5000;

task<> transfer(pg::connection& c, int from, int to, int amount) {
  for (const int each : {from, to})
    co_await c.query_one("SELECT balance FROM transfer_accounts WHERE id = $1 FOR UPDATE", each);
  co_await c.execute("UPDATE transfer_accounts SET balance = balance - $1 WHERE id = $2", amount, from);
  co_await c.execute("UPDATE transfer_accounts SET balance = balance + $1 WHERE id = $2", amount, to);
  co_await c.execute("INSERT INTO transfer_log (sender, receiver, amount) VALUES ($1, $2, $3)", from, to,
                     amount);
}

task<> run_transfers(pg::database& db, int count) {
  for (int i = 0; i < count; ++i) {
    const auto one = [i](pg::connection& c) -> task<> { co_await transfer(c, i % 10, (i + 1) % 10, 1); };
    co_await belay::with(pg::transaction(db), one);
  }
}

double processor_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

task<> measure(pg::database& db) {
  co_await db.execute("DROP TABLE IF EXISTS transfer_accounts, transfer_log");
  co_await db.execute(
      "CREATE UNLOGGED TABLE transfer_accounts (id int PRIMARY KEY, balance bigint NOT NULL)");
  co_await db.execute("CREATE UNLOGGED TABLE transfer_log (sender int, receiver int, amount bigint)");
  co_await db.execute("INSERT INTO transfer_accounts SELECT i, 1000000 FROM generate_series(0, 9) AS i");
  co_await run_transfers(db, warm_up);
  const double used = processor_seconds();
  const belay::time_point began = belay::now();
  co_await run_transfers(db, transfers);
  const std::chrono::duration<double, std::micro> took = belay::now() - began;
  std::printf("%d transfers: %.1f us each, of them %.1f us of this process's processor time\n", transfers,
              took.count() / transfers, (processor_seconds() - used) * 1e6 / transfers);
  co_await db.execute("DROP TABLE transfer_accounts, transfer_log");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fputs("usage: belay_db_transfer_benchmark postgresql://user@host:port/database\n", stderr);
    return EXIT_FAILURE;
  }
  belay::run(belay::with(pg::open(arguments[1], {.max_connections = 1}), measure));
  return EXIT_SUCCESS;
}
