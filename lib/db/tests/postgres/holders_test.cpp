// SPDX-License-Identifier: Apache-2.0
// Who has a connection of PostgreSQL, since when and where: on request, when it takes long, and at the end.

#include <doctest/doctest.h>

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/postgres/transaction.hpp>
#include <belay/testing/test_loop.hpp>

#include "fake_lines.hpp"

using namespace postgres_tests;

namespace {

BELAY_CORO_WRAPPER b::managed<pg::database> open_fake(fake_server& server, pg::options set) {
  return pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}), std::move(set));
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

b::task<> hold(pg::database db, b::duration length, unsigned* line = nullptr) {
  if (line != nullptr) *line = std::source_location::current().line() + 1;
  co_await b::with(pg::transaction(db),
                   [length](pg::connection&) -> b::task<> { co_await b::sleep_for(length); });
}

b::task<> ask(pg::database db, unsigned& line) {
  line = std::source_location::current().line() + 1;
  static_cast<void>(co_await db.query("SELECT 1"));
}

}  // namespace

TEST_CASE("postgres holders: the task, the place of the statement or transaction, and for how long") {
  fake_server server;
  belay::testing::test_loop loop;
  loop.run(b::with(open_fake(server, {.max_connections = 3}), [](pg::database& db) -> b::task<> {
    static_cast<void>(co_await db.query("SELECT 1"));
    CHECK(db.holders().empty());
    co_await b::with_group([&db](b::group& g) -> b::task<> {
      unsigned held_at = 0;
      unsigned asked_at = 0;
      g.spawn(hold, db, 10s, &held_at).named("purge");
      co_await b::sleep_for(5s);
      g.spawn(ask, db, std::ref(asked_at));
      co_await b::sleep_for(3ms);  // connecting takes 2 ms, the statement as long
      const auto who = db.holders();
      REQUIRE(who.size() == 2);
      CHECK(who[0].task == "task 'purge'");
      CHECK(who[0].taken_at.line() == held_at);
      CHECK(contains(who[0].taken_at.file_name(), "holders_test.cpp"));
      CHECK(who[0].held > 4s);
      CHECK(contains(who[1].task, "the task spawned at holders_test.cpp:"));
      CHECK(who[1].taken_at.line() == asked_at);
    });
    CHECK(db.holders().empty());
    pg::pipeline two;
    two.add("SELECT 1");
    two.add("SELECT 2");
    static_cast<void>(co_await db.run(std::move(two)));
  }));
  CHECK(server.open_lines == 0);
}

TEST_CASE("postgres holders: who waits in vain is told who holds the others longest") {
  fake_server server;
  belay::testing::test_loop loop;
  loop.run(b::with(open_fake(server, {.max_connections = 1, .acquire_limit = 1s}),
                   [](pg::database& db) -> b::task<> {
                     co_await b::with_group([&db](b::group& g) -> b::task<> {
                       g.spawn(hold, db, 10s, nullptr).named("purge");
                       co_await b::sleep_for(10ms);
                       const auto how = co_await b::as_outcome(db.query("SELECT 1"));
                       const b::failure why = how.failure();
                       const auto* busy = why.find<belay::db::busy_error>();
                       REQUIRE(busy != nullptr);
                       CHECK(busy->code() == "no_connection_free");
                       CHECK(contains(busy->what(), "pool 'postgresql://fake'"));
                       CHECK(contains(busy->what(), "1 of 1 in use"));
                       CHECK(contains(busy->what(), "held longest by task 'purge' for 1"));
                       CHECK(contains(busy->what(), "taken at holders_test.cpp:"));
                     });
                   }));
}

TEST_CASE("postgres holders: a connection that is held for long is told of, once") {
  fake_server server;
  belay::testing::test_loop loop;
  loop.run(b::with(open_fake(server, {.leak_after = 10s}), [&loop](pg::database& db) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, db, 1min, nullptr).named("purge");
      co_await b::sleep_for(9s);
      CHECK(loop.diagnostics().empty());
      co_await b::sleep_for(30s);
      REQUIRE(loop.diagnostics().size() == 1);
      CHECK(loop.diagnostics()[0].kind == b::diagnostic_kind::lease_held);
      CHECK(contains(loop.diagnostics()[0].message,
                     "pool 'postgresql://fake': a connection is held by task 'purge'"));
    });
    CHECK(loop.diagnostics().size() == 2);  // and when it came back
  }));
}

TEST_CASE("postgres holders: closing waits for them, and names those that keep a connection [row 285]") {
  fake_server server;
  belay::testing::test_loop loop;
  loop.run([](fake_server& at) -> b::task<> {
    co_await b::with_group([&at](b::group& g) -> b::task<> {
      const auto how = co_await b::as_outcome(b::with(open_fake(at, {}), [&g](pg::database& db) -> b::task<> {
        g.spawn(hold, db, 1min, nullptr).named("forgetful");
        g.spawn(
            [](pg::database on) -> b::task<> {
              co_await b::sleep_for(2s);  // when it is closing
              const auto refused = co_await b::as_outcome(on.query("SELECT 1"));
              const b::failure why = refused.failure();
              const auto* closed = why.find<belay::db::closed_error>();
              REQUIRE(closed != nullptr);
              CHECK(closed->kind() == b::error_kind::unavailable);
              CHECK(std::string(closed->what()) == "database postgresql://fake: it is closed or closing");
            },
            db);
        co_await b::sleep_for(1s);
      }));
      const b::failure why = how.failure();
      const auto* held = why.find<belay::db::error>();
      REQUIRE(held != nullptr);
      CHECK(held->code() == "connections_held");
      CHECK(contains(held->what(), "held by task 'forgetful' for"));
      CHECK(contains(held->what(), "taken at holders_test.cpp:"));
    });
  }(server));
  CHECK(server.open_lines == 0);  // dropped when it was given back
}

TEST_CASE("postgres pool: no more tasks wait than max_waiting") {
  fake_server server;
  belay::testing::test_loop loop;
  loop.run(
      b::with(open_fake(server, {.max_connections = 1, .max_waiting = 1}), [](pg::database& db) -> b::task<> {
        co_await b::with_group([&db](b::group& g) -> b::task<> {
          g.spawn(hold, db, 1s, nullptr);
          g.spawn(hold, db, 1s, nullptr);
          co_await b::sleep_for(10ms);
          const auto how = co_await b::as_outcome(db.query("SELECT 1"));
          const b::failure why = how.failure();
          const auto* busy = why.find<belay::db::busy_error>();
          REQUIRE(busy != nullptr);
          CHECK(busy->code() == "too_many_waiting");
          CHECK(busy->kind() == b::error_kind::overloaded);
        });
      }));
}

TEST_CASE("postgres options: those out of range are refused before anything is opened") {
  fake_server server;
  belay::testing::test_loop loop;
  for (const pg::options& wrong :
       {pg::options{.max_connections = 0}, pg::options{.max_connections = 1, .min_connections = 2},
        pg::options{.acquire_limit = 0s}, pg::options{.idle_timeout = 0s}, pg::options{.check_after = -1s},
        pg::options{.leak_after = 0s}}) {
    loop.run([](fake_server& at, const pg::options& set) -> b::task<> {
      const auto how =
          co_await b::as_outcome(b::with(open_fake(at, set), [](pg::database&) -> b::task<> { co_return; }));
      const b::failure why = how.failure();
      const auto* refused = why.find<belay::db::error>();
      REQUIRE(refused != nullptr);
      CHECK(refused->code() == "bad_options");
    }(server, wrong));
  }
  CHECK(server.tries == 0);
}
