// SPDX-License-Identifier: Apache-2.0
// Resources whose number is known at run time.

#include <belay/core/all.hpp>
#include <belay/core/exit_stack.hpp>
#include <doctest/doctest.h>

#include <algorithm>

#include "driven.hpp"

using namespace core_tests;

namespace {

b::managed<int> refuses_to_open(trail& out) {
  co_await b::sleep_for(1s);
  throw boom("closed on Mondays");
  int never = 0;
  co_yield never;
  out.push_back("not reached");
}
b::managed<int> fails_to_close(trail& out, std::string name) {
  int value = 1;
  co_yield value;
  out.push_back("close " + name);
  co_await b::sleep_for(1s);
  throw boom(name + " does not close");
}

template <class F>
trail in_loop(F body) {
  b::testing::test_loop loop;
  trail out;
  loop.run(body(out));
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
  return out;
}

}  // namespace

TEST_CASE(
    "exit_stack: closes in reverse order, resources and deferred cleanups alike; they are told how it ended [rows 282, 289, 290]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          const int got = co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<int> {
            int sum = 0;
            for (const char* name : {"a", "b"}) sum += co_await open.enter(resource(out, name, 1s, 1s));
            open.defer([&out](b::exit_status how) -> b::task<> {
              co_await b::sleep_for(1s);
              out.push_back("deferred: " + words(how));
            });
            open.defer([&out]() -> b::task<> {
              out.push_back("at once");
              co_return;
            });
            CHECK(open.size() == 4);
            co_return sum;
          });
          CHECK(got == 14);
        }) == trail{"open a", "open b", "at once", "deferred: succeeded", "close b: succeeded", "closed b",
                    "close a: succeeded", "closed a"});
}

TEST_CASE(
    "exit_stack: when the third cannot be opened, the second and the first are closed, and see the error [row 277]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          try {
            co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<> {
              co_await open.enter(resource(out, "a"));
              co_await open.enter(resource(out, "b"));
              co_await open.enter(refuses_to_open(out));
            });
          } catch (const boom& e) {
            out.push_back(e.what());
          }
        }) == trail{"open a", "open b", "close b: failed", "closed b", "close a: failed", "closed a",
                    "closed on Mondays"});
}

TEST_CASE(
    "exit_stack: closing that fails keeps no other from closing; errors are attached, or the first is the error [row 269]") {
  trail out = in_loop([](trail& into) -> b::task<> {
    try {
      co_await b::with_exit_stack([&into](b::exit_stack& open) -> b::task<> {
        co_await open.enter(fails_to_close(into, "a"));
        co_await open.enter(resource(into, "b"));
        co_await open.enter(fails_to_close(into, "c"));
        throw std::out_of_range("the body");
      });
    } catch (const std::out_of_range&) {
      const b::failure why = b::current_failure();
      for (const b::failure& one : why.attached()) into.push_back("attached: " + one.message());
    }
    try {
      co_await b::with_exit_stack([&into](b::exit_stack& open) -> b::task<> {
        co_await open.enter(fails_to_close(into, "d"));
        co_await open.enter(fails_to_close(into, "e"));
      });
    } catch (const boom& e) {
      into.push_back(e.what());
      const b::failure why = b::current_failure();
      for (const b::failure& one : why.attached()) into.push_back("attached: " + one.message());
    }
  });
  CHECK(out == trail{"open b", "close c", "close b: failed", "closed b", "close a",
                     "attached: c does not close", "attached: a does not close", "close e", "close d",
                     "e does not close", "attached: d does not close"});
}

TEST_CASE("exit_stack: one that hangs while closing is cut off at the limit, the others still close") {
  b::loop_options options;
  options.cleanup_limit = 5s;
  b::testing::test_loop loop(std::move(options));
  trail out;
  CHECK_THROWS_AS(loop.run([](trail& into) -> b::task<> {
    co_await b::with_exit_stack([&into](b::exit_stack& open) -> b::task<> {
      co_await open.enter(resource(into, "a"));
      co_await open.enter(resource(into, "slow", 0s, 1h));
    });
  }(out)),
                  b::timeout_error);
  CHECK(loop.elapsed() == 5s);
  CHECK(out == trail{"open a", "open slow", "close slow: succeeded", "close a: failed", "closed a"});
}

TEST_CASE(
    "exit_stack: a cleanup that defers another while closing: it runs next, it is not dropped [row 281]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<> {
            open.defer([&out]() -> b::task<> {
              out.push_back("first in, last out");
              co_return;
            });
            open.defer([&out, &open]() -> b::task<> {
              open.defer([&out]() -> b::task<> {
                out.push_back("added late");
                co_return;
              });
              out.push_back("adds");
              co_return;
            });
            co_return;
          });
        }) == trail{"adds", "added late", "first in, last out"});
}

TEST_CASE(
    "exit_stack: after a set-up that succeeded everything goes to another owner, who closes it once [row 278]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_exit_stack([&out](b::exit_stack& owner) -> b::task<> {
            co_await owner.enter(resource(out, "owner's"));
            co_await b::with_exit_stack([&out, &owner](b::exit_stack& set_up) -> b::task<> {
              co_await set_up.enter(resource(out, "a"));
              co_await set_up.enter(resource(out, "b"));
              set_up.move_to(owner);
              CHECK(set_up.size() == 0);
              CHECK(owner.size() == 3);
            });
            out.push_back("set up");
          });
        }) == trail{"open owner's", "open a", "open b", "set up", "close b: succeeded", "closed b",
                    "close a: succeeded", "closed a", "close owner's: succeeded", "closed owner's"});
}

TEST_CASE("exit_stack: whatever await is hit, what was opened is closed") {
  const auto found = b::testing::everywhere([](b::testing::stage& s) -> b::task<> {
    struct door {
      int open = 0;
    };
    auto& doors = s.make<door>();
    s.expect("all doors are closed",
             [&doors](const b::testing::run_end& how) { return doors.open == 0 || how.failed_in_cleanup; });
    const auto opens = [](door& of) -> b::managed<int> {
      co_await b::sleep_for(1s);
      ++of.open;
      int number = of.open;
      co_yield number;
      co_await b::sleep_for(1s);
      --of.open;
    };
    co_await b::with_exit_stack([&](b::exit_stack& stack) -> b::task<> {
      for (int i = 0; i < 3; ++i) co_await stack.enter(opens(doors));
      stack.defer([]() -> b::task<> { co_await naps(1s); });
      co_await naps(1s);
    });
  });
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE(
    "exit_stack: one resource is closed early, once: the end of the block closes the others only [row 283]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<> {
            static_cast<void>(co_await open.enter(resource(out, "a")));
            int& early = co_await open.enter(resource(out, "b", 0s, 1s));
            static_cast<void>(co_await open.enter(resource(out, "c")));
            CHECK(co_await open.close(early));
            CHECK(open.size() == 2);
            out.push_back("body");
          });
        }) == trail{"open a", "open b", "open c", "close b: succeeded", "closed b", "body",
                    "close c: succeeded", "closed c", "close a: succeeded", "closed a"});
}

TEST_CASE(
    "exit_stack: closed early twice, one after the other or at the same time, the second does nothing and says so [row 284]") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<> {
            int& one = co_await open.enter(resource(out, "a", 0s, 1s));
            co_await b::with_group([&](b::group& g) -> b::task<> {
              auto closes = [&open, &one]() -> b::task<bool> { co_return co_await open.close(one); };
              b::child<bool> first = g.spawn(closes);
              b::child<bool> second = g.spawn(closes);
              CHECK(co_await first);
              CHECK(!co_await second);
            });
            CHECK(!co_await open.close(one));
            int other = 0;
            CHECK(!co_await open.close(other));
          });
        }) == trail{"open a", "close a: succeeded", "closed a"});
}

TEST_CASE(
    "exit_stack: closing early fails or overruns, that is an error of the call, and the resource is gone") {
  b::loop_options options;
  options.cleanup_limit = 2s;
  b::testing::test_loop loop(std::move(options));
  trail out;
  loop.run(b::with_exit_stack([&](b::exit_stack& open) -> b::task<> {
    int& bad = co_await open.enter(fails_to_close(out, "a"));
    CHECK_THROWS_WITH_AS(static_cast<void>(co_await open.close(bad)), "a does not close", boom);
    int& slow = co_await open.enter(resource(out, "b", 0s, 9s));
    CHECK_THROWS_AS(static_cast<void>(co_await open.close(slow)), b::timeout_error);
    CHECK(open.size() == 0);
  }));
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("exit_stack: the caller of an early close is cancelled, the close runs to its end") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_exit_stack([&out](b::exit_stack& open) -> b::task<> {
            int& one = co_await open.enter(resource(out, "a", 0s, 3s));
            auto closes = [&]() -> b::task<> {
              CHECK(co_await open.close(one));
              out.push_back("after it");
              co_await b::yield();
              out.push_back("past the next await");
            };
            CHECK(!co_await b::move_on_after(1s, closes()));
          });
        }) == trail{"open a", "close a: succeeded", "closed a", "after it"});
}

TEST_CASE(
    "exit_stack: closing in parallel is asked for by a stack for each part, closed together; within a part the order holds [row 282]") {
  b::testing::test_loop loop;
  trail out;
  auto part = [&out](std::string name) -> b::task<> {
    co_await b::with_exit_stack([&out, name](b::exit_stack& open) -> b::task<> {
      static_cast<void>(co_await open.enter(resource(out, name + "1", 0s, 1s)));
      static_cast<void>(co_await open.enter(resource(out, name + "2", 0s, 1s)));
    });
  };
  loop.run([&]() -> b::task<> { co_await b::all(part("a"), part("b")); }());
  CHECK(loop.elapsed() == 2s);  // not 4: the parts close beside each other
  const auto place = [&out](const std::string& words) { return std::find(out.begin(), out.end(), words); };
  for (const std::string name : {"a", "b"}) {
    CHECK(place("closed " + name + "2") < place("close " + name + "1: succeeded"));
  }
}

TEST_CASE("everywhere: exit_stack with an early close") {
  drive("early close", [](t::stage& s) -> b::task<> {
    struct world {
      int opened = 0;
      int closed = 0;
    };
    auto& w = s.make<world>();
    s.expect("what was opened was closed, once, unless closing failed", [&w](const t::run_end& how) {
      return w.closed <= w.opened && (w.opened == w.closed || how.failed_in_cleanup);
    });
    auto opens = [](world& in) -> b::managed<int> {
      co_await b::sleep_for(1s);
      ++in.opened;
      int value = 1;
      co_yield value;
      co_await b::sleep_for(1s);
      ++in.closed;
    };
    co_await b::with_exit_stack([&](b::exit_stack& open) -> b::task<> {
      static_cast<void>(co_await open.enter(opens(w)));
      int& early = co_await open.enter(opens(w));
      static_cast<void>(co_await open.enter(opens(w)));
      static_cast<void>(co_await open.close(early));
      co_await b::sleep_for(1s);
      static_cast<void>(co_await open.close(early));
    });
  });
}

TEST_CASE("exit_stack: defer outside of a loop is misuse, and defers nothing") {
  b::exit_stack stack;
  CHECK_THROWS_AS(stack.defer([]() -> b::task<> { co_return; }), b::misuse_error);
  CHECK(stack.size() == 0);
}

TEST_CASE("exit_stack: an enter that is cancelled or fails in another task leaves the stack free to go") {
  CHECK(in_loop([](trail& out) -> b::task<> {
          co_await b::with_group([&out](b::group& g) -> b::task<> {
            co_await b::with_exit_stack([&](b::exit_stack& open) -> b::task<> {
              b::child<void> late = g.spawn(
                  [](b::exit_stack& into, trail& to) -> b::task<> {
                    static_cast<void>(co_await into.enter(resource(to, "late", 5s)));
                  },
                  std::ref(open), std::ref(out));
              co_await b::sleep_for(1s);
              co_await b::cancel_and_join(late);
              CHECK_THROWS_AS(static_cast<void>(co_await open.enter(refuses_to_open(out))), boom);
            });
          });
          out.push_back("end");
        }) == trail{"end"});
}
