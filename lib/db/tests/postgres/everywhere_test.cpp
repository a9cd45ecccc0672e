// SPDX-License-Identifier: Apache-2.0
// Pool and transactions, cancelled and failed at every await, in many schedules, and all connections cut at every await.

#include "driven.hpp"

#include <belay/core/group.hpp>
#include <belay/db/postgres/transaction.hpp>

#include "fake_lines.hpp"

using namespace postgres_tests;
namespace t = belay::testing;

namespace {

b::task<> two_rows(pg::database db) {
  co_await b::with(pg::transaction(std::move(db)), [](pg::connection& c) -> b::task<> {
    co_await c.execute("INSERT 1");
    co_await c.execute("SET ROLE other");
    co_await c.execute("INSERT 2");
  });
}

template <class F>
b::task<> with_pool(fake_server& server, F body) {
  co_await b::with(pg::detail::open_on(std::shared_ptr<pg::detail::connector>(&server, [](auto*) {}),
                                       {.max_connections = 2}),
                   [&body](pg::database& db) -> b::task<> { co_await body(db); });
}

b::task<> scenario(t::stage& s) {
  auto& server = s.make<fake_server>();
  s.expect("no connection is left", [&server] { return server.open_lines == 0; });
  s.expect("connections come clean", [&server] { return server.begun_twice == 0; });
  s.expect("sessions come clean", [&server] { return server.strayed == 0; });
  s.expect("all or nothing", [&server] { return server.rows == 0 || server.rows == 2 || server.rows == 4; });
  co_await with_pool(server, [](pg::database& db) -> b::task<> {
    co_await b::with_group([&db](b::group& both) -> b::task<> {
      both.spawn(two_rows, db);
      both.spawn(two_rows, db);
      co_await db.query("SELECT count(*)");
    });
    CHECK(db.statistics().in_use == 0);
    CHECK(db.statistics().transactions == 0);
  });
}

}  // namespace

TEST_CASE("everywhere: a pool of PostgreSQL connections and its transactions [row 286]") {
  core_tests::drive("postgres", scenario);
}

TEST_CASE(
    "everywhere: connections to PostgreSQL are cut at every await; what a commit says is true [row 287]") {
  for (const bool done : {false, true}) {
    const t::report found = t::disturb_everywhere(
        [done](t::stage& s) -> b::task<> {
          auto& server = s.make<fake_server>();
          s.expect("no connection is left", [&server] { return server.open_lines == 0; });
          s.disturbance([&server, done] { server.cut_all(done); });
          co_await with_pool(server, [&server, &s](pg::database& db) -> b::task<> {
            for (int round = 0; round < 2; ++round) {
              const int before = server.rows;
              const b::outcome<void> how = co_await b::as_outcome(two_rows(db));
              if (how.failed()) {
                const b::failure why = how.failure();
                const auto* lost = why.find<belay::db::error>();
                CHECK_MESSAGE(lost != nullptr, why.message());
                why.observe();
              }
              CHECK(server.rows == before + (how.succeeded() ? 2 : 0));
            }
            s.disturbance({});
            const auto n = co_await db.query_one("SELECT count(*)");
            CHECK(n->get<int>(0) == server.rows);
            CHECK(db.statistics().in_use == 0);
          });
        },
        {.name = "postgres cut"});
    CHECK_MESSAGE(found.ok(), found.text());
  }
}
