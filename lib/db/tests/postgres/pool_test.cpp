// SPDX-License-Identifier: Apache-2.0
// The pool by itself, on connections that are not there: patience, and what is taken back.

#include <doctest/doctest.h>

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"
#include "postgres/pool.hpp"

using namespace postgres_tests;

namespace {

struct world {
  fake_server server;
  belay::testing::test_loop loop;

  template <class F>
  void with_pool(pg::options set, F body) {
    loop.run(b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), set),
                     [&body](pg::database& db) -> b::task<> { co_await body(db); }));
    CHECK(server.open_lines == 0);
  }
};

template <class T>
b::task<pg::connection_error> refusal(b::task<T> op) {
  b::outcome<T> how = co_await b::as_outcome(std::move(op));
  REQUIRE(how.failed());
  const b::failure why = how.failure();
  const auto* found = why.template find<pg::connection_error>();
  REQUIRE(found != nullptr);
  co_return *found;
}

}  // namespace

TEST_CASE("postgres pool: tries again while the server is away, and then works") {
  world w;
  w.server.refusals = 5;
  w.with_pool({}, [&w](pg::database& db) -> b::task<> {
    CHECK(w.server.tries == 6);
    CHECK(db.statistics().failures == 5);
    CHECK(db.statistics().opened == 1);
    co_return;
  });
}

TEST_CASE("postgres pool: gives up in time, and tells the last reason") {
  world w;
  w.with_pool({.min_connections = 0, .acquire_limit = 2s}, [&w](pg::database& db) -> b::task<> {
    w.server.refusals = 1'000'000;
    const b::time_point began = b::now();
    const pg::connection_error away = co_await refusal(db.query("SELECT 1"));
    CHECK(b::now() - began <= 2s);
    CHECK(b::now() - began >= 500ms);
    CHECK(away.code() == "server_away");
    CHECK(std::string(away.what()).find("refused by the fake server") != std::string::npos);
    CHECK(w.server.tries < 100);
    w.server.refusals = 0;
    CHECK((co_await db.query_one("SELECT count(*)"))->get<int>(0) == 0);
  });
}

TEST_CASE("postgres pool: what will not pass is not tried again") {
  world w;
  w.with_pool({.min_connections = 0}, [&w](pg::database& db) -> b::task<> {
    w.server.refusals = 1'000'000;
    w.server.refused_as = b::error_kind::unauthenticated;
    CHECK((co_await refusal(db.query("SELECT 1"))).code() == "refused");
    CHECK(w.server.tries == 1);
  });
}

TEST_CASE("postgres pool: a connection that comes back in a transaction is not handed out again") {
  world w;
  w.with_pool({.max_connections = 1}, [&w](pg::database& db) -> b::task<> {
    {
      const pg::detail::lease taken = co_await db.pool()->acquire();
      std::vector<pg::statement> begin;
      begin.push_back({"BEGIN"});
      static_cast<void>(co_await pg::detail::run_batch(taken.connection(), std::move(begin)));
    }
    CHECK(db.statistics().replaced == 1);
    CHECK(w.server.open_lines == 0);
    co_await b::with(pg::transaction(db),
                     [](pg::connection& c) -> b::task<> { co_await c.execute("INSERT 1"); });
    CHECK(w.server.begun_twice == 0);
    CHECK(w.server.rows == 1);
  });
}

TEST_CASE("postgres pool: who is cancelled in line or while connecting leaves nothing") {
  world w;
  w.with_pool({.max_connections = 1, .min_connections = 0}, [](pg::database& db) -> b::task<> {
    const auto none = co_await b::move_on_after(1ms, db.query("SELECT 1"));  // connecting takes 2 ms
    CHECK(!none.has_value());
    CHECK(db.statistics().in_use == 0);
    co_await b::with(pg::transaction(db), [&db](pg::connection&) -> b::task<> {
      CHECK(!(co_await b::move_on_after(10ms, db.query("SELECT 1"))).has_value());
      CHECK(db.statistics().waiting == 0);
      CHECK(db.statistics().in_use == 1);
    });
    CHECK((co_await db.query_one("SELECT count(*)"))->get<int>(0) == 0);
  });
}

TEST_CASE("postgres pool: idle connections are looked at after a while, and replaced when they are old") {
  world w;
  w.with_pool({.max_connections = 1, .max_lifetime = 1min, .check_after = 1s},
              [&w](pg::database& db) -> b::task<> {
                static_cast<void>(co_await db.query("SELECT 1"));
                co_await b::sleep_for(5s);
                w.server.cut_all(false);
                static_cast<void>(co_await db.query("SELECT 1"));
                CHECK(db.statistics().replaced == 1);
                co_await b::sleep_for(2min);
                static_cast<void>(co_await db.query("SELECT 1"));
                CHECK(db.statistics().replaced == 2);
                CHECK(db.statistics().opened == 3);
              });
}
