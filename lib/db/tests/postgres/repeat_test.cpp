// SPDX-License-Identifier: Apache-2.0
// Transactions of PostgreSQL that are run again, and those that never are, on connections that are not there.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
#include <belay/db/postgres/listen.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/errors/classify.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"

using namespace postgres_tests;

namespace {

template <class F>
void with_database(fake_server& server, F body) {
  belay::testing::test_loop loop;
  loop.run(b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), {}),
                   [&body](pg::database& db) -> b::task<> { co_await body(db); }));
  CHECK(server.open_lines == 0);
}

b::task<> run_in(pg::connection on, std::string sql) { co_await on.execute(sql); }

}  // namespace

TEST_CASE("postgres repeatable: a block whose statements run side by side is run again after a conflict") {
  fake_server server;
  with_database(server, [](pg::database& db) -> b::task<> {
    int runs = 0;
    co_await pg::repeatable(db, [&runs](pg::connection& c) -> b::task<> {
      const bool first = ++runs == 1;
      co_await b::with_group([&c, first](b::group& g) -> b::task<> {
        g.spawn(run_in, c, first ? "CONFLICT" : "INSERT 1");
        g.spawn(run_in, c, "INSERT 2");
        co_return;
      });
    });
    CHECK(runs == 2);
  });
  CHECK(server.rows == 2);
  CHECK(server.begun_twice == 0);
}

TEST_CASE(
    "postgres repeatable: gives up after its attempts, with the conflicts; a commit that is unknown is not repeated "
    "[row 287]") {
  fake_server server;
  with_database(server, [](pg::database& db) -> b::task<> {
    int runs = 0;
    const auto conflict = [&runs](pg::connection& c) -> b::task<> {
      ++runs;
      co_await c.execute("CONFLICT");
    };
    const auto given_up =
        co_await b::as_outcome(pg::repeatable(db, conflict, {}, {.attempts = 3, .first_pause = 0ms}));
    CHECK(runs == 3);
    REQUIRE(given_up.failed());
    CHECK(belay::db::is_conflict(given_up.failure()));
    CHECK(given_up.failure().attached().size() == 2);
    const auto unknown = [&runs](pg::connection&) -> b::task<int> {
      ++runs;
      co_await b::sleep_for(1ms);
      throw pg::commit_unknown_error("unknown", "7");
    };
    const auto other = co_await b::as_outcome(pg::repeatable(db, unknown));
    CHECK(runs == 4);
    CHECK(other.failure().find<pg::commit_unknown_error>() != nullptr);
    CHECK_FALSE(b::is_retryable(other.failure()));
  });
  CHECK(server.rows == 0);
}

TEST_CASE("postgres listen: a server that lets us in and hangs up is not called without a pause") {
  fake_server server;
  with_database(server, [&server](pg::database& db) -> b::task<> {
    co_await b::with(pg::listen(db, {"news"}), [&server](b::open_stream<pg::notification>& all) -> b::task<> {
      const b::time_point began = b::now();
      int gaps = 0;
      server.cuts_listeners = true;
      while (b::now() - began < 20s) {
        const pg::notification* one = co_await all.next();
        REQUIRE(one != nullptr);
        CHECK(one->type == pg::notification_type::gap);
        ++gaps;
      }
      CHECK(gaps > 3);
      CHECK(gaps < 60);
    });
  });
}
