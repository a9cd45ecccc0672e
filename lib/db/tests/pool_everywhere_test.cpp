// SPDX-License-Identifier: Apache-2.0
// A pool cancelled and failed at every await, in many schedules: nothing is left, nobody waits for ever, and it works afterwards.

#include <belay/testing/everywhere.hpp>

#include "fake_connections.hpp"

using namespace pool_tests;
namespace t = belay::testing;

namespace {

bool is_quiet(const std::optional<pool>& p) {
  return !p || (p->statistics().total() == 0 && p->statistics().waiting == 0);
}

struct world {
  server s;
  std::optional<pool> p;
};

world& build(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("no connection is left", [&w] { return w.s.open == 0 && w.s.opening == 0; });
  s.expect("the pool is empty", [&w] { return is_quiet(w.p); });
  return w;
}

b::task<> some_use(pool p, int which) {
  lease c = co_await p.acquire();
  c->dirty = which == 1;
  co_await b::sleep_for(5ms);
  if (which == 2) c.mark_broken();
}

}  // namespace

TEST_CASE("everywhere: a pool that is opened, used by several tasks, and closed") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        world& w = build(s);
        co_await b::with(db::open_pool<connection>({.min = 1, .max = 2, .check_after = 0ms}, w.s.resetting()),
                         [&w](pool& p) -> b::task<> {
                           w.p = p;
                           co_await b::with_group([&p](b::group& g) -> b::task<> {
                             for (int i = 0; i < 4; ++i) g.spawn(some_use, p, i);
                             co_return;
                           });
                         });
      },
      {.name = "pool", .schedules = 3});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: a pool that is there already works after whatever happened to its users") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        auto& w = s.make<world>();
        w.s.open_takes = 2ms;
        co_await b::with(db::open_pool<connection>({.max = 1}, w.s.resetting()), [](pool& p) -> b::task<> {
          const auto how = co_await b::as_outcome(b::with_group([&p](b::group& g) -> b::task<> {
            for (int i = 0; i < 3; ++i) g.spawn(some_use, p, i);
            co_return;
          }));
          if (how.failed()) {
            for (const b::failure& one : how.failure().flatten()) one.observe();
          }
          // Whoever was cut short has given back what it had.
          CHECK(p.statistics().in_use == 0);
          CHECK(p.statistics().waiting == 0);
          const auto again = co_await b::as_outcome(some_use(p, 0));
          if (again.failed()) {
            const b::failure why = again.failure();
            for (const b::failure& one : why.flatten()) one.observe();
            CHECK(why.find<db::busy_error>() == nullptr);
          }
        });
      },
      {.name = "pool users", .schedules = 2});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: a pool that is patient with a server that is away for a while") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        world& w = build(s);
        w.s.accepts = false;
        auto all = w.s.functions();
        all.passes = [](const b::failure&) noexcept { return true; };
        co_await b::with_group([&](b::group& g) -> b::task<> {
          g.spawn(
              [](world& away) -> b::task<> {
                co_await b::sleep_for(200ms);
                away.s.accepts = true;
              },
              std::ref(w));
          co_await b::with(
              db::open_pool<connection>({.min = 1, .max = 2, .first_pause = 20ms}, std::move(all)),
              [&w](pool& p) -> b::task<> {
                w.p = p;
                co_await b::with_group([&p](b::group& inside) -> b::task<> {
                  for (int i = 0; i < 3; ++i) inside.spawn(some_use, p, i);
                  co_return;
                });
              });
        });
      },
      {.name = "pool patient"});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: a server that refuses, and closing while somebody holds a connection") {
  const t::report found = t::everywhere(
      [](t::stage& s) -> b::task<> {
        world& w = build(s);
        co_await b::with_group([&w](b::group& g) -> b::task<> {
          const auto how = co_await b::as_outcome(
              b::with(db::open_pool<connection>({.max = 2, .drain_limit = 20ms}, w.s.functions()),
                      [&](pool& p) -> b::task<> {
                        w.p = p;
                        g.spawn(hold, p, 200ms, nullptr, 0);
                        co_await b::sleep_for(15ms);
                        w.s.accepts = false;
                        const auto none = co_await b::as_outcome(p.acquire());
                        if (none.failed()) {
                          for (const b::failure& one : none.failure().flatten()) one.observe();
                        }
                      }));
          if (how.failed()) {
            for (const b::failure& one : how.failure().flatten()) one.observe();
          }
        });
      },
      {.name = "pool refused"});
  CHECK_MESSAGE(found.ok(), found.text());
}
