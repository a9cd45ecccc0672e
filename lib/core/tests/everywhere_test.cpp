// SPDX-License-Identifier: Apache-2.0
// Every scenario again and again, ended before its 1st, 2nd, 3rd ... suspension: nothing may be left, lost or unbalanced.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

// What a scenario touches, and what must be even again when it has ended.
struct world {
  int live = 0;    // locals
  int opened = 0;  // managed resources
  int closed = 0;
  int begun = 0;  // cleanups that have to run
  int cleaned = 0;
  int started = 0;  // transactions
  int committed = 0;
  int rolled_back = 0;
  b::semaphore permits{2};
  b::event ready;
  b::event taken;
  bool finished = false;

  [[nodiscard]] bool balanced() const {
    return live == 0 && opened == closed && begun == cleaned && started == committed + rolled_back &&
           permits.free() == 2 && permits.waiting() == 0;
  }
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
  CHECK((co_await b::all(std::move(many))).size() == 3);
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
  ++w.begun;
  auto protected_part = [](world& to) -> b::task<> {
    co_await works(to, 1s);
    co_await b::use(opens(to));
    co_await works(to, 1s);
    ++to.cleaned;
  };
  co_await b::shielded(100s, protected_part(w));
  co_await works(w, 1s);
}
b::task<> awaiting_children(world& w) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(works, std::ref(w), 2s);
    auto joins = [](b::child<int>& on, world& to) -> b::task<> {
      const counted here(to.live);
      static_cast<void>(co_await on);
    };
    g.spawn(joins, std::ref(one), std::ref(w));
    b::child<void> last = g.spawn(joins, std::ref(one), std::ref(w));
    co_await last;
    CHECK(co_await one == 1);
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
    CHECK(b::current_failure().message() == "expected");
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
  CHECK(how.failure().message() == "refused");
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
      CHECK(b::current_failure());
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

struct named {
  const char* name;
  scenario run;
};
constexpr named scenarios[] = {
    {"in sequence", in_sequence},
    {"in a group", in_a_group},
    {"under limits", under_limits},
    {"with a resource", with_resource},
    {"uses resources", uses_resources},
    {"with cleanup", with_cleanup},
    {"all of three", all_of_three},
    {"on threads", on_threads},
    {"for permits", for_permits},
    {"by events", by_events},
    {"with a shield", with_a_shield},
    {"awaiting children", awaiting_children},
    {"handling a failure", handling_a_failure},
    {"cancelling itself", cancelling_itself},
    {"everything nested", everything_nested},
    {"without throws", without_throws},
    {"deep down with resources", deep_down_with_resources},
    {"transactions", transactions},
    {"computing", computing},
};

// Lets exactly one other task have its turn.
struct one_turn {
  using belay_awaiter_tag = void;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> waiting) const noexcept {
    b::detail::runtime& rt = *b::detail::this_runtime;
    b::detail::node& me = *rt.current;
    if (me.cancel_pending()) return b::detail::unwind_cancelled(rt, waiting.promise());
    me.leaf = &waiting.promise();
    me.state = b::detail::node_state::ready;
    b::detail::node* first = rt.ready_head;
    rt.push_ready(me);
    if (first == nullptr || first->next_ready == &me) return;
    // From the end of the queue to the place behind its head.
    b::detail::node* last = first;
    while (last->next_ready != &me) last = last->next_ready;
    last->next_ready = nullptr;
    rt.ready_tail = last;
    me.next_ready = first->next_ready;
    first->next_ready = &me;
  }
  void await_resume() const noexcept {}
};

enum class ended_by { child_cancel, group_cancel, failure };

struct observed {
  long steps = 0;
  bool was_ended = false;
};

// Runs the scenario; before its turn number `at`, ends it in the given way.
b::task<> drive(b::testing::test_loop& loop, scenario run, world& w, long at, ended_by how, observed& seen) {
  b::detail::runtime& rt = *b::detail::this_runtime;
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> subject = g.spawn(
        [](scenario call, world& to) -> b::task<> {
          co_await call(to);
          to.finished = true;
        },
        run, std::ref(w));
    while (!subject.done()) {
      if (rt.ready_head == nullptr) {
        if (loop.loop().statistics().timers != 0) {
          loop.clock().jump_to(b::time_point(b::duration(rt.timers->next_due())));
          co_await b::checkpoint();
        } else {
          co_await one_turn();  // a thread is at work
        }
        continue;
      }
      if (seen.steps++ == at) {
        seen.was_ended = true;
        if (how == ended_by::child_cancel) subject.cancel();
        if (how == ended_by::group_cancel) g.cancel();
        if (how == ended_by::failure) throw boom("the driver");
      }
      co_await one_turn();
    }
    b::outcome<void> end =
        co_await b::as_outcome([](b::child<void>& of) -> b::task<> { co_await of; }(subject));
    if (!end.succeeded()) CHECK(end.failure().find<b::child_cancelled>() != nullptr);
  });
}

void check_everywhere(const named& one, ended_by how) {
  constexpr long far = 100'000;
  for (long at = 0;; ++at) {
    REQUIRE(at < far);
    CAPTURE(one.name);
    CAPTURE(at);
    b::testing::test_loop loop;
    world w;
    observed seen;
    std::string error;
    try {
      loop.run(drive(loop, one.run, w, at, how, seen));
    } catch (const std::exception& e) {
      error = e.what();
    }
    CHECK(error == (how == ended_by::failure && seen.was_ended ? "the driver" : ""));
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(w.balanced());
    if (!seen.was_ended) {
      CHECK(w.finished);
      REQUIRE(at > 0);
      return;
    }
  }
}

// The same by a deadline at every moment of the scenario's virtual time.
void check_deadlines(const named& one) {
  bool finished = false;
  for (b::duration limit = 0s; !finished; limit += 500ms) {
    REQUIRE(limit < 1h);
    CAPTURE(one.name);
    CAPTURE(limit.count());
    b::testing::test_loop loop;
    world w;
    finished = loop.run(b::move_on_after(limit, one.run(w))).has_value();
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(w.balanced());
  }
}

}  // namespace

TEST_CASE(
    "everywhere: one task of a group cancelled before each of its turns, nothing is left, lost or unbalanced") {
  for (const named& one : scenarios) check_everywhere(one, ended_by::child_cancel);
}

TEST_CASE("everywhere: the group cancelled before each turn, nothing is left, lost or unbalanced") {
  for (const named& one : scenarios) check_everywhere(one, ended_by::group_cancel);
}

TEST_CASE(
    "everywhere: a sibling fails before each turn, its error comes out and nothing else is left, lost or unbalanced") {
  for (const named& one : scenarios) check_everywhere(one, ended_by::failure);
}

TEST_CASE("everywhere: a limit at each moment, nothing is left, lost or unbalanced") {
  for (const named& one : scenarios) check_deadlines(one);
}
