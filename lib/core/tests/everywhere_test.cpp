// SPDX-License-Identifier: Apache-2.0
// Scenarios of all parts of core, cancelled, failed and disturbed at every await: nothing may be left or lost.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/thread.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

// What a scenario touches, and what must be even again when it has ended.
struct world {
  int live = 0;    // locals
  int opened = 0;  // managed resources
  int closed = 0;
  int begun = 0;  // cleanups that have to run
  int cleaned = 0;
  int shielded = 0;  // parts under a shield
  int shielded_done = 0;
  int started = 0;  // transactions
  int committed = 0;
  int rolled_back = 0;
  b::semaphore permits{2, "permits"};
  b::event ready{"ready"};
  b::event taken{"taken"};
};

b::managed<int> opens(world& w, b::duration each = 1s) {
  const counted here(w.live);
  co_await b::sleep_for(each);
  ++w.opened;
  int value = 3;
  co_yield value;
  co_await b::sleep_for(each);
  ++w.closed;
}
b::managed<int> opens_on_another(world& w) {
  int& below = co_await b::use(opens(w));
  co_await b::yield();
  ++w.opened;
  int value = below + 1;
  co_yield value;
  co_await b::yield();
  ++w.closed;
}
b::managed<int> transaction(world& w) {
  const b::permit mine = co_await w.permits.acquire();
  co_await b::sleep_for(1s);
  ++w.started;
  int value = 0;
  const b::exit_status how = co_yield value;
  co_await b::sleep_for(1s);
  ++(how.succeeded() ? w.committed : w.rolled_back);
}
b::task<> cleans(world& w, b::duration length) {
  ++w.begun;
  co_await b::finally([length]() -> b::task<> { co_await b::sleep_for(length); },
                      [&w]() -> b::task<> {
                        co_await b::sleep_for(1s);
                        co_await b::yield();
                        ++w.cleaned;
                      });
}
b::task<int> works(world& w, b::duration length) {
  const counted here(w.live);
  co_await b::sleep_for(length);
  co_await b::yield();
  co_return 1;
}
b::task<> holds(world& w) {
  const counted here(w.live);
  const b::permit mine = co_await w.permits.acquire();
  co_await b::sleep_for(1s);
}

using scenario = b::task<> (*)(world&);

b::task<> in_sequence(world& w) {
  for (int i = 0; i < 3; ++i) co_await works(w, 1s);
  co_await b::yield();
}
b::task<> in_a_group(world& w) {
  const counted here(w.live);
  co_await b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(works, std::ref(w), 1s);
    g.spawn(works, std::ref(w), 2s);
    g.spawn(
        [](b::group& in, world& to) -> b::task<> {
          co_await works(to, 1s);
          in.spawn(works, std::ref(to), 3s);
        },
        std::ref(g), std::ref(w));
    co_await works(w, 1s);
  });
}
b::task<> under_limits(world& w) {
  co_await b::with_timeout(9s, works(w, 1s));
  static_cast<void>(co_await b::move_on_after(1s, works(w, 5s)));
  auto nested = [](world& to) -> b::task<> {
    b::outcome<int> how = co_await b::as_outcome(b::with_timeout(1s, works(to, 5s)));
    static_cast<void>(how.failure());
  };
  co_await b::with_timeout(5s, nested(w));
}
b::task<> with_resource(world& w) {
  co_await b::with(opens(w), [&w](int&) -> b::task<> { co_await works(w, 1s); });
}
b::task<> uses_resources(world& w) {
  const counted here(w.live);
  co_await b::use(opens(w));
  co_await b::use(opens_on_another(w));
  co_await works(w, 1s);
}
b::task<> with_cleanup(world& w) {
  co_await cleans(w, 1s);
  co_await b::move_on_after(1s, cleans(w, 5s));
}
b::task<> all_of_three(world& w) {
  auto user = [](world& to) -> b::task<int> {
    co_await b::use(opens(to));
    co_return co_await works(to, 2s);
  };
  auto [x, y, z] = co_await b::all(user(w), works(w, 1s), cleans(w, 2s));
  CHECK(x + y == 2);
  std::vector<b::task<int>> many;
  for (int i = 0; i < 3; ++i) many.push_back(user(w));
  const std::vector<int> all_of_many = co_await b::all(std::move(many));
  CHECK(all_of_many.size() == 3);
}
b::task<> on_threads(world& w) {
  co_await b::use(opens(w));
  const int got = co_await b::to_thread([](int x) { return x + 1; }, 1);
  CHECK(got == 2);
  auto [x, y] = co_await b::all(
      [](world& to) -> b::task<int> {
        const counted here(to.live);
        co_return co_await b::to_thread([] { return 1; });
      }(w),
      works(w, 1s));
  CHECK(x + y == 2);
}
b::task<> for_permits(world& w) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 5; ++i) g.spawn(holds, std::ref(w));
    co_await holds(w);
  });
}
b::task<> by_events(world& w) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](world& to) -> b::task<> {
          const counted here(to.live);
          co_await b::sleep_for(1s);
          to.ready.set();
          co_await to.taken.wait();
        },
        std::ref(w));
    co_await w.ready.wait();
    co_await b::yield();
    w.taken.set();
  });
}
b::task<> with_a_shield(world& w) {
  co_await works(w, 1s);
  auto protected_part = [](world& to) -> b::task<> {
    ++to.shielded;
    co_await works(to, 1s);
    co_await b::use(opens(to));
    co_await works(to, 1s);
    ++to.shielded_done;
  };
  co_await b::shielded(100s, protected_part(w));
  co_await works(w, 1s);
}
b::task<> awaiting_children(world& w) {
  b::child<int> one;  // outlives the tasks that wait for it
  co_await b::with_group([&](b::group& g) -> b::task<> {
    one = g.spawn(works, std::ref(w), 2s);
    auto joins = [](b::child<int>& on, world& to) -> b::task<> {
      const counted here(to.live);
      static_cast<void>(co_await on);
    };
    g.spawn(joins, std::ref(one), std::ref(w));
    b::child<void> last = g.spawn(joins, std::ref(one), std::ref(w));
    co_await last;
    const int got = co_await one;
    CHECK(got == 1);
  });
}
b::task<> handling_a_failure(world& w) {
  const counted here(w.live);
  try {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(cleans, std::ref(w), 9s);
      g.spawn(fails_after, 1s, std::string("expected"));
      co_await b::use(opens(w));
      co_await works(w, 9s);
    });
    FAIL("no error");
  } catch (const boom&) {
    const b::failure caught = b::current_failure();
    CHECK(caught.message() == "expected");
    CHECK(b::describe(caught).find("expected") != std::string::npos);  // looks at what is attached, too
  }
  co_await works(w, 1s);
}
b::task<> cancelling_itself(world& w) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(works, std::ref(w), 5s);
    g.spawn(cleans, std::ref(w), 5s);
    co_await works(w, 1s);
    one.cancel();
    co_await b::yield();
    g.spawn(
        [](b::group& in) -> b::task<> {
          co_await b::sleep_for(1s);
          in.cancel();
        },
        std::ref(g));
    co_await works(w, 9s);
  });
  co_await works(w, 1s);
}
b::task<> everything_nested(world& w) {
  auto inner = [](world& to) -> b::task<> {
    co_await b::use(opens_on_another(to));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(uses_resources, std::ref(to));
      g.spawn(with_cleanup, std::ref(to));
      co_await b::with(opens(to), [&](int&) -> b::task<> { co_await holds(to); });
    });
  };
  co_await b::with_timeout(100s, inner(w));
  static_cast<void>(co_await b::move_on_after(3s, inner(w)));
}
b::task<> without_throws(world& w) {
  auto refuses = [](world& to) -> b::task<int> {
    const counted here(to.live);
    co_await b::use(opens(to));
    co_await b::fail(boom("refused"));
    co_return 1;
  };
  auto relays = [](auto& call, world& to) -> b::task<int> {
    co_await b::use(opens(to));
    co_return co_await b::or_fail(call(to));
  };
  b::outcome<int> how = co_await b::as_outcome(relays(refuses, w));
  const std::string why = b::describe(how.failure());
  CHECK((why.find("refused") != std::string::npos || why.find("injected") != std::string::npos));
  co_await works(w, 1s);
}
b::task<> deep_down_with_resources(world& w) {
  struct chain {
    static b::task<> link(world& to, int depth) {
      const counted here(to.live);
      co_await b::use(opens(to));
      if (depth > 0) {
        co_await link(to, depth - 1);
      } else {
        co_await works(to, 1s);
      }
    }
  };
  co_await chain::link(w, 8);
}
b::task<> transactions(world& w) {
  auto transfer = [](world& to, bool fail) -> b::task<> {
    co_await b::with(transaction(to), [&](int&) -> b::task<> {
      co_await works(to, 1s);
      if (fail) throw boom("insufficient funds");
    });
  };
  auto refused = [](auto& call, world& to) -> b::task<> {
    try {
      co_await call(to, true);
    } catch (const boom&) {
      CHECK(b::describe(b::current_failure()).find("insufficient funds") != std::string::npos);
    }
  };
  co_await b::all(transfer(w, false), refused(transfer, w), transfer(w, false), refused(transfer, w));
}
b::task<> computing(world& w) {
  const counted here(w.live);
  for (int i = 0; i < 5; ++i) {
    co_await b::checkpoint();
    if (!b::cancel_requested()) co_await b::yield();
  }
  co_await works(w, 1s);
}

// The world of a run, and what must be true of it when the run has ended, however that was.
world& make_world(t::stage& s) {
  auto& w = s.make<world>();
  s.expect("no local is left", [&w] { return w.live == 0; });
  s.expect("what was opened was closed, unless closing failed",
           [&w](const t::run_end& how) { return w.opened == w.closed || how.failed_in_cleanup; });
  s.expect("what was begun was cleaned up, unless that failed",
           [&w](const t::run_end& how) { return w.begun == w.cleaned || how.failed_in_cleanup; });
  s.expect("what is under a shield is done, unless it failed",
           [&w](const t::run_end& how) { return w.shielded == w.shielded_done || how.failure; });
  s.expect("each transaction was committed or rolled back, unless that failed", [&w](const t::run_end& how) {
    return w.started == w.committed + w.rolled_back || how.failed_in_cleanup;
  });
  s.expect("no permit is out, and nobody waits for one",
           [&w] { return w.permits.free() == 2 && w.permits.waiting() == 0; });
  return w;
}

void check(const char* name, scenario run) {
  drive(name, [run](t::stage& s) -> b::task<> { co_await run(make_world(s)); });
}

}  // namespace

TEST_CASE("everywhere: in sequence") { check("in sequence", in_sequence); }
TEST_CASE("everywhere: in a group") { check("in a group", in_a_group); }
TEST_CASE("everywhere: under limits") { check("under limits", under_limits); }
TEST_CASE("everywhere: with a resource") { check("with a resource", with_resource); }
TEST_CASE("everywhere: uses resources") { check("uses resources", uses_resources); }
TEST_CASE("everywhere: with cleanup") { check("with cleanup", with_cleanup); }
TEST_CASE("everywhere: all of three") { check("all of three", all_of_three); }
TEST_CASE("everywhere: on threads") { check("on threads", on_threads); }
TEST_CASE("everywhere: for permits") { check("for permits", for_permits); }
TEST_CASE("everywhere: by events") { check("by events", by_events); }
TEST_CASE("everywhere: with a shield") { check("with a shield", with_a_shield); }
TEST_CASE("everywhere: awaiting children") { check("awaiting children", awaiting_children); }
TEST_CASE("everywhere: handling a failure") { check("handling a failure", handling_a_failure); }
TEST_CASE("everywhere: cancelling itself") { check("cancelling itself", cancelling_itself); }
TEST_CASE("everywhere: everything nested") { check("everything nested", everything_nested); }
TEST_CASE("everywhere: without throws") { check("without throws", without_throws); }
TEST_CASE("everywhere: deep down with resources") {
  check("deep down with resources", deep_down_with_resources);
}
TEST_CASE("everywhere: transactions") { check("transactions", transactions); }
TEST_CASE("everywhere: computing") { check("computing", computing); }
