// SPDX-License-Identifier: Apache-2.0
// A cancellation is the state of a scope: it is not counted, not withdrawn, not absorbed by a scope that did not ask for it.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

TEST_CASE("cancel: twice in one turn, one unwinding and one cleanup, whoever asked first [row 35]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> one = g.spawn(
        [](trail& to) -> b::task<> {
          co_await b::finally([]() -> b::task<> { co_await b::sleep_for(9s); },
                              [&to]() -> b::task<> {
                                co_await b::sleep_for(1s);
                                to.push_back("cleaned up");
                              });
        },
        std::ref(out));
    co_await b::yield();
    CHECK(one.cancel(b::cancel_reason::overload));
    CHECK(one.cancel(b::cancel_reason::shutdown));
    const b::outcome<void>& how = co_await b::as_outcome(one);
    CHECK(how.cancellation().reason() == b::cancel_reason::overload);
    CHECK(!one.cancel());
  }));
  CHECK(out == trail{"cleaned up"});
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("cancel: of a task that runs, and then awaits a child, which is cut at its first wait [row 41]") {
  b::testing::test_loop loop;
  trail out;
  auto child = [](trail& to) -> b::task<int> {
    const farewell local(to, "child unwound");
    to.push_back("child began");
    co_await b::sleep_for(9s);
    to.push_back("child went on");
    co_return 1;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    const farewell local(out, "parent unwound");
    g.cancel();
    co_await child(out);
    out.push_back("parent went on");
  }));
  CHECK(out == trail{"child began", "child unwound", "parent unwound"});
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE(
    "cancel: a group absorbs its own cancellation only; one from outside that came as well travels on, in either order [row 49]") {
  for (const bool outer_first : {false, true}) {
    b::testing::test_loop loop;
    trail out;
    auto inside = [](b::group& outer, trail& to, bool swap) -> b::task<> {
      co_await b::with_group([&](b::group& inner) -> b::task<> {
        if (swap) outer.cancel();
        inner.cancel();
        if (!swap) outer.cancel();
        co_await b::yield();
        to.push_back("inner body went on");
      });
      to.push_back("after the inner group");
      co_await b::yield();
      to.push_back("past the next await");
    };
    loop.run([&]() -> b::task<> {
      co_await b::with_group([&](b::group& outer) -> b::task<> { co_await inside(outer, out, outer_first); });
      out.push_back("outside");
    }());
    CHECK(out == trail{"outside"});
  }
}

TEST_CASE(
    "cancel: after a group has absorbed its own cancellation, one from outside and a limit still act [row 49]") {
  // CPython gh-155433: the group went on to swallow both.
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<> {
    co_await b::with_group([](b::group& g) -> b::task<> {
      g.cancel();
      co_await b::yield();
    });
    to.push_back("the group has ended");
    CHECK(!b::cancel_requested());
    co_await b::sleep_for(9s);
    to.push_back("went on");
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, work(out))), b::timeout_error);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(work, std::ref(out));
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(out == trail{"the group has ended", "the group has ended"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "cancel: asked for, and no await comes that it could act at: ends normally, and nothing of it is left [row 50]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    co_await b::with_group([](b::group& g) -> b::task<> {
      g.cancel();  // not delivered before the next await: there is none
      co_return;
    });
    CHECK(!b::cancel_requested());
    co_await b::yield();  // nothing is left of it
  }());
}

TEST_CASE("cancel: of a task that has ended as cancelled or with a value, changes nothing [row 51]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<void> cut = g.spawn(naps, 9s);
    b::child<int> gave = g.spawn(gives, 3);
    co_await b::yield();
    cut.cancel(b::cancel_reason::overload);
    const b::outcome<void>& how = co_await b::as_outcome(cut);
    CHECK(!cut.cancel(b::cancel_reason::shutdown));
    CHECK(how.cancelled());
    CHECK(how.cancellation().reason() == b::cancel_reason::overload);
    CHECK(!gave.cancel());
    CHECK(co_await gave == 3);
  }));
}

TEST_CASE(
    "cancel: cannot be wrapped into an error on its way: nothing is there to be caught, and its scope absorbs it [row 58]") {
  b::testing::test_loop loop;
  trail out;
  auto wraps = [](trail& to) -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(naps, 9s);
        co_await b::sleep_for(9s);
      });
    } catch (...) {
      to.push_back("caught");
      throw b::error("wrapped");
    }
    to.push_back("went on");
  };
  loop.run([&]() -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, wraps(out)));
    co_await b::yield();
  }());
  CHECK(out.empty());
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE(
    "cancel: of a scope whose work has not begun, acts at the first await of the body, and keeps a task from beginning [row 64]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.cancel();
      out.push_back("before the first await");
      co_await b::yield();
      out.push_back("past it");
    });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(
          [](trail& to) -> b::task<> {
            to.push_back("began");
            co_return;
          },
          std::ref(out));
      one.cancel();
      co_await b::yield();
    });
  }());
  CHECK(out == trail{"before the first await"});
}

TEST_CASE(
    "with_timeout: a body that catches everything and tries again, is not kept alive by that: there is nothing to catch, and each cleanup is bounded [row 97]") {
  b::testing::test_loop loop;
  trail out;
  auto stubborn = [](trail& to) -> b::task<> {
    for (int i = 0; i < 3; ++i) {
      try {
        co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                            [&to]() -> b::task<> {
                              co_await b::sleep_for(1s);
                              to.push_back("cleaned up");
                            });
      } catch (...) {
        to.push_back("caught");
      }
      to.push_back("tries again");
    }
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, stubborn(out))), b::timeout_error);
  CHECK(out == trail{"cleaned up"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "spawn: the child begins at the next turn; what it throws in its first line, or ends with, does not touch the parent before its next await [row 3] [row 4]") {
  // CPython gh-128550, gh-128588: a child that was started eagerly cancelled its parent too early.
  b::testing::test_loop loop;
  trail out;
  auto group = [](trail& to) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<int> bad = g.spawn(fails, std::string("in its first line"));
      b::child<int> good = g.spawn(gives, 1);
      CHECK(!bad.done());
      CHECK(!good.done());
      CHECK(!b::cancel_requested());
      to.push_back("the parent goes on");
      co_await b::sleep_for(9s);
      to.push_back("past its await");
    });
  };
  CHECK_THROWS_WITH_AS(loop.run(group(out)), "in its first line", boom);
  CHECK(out == trail{"the parent goes on"});
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE(
    "spawn: a child that cancels its group before its first await, is cancelled with it, and the group ends [row 5]") {
  // CPython gh-155418: a child that was started eagerly was not registered yet, and hung.
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::group& of, trail& to) -> b::task<> {
          of.cancel();
          to.push_back("until its next await");
          co_await b::sleep_for(9s);
          to.push_back("past it");
        },
        std::ref(g), std::ref(out));
    co_await b::sleep_for(9s);
    out.push_back("body");
  }));
  CHECK(out == trail{"until its next await"});
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE(
    "with_timeout: of zero around a child that is shielded by being another's, is a timeout at once; the child goes on [row 86]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives_after, 2s, 5);
    co_await b::yield();
    auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
    CHECK_THROWS_AS(static_cast<void>(co_await b::with_timeout(0s, waits(one))), b::timeout_error);
    CHECK(loop.elapsed() == 0s);
    CHECK(!one.done());
    CHECK(co_await one == 5);
  }));
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "with_timeout: nested, around a child that has ended, cancelled from outside in the same turn: the result is still in the handle [row 123]") {
  // CPython gh-86296: wait_for lost it.
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::event go;
    b::child<std::string> inner = g.spawn(
        [](b::event& until) -> b::task<std::string> {
          co_await until.wait();
          co_return "done";
        },
        std::ref(go));
    b::child<void> waiter = g.spawn(
        [](b::child<std::string>& on, trail& to) -> b::task<> {
          auto waits = [](b::child<std::string>& of) -> b::task<> { static_cast<void>(co_await of); };
          auto nested = [&]() -> b::task<> { co_await b::with_timeout(5s, waits(on)); };
          co_await b::with_timeout(9s, nested());
          to.push_back("the waiter had its result");
          co_await b::yield();
          to.push_back("went on");
        },
        std::ref(inner), std::ref(out));
    co_await b::yield();
    co_await b::yield();
    go.set();
    co_await b::yield();
    CHECK(inner.done());
    waiter.cancel();
    const b::outcome<void>& how = co_await b::as_outcome(waiter);
    CHECK(how.cancelled());
    CHECK(co_await inner == "done");
  }));
  CHECK((out.empty() || out == trail{"the waiter had its result"}));
}

TEST_CASE("time: is the machine's monotonic clock, and nothing that waits knows another one [row 113]") {
  static_assert(b::time_point::clock::is_steady);
  static_assert(!std::is_convertible_v<std::chrono::system_clock::time_point, b::time_point>);
  // What the injected clock shows is all that counts: here it stands still but for the jumps to the next timer.
  struct jumps final : b::clock {
    b::time_point now() noexcept override { return time; }
    bool jump_to(b::time_point next) noexcept override {
      time = next;
      return true;
    }
    b::time_point time = b::time_point() + 100s;
  };
  const auto before = std::chrono::steady_clock::now();
  const b::time_point shown = b::steady_clock().now();
  const auto after = std::chrono::steady_clock::now();
  CHECK(shown >= before);
  CHECK(shown <= after);
  jumps clock;
  b::loop loop({.clock = &clock});
  CHECK_THROWS_AS(loop.run(b::with_timeout(2s, naps(10s))), b::timeout_error);
  CHECK(clock.time == b::time_point() + 102s);
}
