// SPDX-License-Identifier: Apache-2.0
// BEGIN travels with the first statement: how often the server is waited for, and what happens when BEGIN fails.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"

using namespace postgres_tests;

namespace {

template <class F>
void with_database(fake_server& server, F body) {
  belay::testing::test_loop loop;
  loop.run(b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), {}),
                   [&body](pg::database& db) -> b::task<> {
                     co_await body(db);
                     CHECK(db.statistics().replaced == 0);
                     CHECK(db.statistics().transactions == 0);
                   }));
  CHECK(server.open_lines == 0);
  CHECK(server.begun_twice == 0);
}

b::task<> run_in(pg::connection on, std::string sql) { co_await on.execute(sql); }

template <class T>
b::task<std::string> code_of(b::task<T> op) {
  const b::outcome<T> how = co_await b::as_outcome(std::move(op));
  if (how.succeeded()) co_return "";
  const b::failure why = how.failure();
  const auto* known = why.template find<b::error>();
  co_return known == nullptr ? why.type_name() : std::string(known->code());
}

}  // namespace

TEST_CASE("postgres transaction: as many round trips as statements, and one for the commit") {
  fake_server server;
  with_database(server, [&server](pg::database& db) -> b::task<> {
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      for (int i = 0; i < 5; ++i) co_await c.execute("INSERT 1");
    });
    CHECK(server.exchanges == 6);
    CHECK(server.rows == 5);
    server.exchanges = 0;
    const auto found =
        co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<std::vector<pg::result>> {
          pg::pipeline all;
          all.add("INSERT 1");
          all.add("SELECT count(*)");
          co_return co_await c.run(std::move(all));
        });
    CHECK(found.size() == 2);  // not BEGIN's
    CHECK(found[1].rows.size() == 1);
    CHECK(server.exchanges == 2);
    CHECK(server.rows == 6);
    server.exchanges = 0;
    co_await b::with(pg::transaction(db), [](pg::connection&) -> b::task<> { co_return; });
    const auto failed = [](pg::connection&) -> b::task<> {
      co_await b::sleep_for(1ms);
      throw std::runtime_error("of the block");
    };
    CHECK(co_await code_of(b::with(pg::transaction(db), failed)) == "std::runtime_error");
    CHECK(server.exchanges == 0);
  });
}

TEST_CASE("postgres transaction: statements side by side begin it once") {
  fake_server server;
  with_database(server, [&server](pg::database& db) -> b::task<> {
    co_await b::with(pg::transaction(db), [](pg::connection& c) -> b::task<> {
      co_await b::with_group([&c](b::group& both) -> b::task<> {
        both.spawn(run_in, c, "INSERT 1");
        both.spawn(run_in, c, "INSERT 2");
        co_return;
      });
    });
    CHECK(server.rows == 2);
    CHECK(server.exchanges == 3);
  });
}

TEST_CASE(
    "postgres transaction: when BEGIN is refused, no statement runs outside of a transaction [row 286]") {
  fake_server server;
  with_database(server, [&server](pg::database& db) -> b::task<> {
    server.refuses_begin = true;
    std::vector<std::string> codes;
    const auto goes_on = [&codes](pg::connection& c) -> b::task<> {
      for (int i = 0; i < 2; ++i) codes.push_back(co_await code_of(c.execute("INSERT 1")));
    };
    CHECK(co_await code_of(b::with(pg::transaction(db), goes_on)) == "transaction_lost");
    CHECK(codes == std::vector<std::string>{"refused", "transaction_lost"});
    CHECK(server.rows == 0);
    const auto leaves = [](pg::connection& c) -> b::task<> { co_await c.execute("INSERT 1"); };
    CHECK(co_await code_of(b::with(pg::transaction(db), leaves)) == "refused");
    server.refuses_begin = false;
    co_await b::with(pg::transaction(db), leaves);
    CHECK(server.rows == 1);
  });
}

TEST_CASE(
    "postgres transaction: when the first statement is cancelled with BEGIN, the rest does not run either [row 286]") {
  fake_server server;
  with_database(server, [&server](pg::database& db) -> b::task<> {
    std::string next;
    const auto impatient = [&next](pg::connection& c) -> b::task<> {
      CHECK_FALSE((co_await b::move_on_after(1ms, c.execute("INSERT 1"))).has_value());
      next = co_await code_of(c.execute("INSERT 2"));
    };
    CHECK(co_await code_of(b::with(pg::transaction(db), impatient)) == "transaction_lost");
    CHECK(next == "transaction_lost");
    CHECK(server.rows == 0);
  });
}
