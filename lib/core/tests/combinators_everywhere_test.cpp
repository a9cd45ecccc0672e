// SPDX-License-Identifier: Apache-2.0
// settle, race, any, map and groups with options, cancelled, failed and disturbed at every await: nothing may be left or lost.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/map.hpp>
#include <belay/core/race.hpp>
#include <belay/core/settle.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

// What a scenario touches, and what must be even again when it has ended.
struct world {
  int live = 0;  // locals
  int most = 0;  // ... of tasks under a limit, at a time
  int limited = 0;
  bool several_limits = false;
  int opened = 0;  // managed resources
  int closed = 0;
  int begun = 0;  // cleanups that have to run
  int cleaned = 0;
};

b::managed<int> opens(world& w) {
  const counted here(w.live);
  co_await b::sleep_for(1s);
  ++w.opened;
  int value = 3;
  co_yield value;
  co_await b::sleep_for(1s);
  ++w.closed;
}
b::task<int> works(world& w, b::duration length) {
  const counted here(w.live);
  co_await b::sleep_for(length);
  co_await b::yield();
  co_return 1;
}
b::task<int> works_with(world& w, b::duration length) {
  int& value = co_await b::use(opens(w));
  co_return co_await works(w, length) + value;
}
b::task<int> cleans(world& w, b::duration length) {
  ++w.begun;
  co_return co_await b::finally([length]() -> b::task<int> { co_return co_await gives_after(length, 1); },
                                [&w]() -> b::task<> {
                                  co_await b::sleep_for(1s);
                                  co_await b::yield();
                                  ++w.cleaned;
                                });
}
b::task<int> refuses(world& w, b::duration length) {
  co_await works(w, length);
  throw boom("expected");
}
b::task<int> one_of_few(world& w) {
  const counted here(w.limited);
  w.most = std::max(w.most, w.limited);
  co_return co_await works_with(w, 1s);
}
// An error that the scenario itself makes, or the driver's.
void look_at(const b::failure& what) { CHECK(!b::describe(what).empty()); }

using scenario = b::task<> (*)(world&);

b::task<> settles(world& w) {
  auto [x, y, z] = co_await b::settle(works_with(w, 2s), refuses(w, 1s), cleans(w, 1s));
  look_at(y.failure());
  if (x.failed()) look_at(x.failure());
  if (z.failed()) look_at(z.failure());
  std::vector<b::task<int>> many;
  for (int i = 0; i < 3; ++i) many.push_back(works(w, 1s));
  for (b::outcome<int>& one : co_await b::settle(std::move(many))) {
    if (one.failed()) look_at(one.failure());
  }
  co_await works(w, 1s);
}
b::task<> settles_handles(world& w) {
  co_await b::with_group({.name = "settled", .policy = b::group_policy::supervise},
                         [&](b::group& g) -> b::task<> {
                           std::vector<b::child<int>> running;
                           running.push_back(g.spawn(works_with, std::ref(w), 1s));
                           running.push_back(g.spawn(cleans, std::ref(w), 2s));
                           running.push_back(g.spawn(refuses, std::ref(w), 1s));
                           b::child<int> apart = g.spawn(works, std::ref(w), 5s);
                           co_await b::yield();
                           running[1].cancel();
                           for (b::outcome<int>& one : co_await b::settle(std::move(running))) {
                             if (one.failed()) look_at(one.failure());
                           }
                           if ((co_await b::as_outcome(apart)).failed())
                             look_at((co_await b::as_outcome(apart)).failure());
                         });
}
b::task<> races(world& w) {
  const int first = co_await b::race(works(w, 1s), works_with(w, 2s), cleans(w, 9s));
  CHECK(first != 0);
  std::vector<b::task<int>> many;
  for (int i = 0; i < 3; ++i) many.push_back(cleans(w, std::chrono::seconds(3 - i)));
  const int of_many = co_await b::race(std::move(many));
  CHECK(of_many == 1);
  auto different = co_await b::race(works_with(w, 1s), naps(1s));
  CHECK(different.index() == 1);
  b::outcome<int> lost = co_await b::as_outcome(b::race(refuses(w, 1s), cleans(w, 5s)));
  if (lost.failed()) look_at(lost.failure());
}
b::task<> tries_any(world& w) {
  const int ok = co_await b::any(refuses(w, 1s), works_with(w, 2s), cleans(w, 9s));
  CHECK(ok != 0);
  std::vector<b::task<int>> many;
  for (int i = 0; i < 3; ++i) many.push_back(refuses(w, 1s));
  b::outcome<int> none = co_await b::as_outcome(b::any(std::move(many)));
  look_at(none.failure());
}
b::task<> maps(world& w) {
  const std::vector<int> items{1, 2, 3, 4, 5};
  const auto work = [&w](const int& item) -> b::task<int> { co_return item + co_await one_of_few(w); };
  const std::vector<int> got = co_await b::map(items, work, 2);
  CHECK(got.size() == 5);
  b::outcome<std::vector<int>> bad = co_await b::as_outcome(b::map(
      items,
      [&w](int item) -> b::task<int> {
        co_return item == 2 ? co_await refuses(w, 1s) : co_await one_of_few(w);
      },
      2));
  look_at(bad.failure());
}
b::task<> under_a_limit(world& w) {
  co_await b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group({.name = "few", .most_live = 2}, [&](b::group& g) -> b::task<> {
      auto waits = [](b::group& in, world& to) -> b::task<> {
        const counted here(to.live);
        b::child<int> mine = co_await in.spawn_when_free(one_of_few, std::ref(to));
        co_await mine;
      };
      g.spawn(one_of_few, std::ref(w));
      g.spawn(one_of_few, std::ref(w));
      b::child<void> gives_up = outside.spawn(waits, std::ref(g), std::ref(w));
      outside.spawn(waits, std::ref(g), std::ref(w));
      co_await b::yield();
      gives_up.cancel();
      static_cast<void>(co_await g.spawn_when_free(one_of_few, std::ref(w)));
    });
  });
}
b::task<> serves(b::task_status<int>& ready, world& w) {
  co_await b::use(opens(w));
  ready.started(80);
  co_await works(w, 2s);
}
b::task<> started(world& w) {
  co_await b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group({.name = "servers", .most_live = 2}, [&](b::group& g) -> b::task<> {
      auto starts = [](b::group& in, world& to) -> b::task<> {
        const counted here(to.live);
        const int port = co_await in.start(serves, std::ref(to));
        CHECK(port == 80);
      };
      outside.spawn(starts, std::ref(g), std::ref(w));
      co_await starts(g, w);
      auto fails_to_start = [](b::task_status<>&, world& to) -> b::task<> {
        co_await b::use(opens(to));
        co_await refuses(to, 1s);
      };
      b::outcome<void> how = co_await b::as_outcome(g.start(fails_to_start, std::ref(w)));
      look_at(how.failure());
      static_cast<void>(co_await b::move_on_after(1s, starts(g, w)));
      b::child<void> stopped = outside.spawn(starts, std::ref(g), std::ref(w));
      co_await b::yield();
      co_await b::yield();
      stopped.cancel();
    });
  });
}
b::task<> supervised(world& w) {
  co_await b::with_group({.policy = b::group_policy::supervise}, [&](b::group& g) -> b::task<> {
    g.spawn(works_with, std::ref(w), 1s);
    g.spawn(cleans, std::ref(w), 3s);
    b::child<int> bad = g.spawn(refuses, std::ref(w), 1s);
    b::outcome<int>& how = co_await b::as_outcome(bad);
    look_at(how.failure());
    co_await works(w, 1s);
  });
}
b::task<> collecting(world& w) {
  b::outcome<void> how = co_await b::as_outcome(b::with_group(
      {.name = "all of them", .policy = b::group_policy::settle}, [&](b::group& g) -> b::task<> {
        g.spawn(works_with, std::ref(w), 1s);
        g.spawn(refuses, std::ref(w), 2s);
        b::child<int> seen = g.spawn(refuses, std::ref(w), 1s);
        look_at((co_await b::as_outcome(seen)).failure());
        co_await cleans(w, 1s);
      }));
  look_at(how.failure());
}
b::task<> all_together(world& w) {
  w.several_limits = true;
  auto inner = [](world& to) -> b::task<int> {
    co_await b::race(settles(to), under_a_limit(to), started(to));
    co_return co_await b::any(refuses(to, 1s), works_with(to, 2s));
  };
  const std::vector<int> items{1, 2, 3};
  const auto work = [&](int) -> b::task<int> { co_return co_await inner(w); };
  static_cast<void>(co_await b::move_on_after(20s, b::map(items, work, 2)));
  static_cast<void>(co_await b::move_on_after(5s, inner(w)));
}

world& make_world(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("no local is left", [&w] { return w.live == 0 && w.limited == 0; });
  s.expect("not more than two at a time", [&w] { return w.most <= 2 || w.several_limits; });
  s.expect("what was opened was closed, unless closing failed",
           [&w](const t::run_end& how) { return w.opened == w.closed || how.failed_in_cleanup; });
  s.expect("what was begun was cleaned up, unless that failed",
           [&w](const t::run_end& how) { return w.begun == w.cleaned || how.failed_in_cleanup; });
  return w;
}
void check(const char* name, scenario run, lost errors = lost::to_the_sink) {
  drive(name, [run](t::stage& s) -> b::task<> { co_await run(make_world(s)); }, errors);
}

}  // namespace

TEST_CASE("everywhere: settle") { check("settle", settles); }
TEST_CASE("everywhere: settle of handles") { check("settle of handles", settles_handles); }
TEST_CASE("everywhere: race") { check("race", races); }
TEST_CASE("everywhere: any") { check("any", tries_any); }
TEST_CASE("everywhere: map") { check("map", maps, lost::none); }
TEST_CASE("everywhere: group with a limit") { check("group with a limit", under_a_limit, lost::none); }
TEST_CASE("everywhere: start") { check("start", started, lost::none); }
TEST_CASE("everywhere: supervised group") { check("supervised group", supervised); }
TEST_CASE("everywhere: settle group") { check("settle group", collecting, lost::none); }
TEST_CASE("everywhere: all combinators together") { check("all combinators together", all_together); }
