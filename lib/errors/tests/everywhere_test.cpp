// SPDX-License-Identifier: Apache-2.0
// Routers and guards, cancelled, failed and disturbed at every await: no handler runs twice, nothing is told of a cancellation.

#include <belay/errors/classify.hpp>
#include <belay/errors/error_router.hpp>
#include <belay/errors/guard.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace errors_tests;
namespace t = belay::testing;

namespace {

struct world {
  counting seen;
  int begun = 0;
  int handled = 0;
  int live = 0;
};
struct counted {
  explicit counted(int& live) noexcept : live_(&live) { ++*live_; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --*live_; }
  int* live_;
};

b::task<int> works(world& w) {
  const counted here(w.live);
  co_await b::sleep_for(1s);
  co_await b::yield();
  throw network_error("down");
}
void add_handlers(b::error_router<int>& routes, world& w) {
  routes.on<network_error>([&w](const network_error&, const b::failure& what) -> b::task<int> {
    const counted here(w.live);
    static_cast<void>(b::describe(what));  // what is attached, too
    ++w.begun;
    co_await b::sleep_for(1s);
    ++w.handled;
    co_return 1;
  });
  routes.on<broken>([&w](const broken&, const b::failure& what) -> b::task<int> {
    const counted here(w.live);
    static_cast<void>(b::describe(what));
    co_await b::sleep_for(1s);
    throw std::runtime_error("handler");
  });
}
b::task<int> fails_broken(world& w) {
  const counted here(w.live);
  co_await b::sleep_for(1s);
  throw broken("b");
}

world& make_world(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("no local is left", [&w] { return w.live == 0; });
  s.expect("each error is told once", [&w] { return w.seen.records.size() <= 3; });
  return w;
}

b::task<> routed(t::stage& s) {
  world& w = make_world(s);
  s.expect("a handler runs once for an error", [&w] { return w.begun <= 1 && w.handled <= w.begun; });
  auto& routes = s.make<b::error_router<int>>();
  add_handlers(routes, w);
  auto& outer = s.make<b::error_router<int>>();
  outer.otherwise([](const b::failure& what) {
    static_cast<void>(b::describe(what));
    return 9;
  });
  routes.falls_back_to(outer);
  const int first = co_await routes.handle(works(w));
  CHECK((first == 1 || first == 9));
  const int second = co_await routes.handle(fails_broken(w));
  CHECK(second == 9);
}

b::task<> guarded(t::stage& s) {
  world& w = make_world(s);
  const b::guard layer(w.seen, {.operation = "guarded"});
  const int first = co_await layer.or_value(layer(layer(works(w))), 3);
  CHECK(first == 3);
  const auto to = [](const b::failure&) { return user_not_found("mapped"); };
  b::outcome<int> how = co_await b::as_outcome(layer(layer.map(works(w), to)));
  if (how.failed()) static_cast<void>(b::describe(how.failure()));
  co_await layer.or_nothing([](world& in) -> b::task<> { static_cast<void>(co_await works(in)); }(w));
}

b::task<> all_together(t::stage& s) {
  world& w = make_world(s);
  auto& routes = s.make<b::error_router<int>>();
  add_handlers(routes, w);
  routes.otherwise([](const b::failure& what) {
    static_cast<void>(b::describe(what));
    return 9;
  });
  auto& known = s.make<b::error_classifier>();
  known.add<int>([](int) { return b::classification::of(b::error_kind::conflict, "number"); });
  const b::guard layer(w.seen);
  const auto inner = [&]() -> b::task<int> {
    int sum = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> { static_cast<void>(co_await layer(works(w))); });
      sum += co_await layer(fails_broken(w));
    });
    co_return sum;
  };
  const int got = co_await b::classified_by(known, layer.or_value(routes.handle(layer(inner())), 4));
  CHECK((got == 1 || got == 9 || got == 4));
}

template <class F>
void drive(const char* name, F run) {
  const t::everywhere_options options{.name = name};
  const t::report everywhere = t::everywhere(run, options);
  CHECK(everywhere.awaits > 0);
  CHECK_MESSAGE(everywhere.ok(), everywhere.text());
  const t::report explored = t::explore(run, 200, {.name = name});
  CHECK_MESSAGE(explored.ok(), explored.text());
  const auto in_a_group = [run](t::stage& s) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      s.disturbance([&g] { g.cancel(); });
      co_await run(s);
      s.disturbance({});
    });
    co_await b::yield();
  };
  const t::report group = t::disturb_everywhere(in_a_group, options);
  CHECK_MESSAGE(group.ok(), group.text());
  bool finished = false;
  for (b::duration limit = 0s; !finished; limit += 500ms) {
    REQUIRE(limit < 1h);
    const auto limited = [run, limit, &finished](t::stage& s) -> b::task<> {
      finished = (co_await b::move_on_after(limit, run(s))).has_value();
    };
    const t::report in_time = t::explore(limited, 2, {.name = name, .inject = false});
    CHECK_MESSAGE(in_time.ok(), in_time.text());
  }
}

}  // namespace

TEST_CASE("everywhere: router") { drive("router", routed); }
TEST_CASE("everywhere: guard") { drive("guard", guarded); }
TEST_CASE("everywhere: router, guards and a classifier around a group") {
  drive("all of errors", all_together);
}
