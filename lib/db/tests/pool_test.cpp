// SPDX-License-Identifier: Apache-2.0
// Connections by turns: order, limits, cancellation in line, checks, resets, lifetimes, leaks.

#include <belay/core/loop.hpp>

#include "fake_connections.hpp"

using namespace pool_tests;

namespace {
b::task<> hold_for(pool from, b::duration length) { co_await hold(from, length); }
}  // namespace

TEST_CASE("acquire: opens a connection when it is needed, and hands the same one out again") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({}, s.functions()));
    CHECK(s.attempts == 0);
    {
      const lease c = co_await p.acquire();
      CHECK(c->number == 1);
      CHECK(p.statistics().in_use == 1);
    }
    CHECK(p.statistics().idle == 1);
    const lease again = co_await p.acquire();
    CHECK((*again).number == 1);
    CHECK(s.attempts == 1);
    CHECK(p.statistics().acquired == 2);
  });
  CHECK(s.open == 0);
  CHECK(s.closings == 1);
}

TEST_CASE(
    "acquire: one connection is opened for each who waits, not more than max, first come first served [row 220]") {
  clean_loop on;
  server s;
  std::vector<int> order;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 3}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 9; ++i) g.spawn(hold, p, 100ms, &order, i);
      co_await b::sleep_for(5ms);
      CHECK(p.statistics().opening == 3);
      CHECK(p.statistics().waiting == 9);
      co_await b::sleep_for(10ms);
      CHECK(p.statistics().in_use == 3);
      CHECK(p.statistics().waiting == 6);
    });
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
    CHECK(p.statistics().longest_wait == 210ms);
  });
  CHECK(s.opened == 3);
  CHECK(s.most_open == 3);
}

TEST_CASE("acquire: nobody overtakes those who wait, not even try_acquire") {
  clean_loop on;
  server s;
  std::vector<int> order;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
        {
          const lease c = co_await p.acquire();
          co_await b::sleep_for(10ms);
        }
        // Given back just now, and it is somebody else's already.
        CHECK_FALSE(p.try_acquire());
        co_await hold(p, 1ms, &order, 9);
      });
      co_await b::yield();
      g.spawn(hold, p, 1ms, &order, 1);
      g.spawn(hold, p, 1ms, &order, 2);
    });
    CHECK(order == std::vector<int>{1, 2, 9});
    CHECK(p.try_acquire());
  });
}

TEST_CASE("acquire: cancelled in line leaves it, those behind move up [rows 220, 222]") {
  clean_loop on;
  server s;
  std::vector<int> order;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, p, 50ms, &order, 0);
      co_await b::sleep_for(20ms);
      b::child<void> leaves = g.spawn(hold, p, 1ms, &order, 1);
      g.spawn(hold, p, 1ms, &order, 2);
      co_await b::yield();
      leaves.cancel();
      co_await b::yield();
      CHECK(p.statistics().waiting == 1);
    });
    CHECK(order == std::vector<int>{0, 2});
  });
}

TEST_CASE(
    "acquire: cancelled in the turn in which it gets the connection, the value is delivered or the next has it") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      lease first = co_await p.acquire();
      b::child<void> second = g.spawn(hold, p, 1ms, nullptr, 0);
      std::vector<int> order;
      co_await b::yield();
      g.spawn(hold, p, 1ms, nullptr, 0);
      co_await b::yield();
      first.release();
      second.cancel();
    });
    CHECK(p.statistics().in_use == 0);
    CHECK(p.statistics().idle == 1);
  });
}

TEST_CASE("acquire: cancelled while its connection is opened, the connection is kept for the next") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({}, s.functions()));
    CHECK_FALSE(co_await b::move_on_after(5ms, hold(p, 1ms)));
    CHECK(p.statistics().opening == 1);
    co_await b::sleep_for(10ms);
    CHECK(p.statistics().idle == 1);
    co_await hold(p, 1ms);
    CHECK(s.attempts == 1);
  });
}

TEST_CASE("acquire: no connection in time is busy, and says how many wait and who has one longest") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(
        db::open_pool<connection>({.name = "accounts", .max = 1, .acquire_timeout = 200ms}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, p, 1s, nullptr, 0).named("purge");
      co_await b::sleep_for(20ms);
      g.spawn([&]() -> b::task<> { static_cast<void>((co_await b::as_outcome(hold(p, 1ms))).failure()); });
      co_await b::sleep_for(1ms);
      const auto how = co_await b::as_outcome(p.acquire());
      const b::failure why = how.failure();
      const auto* busy = why.find<db::busy_error>();
      REQUIRE(busy != nullptr);
      CHECK(busy->code() == "no_connection_free");
      CHECK(busy->kind() == b::error_kind::unavailable);
      CHECK(contains(busy->what(),
                     "pool 'accounts': acquire a connection: none came free within 200 ms: 1 of 1 in use"));
      CHECK(
          contains(busy->what(), "held longest by task 'purge' for 211 ms, taken at fake_connections.hpp:"));
      CHECK(contains(busy->where().file_name(), "pool_test.cpp"));
      CHECK(p.statistics().timeouts == 2);
    });
    CHECK(p.statistics().in_use == 0);
  });
}

TEST_CASE("acquire: with a timeout of zero takes what is there, or is busy at once") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.min = 1, .acquire_timeout = 0ms}, s.functions()));
    const lease c = co_await p.acquire();
    const auto how = co_await b::as_outcome(p.acquire());
    CHECK(how.failure().find<db::busy_error>() != nullptr);
  });
}

TEST_CASE("acquire: refused at once when very many wait already") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1, .max_waiting = 1}, s.functions()));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, p, 1ms, nullptr, 0);
      co_await b::yield();
      const auto how = co_await b::as_outcome(p.acquire());
      const b::failure why = how.failure();
      const auto* busy = why.find<db::busy_error>();
      REQUIRE(busy != nullptr);
      CHECK(busy->code() == "too_many_waiting");
      CHECK(busy->kind() == b::error_kind::overloaded);
    });
  });
}

TEST_CASE("a lease: given back broken, its connection is closed and replaced") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, s.functions()));
    {
      lease c = co_await p.acquire();
      c.mark_broken();
      c.mark_broken();
    }
    lease d = co_await p.acquire();
    CHECK(d->number == 2);
    d->alive = false;  // seen when it comes back
    d.release();
    d.release();
    CHECK_FALSE(d);
    const lease e = co_await p.acquire();
    CHECK(e->number == 3);
    CHECK(p.statistics().replaced == 2);
  });
  CHECK(s.most_open == 1);
  CHECK(s.closings == 3);
}

TEST_CASE("a lease: moved, is given back once") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({}, s.functions()));
    lease a = co_await p.acquire();
    lease c = co_await p.acquire();
    a = std::move(c);
    CHECK(p.statistics().in_use == 1);
    CHECK(a->number == 2);
    lease& same = a;
    a = std::move(same);
    CHECK(p.statistics().in_use == 1);
    lease none;
    none.mark_broken();
    CHECK(none.get() == nullptr);
  });
}

TEST_CASE("reset: runs after a lease that used the connection, before the next one has it") {
  clean_loop on;
  server s;
  s.reset_takes = 5ms;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, s.resetting()));
    {
      const lease c = co_await p.acquire();
      c->dirty = true;
    }
    CHECK(p.statistics().tending == 1);
    {
      const lease c = co_await p.acquire();
      CHECK_FALSE(c->dirty);
      CHECK(s.resets == 1);
    }
    // It was clean: no reset.
    CHECK(p.statistics().idle == 1);
    s.fails_resets = true;
    {
      const lease c = co_await p.acquire();
      c->dirty = true;
    }
    const lease c = co_await p.acquire();
    CHECK(c->number == 2);
    CHECK(p.statistics().replaced == 1);
  });
}

TEST_CASE("reset: one that hangs is cut short, and the connection replaced") {
  clean_loop on;
  server s;
  s.reset_takes = 1h;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(
        db::open_pool<connection>({.max = 1, .acquire_timeout = 1min, .reset_limit = 100ms}, s.resetting()));
    {
      const lease c = co_await p.acquire();
      c->dirty = true;
    }
    const lease c = co_await p.acquire();
    CHECK(c->number == 2);
  });
}

TEST_CASE(
    "check: asked when the connection was idle for long; a dead one is replaced before anybody has it") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.check_after = 1s}, s.functions()));
    connection* kept = nullptr;
    {
      const lease c = co_await p.acquire();
      kept = c.get();
    }
    co_await hold(p, 1ms);
    CHECK(s.checks == 0);
    co_await b::sleep_for(2s);
    CHECK_FALSE(p.try_acquire());  // it would have to wait
    co_await hold(p, 1ms);
    CHECK(s.checks == 1);
    co_await b::sleep_for(2s);
    kept->alive = false;
    const lease c = co_await p.acquire();
    CHECK(c->number == 2);
    CHECK(s.checks == 2);
    CHECK(p.statistics().replaced == 1);
  });
}

TEST_CASE("check: one that fails, or hangs, is a no") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p =
        co_await b::use(db::open_pool<connection>({.check_after = 0ms, .check_limit = 50ms}, s.functions()));
    co_await hold(p, 1ms);
    s.fails_checks = true;
    co_await hold(p, 1ms);
    CHECK(s.opened == 2);
    s.fails_checks = false;
    s.check_takes = 1h;
    co_await hold(p, 1ms);
    CHECK(s.opened == 3);
  });
}

TEST_CASE(
    "lifetimes: connections that are old are replaced, each at another time; idle ones go, but min stay") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>(
        {.min = 1, .max = 4, .max_lifetime = 10min, .idle_timeout = 1min}, s.functions()));
    CHECK(s.opened == 1);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 4; ++i) g.spawn(hold, p, 100ms, nullptr, 0);
      co_return;
    });
    CHECK(p.statistics().idle == 4);
    co_await b::sleep_for(2min);
    CHECK(p.statistics().idle == 1);
    CHECK(s.open == 1);
    co_await b::sleep_for(9min);
    CHECK(p.statistics().idle == 1);
    CHECK(s.opened == 5);  // the one that stayed was replaced
  });
}

TEST_CASE("lifetimes: a connection that gets old while it is used, is closed when it comes back") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1, .max_lifetime = 1min}, s.functions()));
    co_await hold(p, 2min);
    const lease c = co_await p.acquire();
    CHECK(c->number == 2);
    CHECK(p.statistics().replaced == 0);
    CHECK(p.statistics().expired == 1);
  });
}

TEST_CASE(
    "leaks: a connection that is held for long is told of once, with the task and the place, and when it comes back") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p =
        co_await b::use(db::open_pool<connection>({.name = "accounts", .leak_after = 10s}, s.functions()));
    CHECK(p.holders().empty());
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold_for, p, 30s).named("worker", 3);
      co_await b::sleep_for(10s);
      CHECK(on.loop.diagnostics().empty());
      co_await b::sleep_for(15s);
      REQUIRE(on.loop.diagnostics().size() == 1);
      const b::diagnostic& told = on.loop.diagnostics()[0];
      CHECK(told.kind == b::diagnostic_kind::lease_held);
      CHECK_FALSE(told.over);
      CHECK(told.lasted == 10s);
      CHECK(contains(
          told.message,
          "pool 'accounts': a connection is held by task 'worker 3' for 10 s, taken at fake_connections.hpp:"));
      const auto who = p.holders();
      REQUIRE(who.size() == 1);
      CHECK(who[0].task == "task 'worker 3'");
      CHECK(contains(who[0].spawned_at.file_name(), "pool_test.cpp"));
    });
    REQUIRE(on.loop.diagnostics().size() == 2);
    CHECK(on.loop.diagnostics()[1].over);
    CHECK(on.loop.diagnostics()[1].lasted == 30s);
    CHECK(p.statistics().leaks == 1);
  });
}

TEST_CASE("check: those in line are not kept from a healthy connection by the check of another one") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    auto all = s.functions();
    all.check = [](connection& c) -> b::task<bool> {
      co_await b::sleep_for(c.alive ? 1ms : 1h);
      co_return c.alive;
    };
    pool& p = co_await b::use(db::open_pool<connection>(
        {.min = 2, .max = 2, .acquire_timeout = 20s, .check_after = 1s}, std::move(all)));
    connection* next = nullptr;
    {
      const lease a = co_await p.acquire();
      const lease c = co_await p.acquire();
      next = a.get();  // given back last, handed out first
    }
    co_await b::sleep_for(2s);
    next->alive = false;
    s.accepts = false;
    const b::time_point began = b::now();
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 2; ++i) g.spawn(hold_for, p, 1ms);
      co_return;
    });
    CHECK(b::now() - began < 100ms);
    s.accepts = true;
  });
}

TEST_CASE("check: one that overruns its limit ends what was idle as long; who waits gets a new connection") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(
        db::open_pool<connection>({.min = 5, .max = 5, .check_after = 1s, .check_limit = 2s}, s.functions()));
    co_await b::sleep_for(10s);
    co_await hold(p, 1ms);  // this one is fresh
    CHECK(s.checks == 1);
    const lease fresh = co_await p.acquire();
    s.check_takes = 1h;  // a network that is silent, but for new connections
    const b::time_point began = b::now();
    co_await hold(p, 1ms);
    CHECK(b::now() - began < 2s + 50ms);
    CHECK(s.checks == 2);
    CHECK(p.statistics().replaced == 4);
    CHECK(fresh->number <= 5);
  });
}

TEST_CASE("inspect: what is known to be broken is not handed out, fresh as it is, nor by try_acquire") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.max = 2}, s.functions()));
    connection* kept = nullptr;
    {
      const lease c = co_await p.acquire();
      kept = c.get();
    }
    kept->alive = false;
    CHECK_FALSE(p.try_acquire());
    const lease c = co_await p.acquire();
    CHECK(c->number == 2);
    CHECK(s.checks == 0);
    CHECK(p.statistics().replaced == 1);
  });
}

TEST_CASE("without a close function, what is broken is destroyed when it is given back") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    auto all = s.functions();
    all.close = {};
    pool& p = co_await b::use(db::open_pool<connection>({.max = 1}, std::move(all)));
    {
      lease c = co_await p.acquire();
      c.mark_broken();
    }
    CHECK(s.open == 0);
    CHECK(p.statistics().replaced == 1);
    CHECK(p.statistics().total() == 0);
    co_await hold(p, 1ms);
    CHECK(s.opened == 2);
  });
}

TEST_CASE("try_acquire: from a callback of the loop, which is no task; its leak is told of as such") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({.min = 1, .leak_after = 10s}, s.functions()));
    std::optional<lease> kept;
    b::loop::current()->post([&] { kept = p.try_acquire(); });
    co_await b::sleep_for(1ms);
    REQUIRE(kept.has_value());
    CHECK(contains(describe(p.holders().at(0)), "code outside of tasks for 1"));
    co_await b::sleep_for(20s);
    REQUIRE(on.loop.diagnostics().size() == 1);
    CHECK(contains(on.loop.diagnostics()[0].message, "is held by code outside of tasks"));
    b::loop::current()->post([&] { kept.reset(); });
    co_await b::sleep_for(1ms);
    CHECK(p.statistics().idle == 1);
  });
}

TEST_CASE("holders: a task without a name is told by where it was spawned, the main task as that") {
  clean_loop on;
  server s;
  on.run([&]() -> b::task<> {
    pool& p = co_await b::use(db::open_pool<connection>({}, s.functions()));
    const lease mine = co_await p.acquire();
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold_for, p, 50ms);
      co_await b::sleep_for(20ms);
      const auto who = p.holders();
      REQUIRE(who.size() == 2);
      CHECK(who[0].task == "the main task");
      CHECK(contains(describe(who[0]), "the main task for 20 ms, taken at pool_test.cpp:"));
      CHECK(contains(who[1].task, "the task spawned at pool_test.cpp:"));
    });
  });
}
