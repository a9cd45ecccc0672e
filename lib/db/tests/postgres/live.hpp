// SPDX-License-Identifier: Apache-2.0
#pragma once
// A database on a real server, for one test.

#include <belay/core/failure.hpp>
#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/database.hpp>
#include <belay/db/postgres/transaction.hpp>

#include <optional>
#include <string>
#include <utility>

#include "fault_proxy.hpp"
#include "postgres_server.hpp"

namespace postgres_tests {

namespace b = belay;
namespace pg = belay::db::postgres;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

// Runs `body(database&)` on a loop of its own; bounded, so that a hang is a failure.
template <class F>
void with_database(const std::string& url, pg::options set, F body) {
  b::loop loop;
  loop.run(
      b::with_timeout(50s, b::with(pg::open(url, std::move(set)), [&body](pg::database& db) -> b::task<> {
                        co_await body(db);
                        const pg::pool_statistics after = db.statistics();
                        CHECK(after.in_use == 0);
                        CHECK(after.waiting == 0);
                        CHECK(after.transactions == 0);
                      })));
}

// The error of a task that must fail, as `E`; its failure is looked at.
template <class E, class T>
b::task<E> error_of(b::task<T> op) {
  b::outcome<T> how = co_await b::as_outcome(std::move(op));
  if (!how.failed()) throw std::logic_error("it should have failed");
  const b::failure why = how.failure();
  const auto* found = why.template find<E>();
  if (found == nullptr) throw std::logic_error("another error: " + why.type_name() + ": " + why.message());
  co_return *found;
}

inline b::task<std::int64_t> number(pg::database db, std::string sql) {
  co_return (co_await db.query_one(sql))->get<std::int64_t>(0);
}

inline double seconds_since(steady::time_point began) {
  return std::chrono::duration<double>(steady::now() - began).count();
}

}  // namespace postgres_tests
