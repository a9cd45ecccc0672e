// SPDX-License-Identifier: Apache-2.0
// The pool by itself, on connections that are not there: patience, and what is taken back.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
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
                co_await b::sleep_for(70s);
                static_cast<void>(co_await db.query("SELECT 1"));
                CHECK(db.statistics().replaced == 2);
                CHECK(db.statistics().opened == 3);
              });
}

TEST_CASE("postgres pool: acquire_limit is kept when the network is silent, whatever was idle") {
  world w;
  w.with_pool({.max_connections = 10, .min_connections = 10, .acquire_limit = 5s, .check_after = 1s},
              [&w](pg::database& db) -> b::task<> {
                co_await b::sleep_for(1min);
                w.server.silent = true;
                w.server.refusals = 1'000'000;
                const b::time_point began = b::now();
                CHECK((co_await refusal(db.query("SELECT 1"))).code() == "server_away");
                CHECK(b::now() - began <= 5s);
                CHECK(db.statistics().idle == 0);
                CHECK(db.statistics().replaced == 10);
                w.server.silent = false;
                w.server.refusals = 0;
                CHECK((co_await db.query_one("SELECT count(*)"))->get<int>(0) == 0);
              });
}

TEST_CASE(
    "postgres pool: when all that was idle is lost without a word, a new connection is there after one check") {
  world w;
  w.with_pool({.max_connections = 10, .min_connections = 10, .check_after = 1s},
              [&w](pg::database& db) -> b::task<> {
                co_await b::sleep_for(1min);
                w.server.silent = true;  // for what is open now
                const b::time_point began = b::now();
                co_await b::with_group([&](b::group& g) -> b::task<> {
                  g.spawn(
                      [](fake_server& at) -> b::task<> {
                        co_await b::sleep_for(1s);
                        at.silent = false;
                      },
                      std::ref(w.server));
                  CHECK((co_await db.query_one("SELECT count(*)"))->get<int>(0) == 0);
                });
                CHECK(b::now() - began < 2s + 100ms);
                CHECK(db.statistics().replaced == 10);
              });
}

TEST_CASE("postgres pool: a server that takes longer to let us in than acquire_limit is away") {
  world w;
  w.with_pool({.min_connections = 0, .acquire_limit = 100ms}, [&w](pg::database& db) -> b::task<> {
    w.server.connecting_takes = 1h;
    const b::time_point began = b::now();
    const pg::connection_error away = co_await refusal(db.query("SELECT 1"));
    CHECK(b::now() - began == 100ms);
    CHECK(away.code() == "server_away");
    CHECK(std::string(away.what()).find("no connection within 100 ms") != std::string::npos);
  });
}

TEST_CASE(
    "postgres pool: a restart of the server is no error for who waits, also when all connections were lost") {
  world w;
  w.with_pool({.max_connections = 3, .acquire_limit = 10s}, [&w](pg::database& db) -> b::task<> {
    for (int round = 0; round < 3; ++round) {
      static_cast<void>(co_await db.query("SELECT 1"));
      w.server.cut_all(false);
      w.server.refusals = 4;
      co_await b::with_group([&db](b::group& g) -> b::task<> {
        for (int i = 0; i < 8; ++i) {
          g.spawn(
              [](pg::database on) -> b::task<> {
                CHECK((co_await on.query_one("SELECT count(*)"))->get<int>(0) == 0);
              },
              db);
        }
        co_return;
      });
    }
    CHECK(db.statistics().failures == 12);
  });
}

TEST_CASE("postgres pool: a server with no room for more is told as that, when the time is over") {
  world w;
  w.with_pool({.min_connections = 0, .acquire_limit = 2s}, [&w](pg::database& db) -> b::task<> {
    w.server.refusals = 1'000'000;
    w.server.refused_as = b::error_kind::overloaded;
    const pg::connection_error crowded = co_await refusal(db.query("SELECT 1"));
    CHECK(crowded.code() == "too_many_connections");
    CHECK(crowded.kind() == b::error_kind::overloaded);
  });
}

TEST_CASE(
    "postgres pool: who is cancelled while connecting does not cost a connection; idle ones go after a while") {
  world w;
  w.with_pool({.max_connections = 4, .min_connections = 1, .idle_timeout = 1min},
              [&w](pg::database& db) -> b::task<> {
                co_await b::with(pg::transaction(db), [&db](pg::connection&) -> b::task<> {
                  CHECK(!(co_await b::move_on_after(1ms, db.query("SELECT 1"))).has_value());
                  co_await b::sleep_for(10ms);
                  CHECK(db.statistics().idle == 1);  // for the next one
                });
                CHECK(w.server.open_lines == 2);
                co_await b::sleep_for(2min);
                CHECK(w.server.open_lines == 1);
                CHECK(db.statistics().replaced == 0);
              });
}

TEST_CASE("postgres pool: an idle connection that is known to be lost is not handed out, fresh as it is") {
  world w;
  w.with_pool({}, [&w](pg::database& db) -> b::task<> {
    for (int i = 0; i < 3; ++i) {
      static_cast<void>(co_await db.query("SELECT 1"));
      w.server.cut_all(false);
    }
    static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(db.statistics().replaced == 3);
  });
}
