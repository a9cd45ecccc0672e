// SPDX-License-Identifier: Apache-2.0
// The end of a pool: leases are waited for, those who wait are told, and who does not give back is named.

#include "fake_connections.hpp"

using namespace pool_tests;

TEST_CASE("closing: waits for leases, tells those in line, refuses newcomers, closes all in good order") {
  clean_loop on;
  server s;
  bool told_in_line = false;
  bool refused_later = false;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      std::optional<pool> kept;
      co_await b::with(
          db::open_pool<connection>({.min = 2, .max = 2}, s.functions()), [&](pool& p) -> b::task<> {
            kept = p;
            for (int i = 0; i < 2; ++i) g.spawn(hold, p, 1s, nullptr, 0);
            g.spawn([&, p]() -> b::task<> {
              const auto how = co_await b::as_outcome(p.acquire());
              const b::failure why = how.failure();
              told_in_line = why.find<db::closed_error>() != nullptr && on.loop.elapsed() < 200ms;
            });
            co_await b::sleep_for(100ms);
            g.spawn([&, p]() -> b::task<> {
              co_await b::sleep_for(100ms);
              CHECK(told_in_line);
              const auto how = co_await b::as_outcome(p.acquire());
              const b::failure why = how.failure();
              const auto* e = why.find<db::closed_error>();
              refused_later = e != nullptr && e->kind() == b::error_kind::unavailable;
              CHECK_THROWS_AS(static_cast<void>(p.try_acquire()), db::closed_error);
            });
          });
      CHECK(on.loop.elapsed() == 1s + 11ms);
      CHECK(kept->statistics().total() == 0);
      const auto how = co_await b::as_outcome(kept->acquire());
      CHECK(how.failure().find<db::closed_error>() != nullptr);
    });
  });
  CHECK(told_in_line);
  CHECK(refused_later);
  CHECK(s.closings == 2);
  CHECK(s.open == 0);
}

TEST_CASE(
    "closing: leases that do not come back in time, the error names who has them, since when and where [row 285]") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto how = co_await b::as_outcome(
          b::with(db::open_pool<connection>({.name = "accounts", .min = 1}, s.functions()),
                  [&](pool& p) -> b::task<> {
                    g.spawn(hold, p, 1min, nullptr, 0).named("forgetful");
                    co_await b::sleep_for(1s);
                  }));
      const b::failure why = how.failure();
      const auto* e = why.find<db::error>();
      REQUIRE(e != nullptr);
      CHECK(e->code() == "connections_held");
      CHECK(contains(e->what(),
                     "pool 'accounts': close: 1 connections were not given back within 9000 ms:\n"
                     "  held by task 'forgetful' for 10 s, taken at fake_connections.hpp:"));
      CHECK(s.open == 1);  // it is still used
    });
    CHECK(s.open == 0);  // destroyed when it was given back
    CHECK(on.loop.elapsed() > 1min);
  });
  CHECK(s.closings == 0);
}

TEST_CASE("closing: a limit of its own for leases; the limit of the cleanup does not cut it short") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto how = co_await b::as_outcome(b::with(
          db::open_pool<connection>({.min = 1, .drain_limit = 2s}, s.functions()), [&](pool& p) -> b::task<> {
            g.spawn(hold, p, 1min, nullptr, 0);
            co_await b::sleep_for(1s);
          }));
      CHECK(how.failed());
      CHECK(contains(how.failure().message(), "within 2000 ms"));
      CHECK(on.loop.elapsed() == 3s + 10ms);
    });
  });
}

TEST_CASE("closing: the block failed, its error stays the first one [row 252]") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto how = co_await b::as_outcome(b::with(
          db::open_pool<connection>({.min = 1, .drain_limit = 1s}, s.functions()), [&](pool& p) -> b::task<> {
            g.spawn(hold, p, 10s, nullptr, 0);
            co_await b::sleep_for(1s);
            throw std::runtime_error("the block");
          }));
      const b::failure why = how.failure();
      CHECK(why.message() == "the block");
      REQUIRE(why.attached().size() == 1);
      CHECK(contains(why.attached()[0].message(), "connections were not given back"));
    });
  });
}

TEST_CASE("closing: connections that cannot say goodbye are closed all the same") {
  clean_loop on;
  server s;
  s.fails_closings = true;
  on.run([&]() -> b::task<> {
    co_await b::with(db::open_pool<connection>({.min = 2}, s.functions()),
                     [](pool&) -> b::task<> { co_return; });
  });
  CHECK(s.open == 0);
  s.fails_closings = false;
  s.close_takes = 1h;
  on.run([&]() -> b::task<> {
    co_await b::with(db::open_pool<connection>({.min = 2, .close_limit = 1s}, s.functions()),
                     [](pool&) -> b::task<> { co_return; });
  });
  CHECK(s.open == 0);
}

TEST_CASE("closing: closing that hangs beyond all limits ends with an error, and nothing is left") {
  clean_loop on;
  server s;
  s.close_takes = 1h;
  on.run([&]() -> b::task<> {
    const auto how = co_await b::as_outcome(
        b::with(db::open_pool<connection>({.min = 2, .close_limit = 2h}, s.functions()),
                [](pool&) -> b::task<> { co_return; }));
    const b::failure why = how.failure();
    const auto* e = why.find<db::error>();
    REQUIRE(e != nullptr);
    CHECK(e->code() == "close_overran");
  });
  CHECK(s.open == 0);
}

TEST_CASE("closing: a connection that is being opened just then is given up") {
  clean_loop on;
  server s;
  s.open_takes = 1min;
  on.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      co_await b::with(db::open_pool<connection>({.open_limit = 1h}, s.functions()),
                       [&](pool& p) -> b::task<> {
                         g.spawn([&, p]() -> b::task<> {
                           const auto how = co_await b::as_outcome(p.acquire());
                           CHECK(how.failure().find<db::closed_error>() != nullptr);
                         });
                         co_await b::sleep_for(1s);
                         CHECK(s.opening == 1);
                       });
      CHECK(on.loop.elapsed() == 1s);
      CHECK(s.opening == 0);
    });
  });
}

TEST_CASE("a lease outlives its pool, which was cancelled: the connection is destroyed with it") {
  clean_loop on;
  server s;
  lease kept;
  on.run([&]() -> b::task<> {
    const auto how = co_await b::as_outcome(b::move_on_after(
        5s, b::with(db::open_pool<connection>({.drain_limit = 1s}, s.functions()), [&](pool& p) -> b::task<> {
          kept = co_await p.acquire();
          co_await b::sleep_for(1h);
        })));
    CHECK(contains(how.failure().message(), "held by the main task for"));
  });
  CHECK(s.open == 1);
  kept.release();
  CHECK(s.open == 0);
}
