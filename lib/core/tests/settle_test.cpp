// SPDX-License-Identifier: Apache-2.0
// settle and as_outcome(child): every outcome is kept, nothing cancels anything.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/settle.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<std::unique_ptr<int>> box() { co_return std::make_unique<int>(3); }
b::task<int&> reference(int& to) { co_return to; }
BELAY_CORO_WRAPPER b::task<int> cleanup_fails(std::string words) {
  return b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                    [words]() -> b::task<> {
                      co_await b::yield();
                      throw boom(words);
                    });
}
b::task<int> until(trail& out, std::string name, b::duration length) {
  const farewell here(out, name);
  co_return co_await gives_after(length, 1);
}

// No coroutine itself: what it throws is thrown before there is a task.
BELAY_CORO_WRAPPER b::task<> makes_none() { throw boom("no task"); }

}  // namespace

TEST_CASE(
    "settle: every outcome in the order of the arguments, a failure cancels nothing [row 176] [row 179]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto [slow, bad, quick] = co_await b::settle(gives_after(3s, 1), fails_after(1s, "bad"), naps(2s));
    static_assert(std::is_same_v<decltype(slow), b::outcome<int>>);
    static_assert(std::is_same_v<decltype(quick), b::outcome<void>>);
    CHECK(slow.value() == 1);
    CHECK(bad.failure().message() == "bad");
    CHECK(quick.succeeded());
  }());
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "settle: of a number known at run time; of none, gives an empty result at once [row 176] [row 179]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::settle(std::vector<b::task<int>>())).empty());
  CHECK(loop.run(b::settle(std::vector<b::child<int>>())).empty());
  static_cast<void>(loop.run(b::settle()));
  std::vector<b::task<int>> many;
  for (int i = 0; i < 10; ++i) {
    many.push_back(i % 2 == 0 ? gives_after(std::chrono::seconds(10 - i), i)
                              : fails_after(std::chrono::seconds(10 - i), std::to_string(i)));
  }
  std::vector<b::outcome<int>> ends = loop.run(b::settle(std::move(many)));
  REQUIRE(ends.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    if (i % 2 == 0) {
      CHECK(ends[i].value() == static_cast<int>(i));
    } else {
      CHECK(ends[i].failure().message() == std::to_string(i));
    }
  }
  CHECK(loop.elapsed() == 10s);
}

TEST_CASE("settle: move-only values and references are passed through") {
  b::testing::test_loop loop;
  int here = 0;
  auto [boxed, referred] = loop.run(b::settle(box(), reference(here)));
  CHECK(*boxed.value() == 3);
  CHECK(&referred.value() == &here);
}

TEST_CASE("settle: one is late, only its place has the timeout [row 124]") {
  b::testing::test_loop loop;
  auto [one, late, two] =
      loop.run(b::settle(gives_after(1s, 1), b::with_timeout(2s, gives_after(9s, 2)), gives_after(3s, 3)));
  CHECK(one.value() == 1);
  CHECK(late.failure().find<b::timeout_error>() != nullptr);
  CHECK(two.value() == 3);
}

TEST_CASE("settle: cancelled, all are cancelled and waited for, no result [row 180]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, b::settle(until(to, "a", 9s), until(to, "b", 9s))));
    std::vector<b::task<int>> many;
    many.push_back(until(to, "c", 9s));
    many.push_back(until(to, "d", 500ms));
    CHECK(!co_await b::move_on_after(1s, b::settle(std::move(many))));
  }(out));
  std::sort(out.begin(), out.end());
  CHECK(out == trail{"a", "b", "c", "d"});
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.nothing_left());
}

TEST_CASE("settle: cancelled when every task has ended, the outcomes win") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    using ends = std::tuple<b::outcome<int>, b::outcome<int>>;
    b::child<ends> both =
        g.spawn([]() -> b::task<ends> { co_return co_await b::settle(gives(1), fails("x")); });
    co_await b::yield();  // both has begun
    co_await b::yield();  // the two have ended
    both.cancel();
    ends& got = co_await both;
    CHECK(std::get<0>(got).value() == 1);
    CHECK(std::get<1>(got).failure().message() == "x");
  }));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "settle: cancelled, what failed before or in its cleanup is reported, once each [row 180] [row 71]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(!co_await b::move_on_after(
        2s, b::settle(fails_after(1s, "early"), cleanup_fails("cleanup"), gives_after(9s, 1))));
  }());
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
  loop.run([]() -> b::task<> {
    // Each has an end of its own: nothing was cut short.
    CHECK(co_await b::move_on_after(2s, b::settle(fails_after(1s, "early"), cleanup_fails("cleanup"))));
  }());
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
}

TEST_CASE("settle: outcomes with errors that nobody looks at are reported to the sink") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto [one, two] = co_await b::settle(fails("unseen"), fails("seen"));
    CHECK(two.failure());
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("unseen") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE(
    "settle: the second argument throws before there is a task, the first is destroyed, unstarted [row 184]") {
  b::testing::test_loop loop;
  int live = 0;
  auto holds = [](counted) -> b::task<> { co_return; };
  loop.run([](auto& first, int& count) -> b::task<> {
    try {
      static_cast<void>(co_await b::settle(first(counted(count)), makes_none()));
    } catch (const boom&) {
      CHECK(count == 0);
    }
  }(holds, live));
  CHECK(live == 0);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "as_outcome of a handle: value, error and cancelled are told apart, as often as asked [row 10] [row 83]") {
  b::testing::test_loop loop;
  loop.run(b::with_group({.policy = b::group_policy::supervise}, [](b::group& g) -> b::task<> {
    b::child<int> good = g.spawn(gives_after, 1s, 5);
    b::child<int> bad = g.spawn(fails_after, 1s, std::string("bad"));
    b::child<void> stopped = g.spawn(naps, 9s);
    CHECK((co_await b::as_outcome(good)).value() == 5);
    CHECK((co_await b::as_outcome(good)).value() == 5);
    CHECK((co_await b::as_outcome(bad)).failure().message() == "bad");
    stopped.cancel(b::cancel_reason::overload);
    b::outcome<void>& how = co_await b::as_outcome(stopped);
    CHECK(how.cancelled());
    CHECK(how.cancellation().reason() == b::cancel_reason::overload);
    CHECK_THROWS_AS(static_cast<void>(how.value()), b::child_cancelled);
    b::outcome<int> owned = co_await b::as_outcome(g.spawn(gives, 6));
    CHECK(owned.value() == 6);
  }));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "as_outcome of a handle: the awaiter's own cancellation passes through, the task is not touched [row 73] [row 193]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> slow = g.spawn(gives_after, 5s, 1);
    auto waits = [](b::child<int>& on, trail& to) -> b::task<> {
      static_cast<void>(co_await b::as_outcome(on));
      to.push_back("went on");
    };
    CHECK(!co_await b::move_on_after(1s, waits(slow, out)));
    CHECK(!slow.done());
    CHECK(co_await slow == 1);
  }));
  CHECK(out.empty());
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("as_outcome and settle of an empty handle, are misuse_errors [row 9]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run([]() -> b::task<> {
    b::child<int> none;
    static_cast<void>(co_await b::as_outcome(none));
  }()),
                  b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(loop.run([]() -> b::task<std::vector<b::outcome<int>>> {
                    std::vector<b::child<int>> none(2);
                    co_return co_await b::settle(std::move(none));
                  }())),
                  b::misuse_error);
}

TEST_CASE(
    "settle of handles: waits for tasks that run; one that somebody cancelled is cancelled [row 179] [row 191]") {
  b::testing::test_loop loop;
  loop.run(b::with_group({.policy = b::group_policy::supervise}, [](b::group& g) -> b::task<> {
    std::vector<b::child<int>> running;
    running.push_back(g.spawn(gives_after, 2s, 1));
    running.push_back(g.spawn(fails_after, 1s, std::string("bad")));
    running.push_back(g.spawn(gives_after, 9s, 3));
    running[2].cancel();
    std::vector<b::outcome<int>> ends = co_await b::settle(std::move(running));
    CHECK(ends[0].value() == 1);
    CHECK(ends[1].failure().message() == "bad");
    CHECK(ends[2].cancelled());
    CHECK(ends[2].cancellation().who() == "child.cancel");
  }));
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("settle of handles: cancelled or too late, the tasks go on in their group [row 191] [row 193]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    std::vector<b::child<int>> running;
    running.push_back(g.spawn(until, std::ref(out), std::string("a"), 5s));
    CHECK(!co_await b::move_on_after(1s, b::settle(std::move(running))));
    out.push_back("moved on");
  }));
  CHECK(out == trail{"moved on", "a"});
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("all and move_on_after: references are held as std::reference_wrapper") {
  b::testing::test_loop loop;
  int one = 1;
  int two = 2;
  std::vector<b::task<int&>> many;
  many.push_back(reference(one));
  many.push_back(reference(two));
  const std::vector<std::reference_wrapper<int>> got = loop.run(b::all(std::move(many)));
  CHECK(&got[0].get() == &one);
  CHECK(&got[1].get() == &two);
  const std::optional<std::reference_wrapper<int>> in_time = loop.run(b::move_on_after(1s, reference(two)));
  REQUIRE(in_time);
  CHECK(&in_time->get() == &two);
}

// What asyncio.wait does, with handles: waiting for a task through its handle does not own it.

namespace {
b::task<int> waits(b::child<int>& on) { co_return co_await on; }
constexpr b::group_options supervised{.policy = b::group_policy::supervise};
}  // namespace

TEST_CASE(
    "handles: the same one waited for twice by all, its task runs once and both get the result [row 182]") {
  b::testing::test_loop loop;
  int ran = 0;
  auto runs = [](int& count) -> b::task<int> {
    co_await b::sleep_for(1s);
    co_return ++count;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(runs, std::ref(ran));
    auto [x, y] = co_await b::all(waits(one), waits(one));
    CHECK(x == 1);
    CHECK(y == 1);
  }));
  CHECK(ran == 1);
}

TEST_CASE(
    "handles: one is cancelled by somebody else, all fails with child_cancelled and is not cancelled itself [row 181]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> good = g.spawn(gives_after, 9s, 1);
    b::child<int> stopped = g.spawn(gives_after, 9s, 2);
    co_await b::yield();
    stopped.cancel(b::cancel_reason::overload);
    try {
      static_cast<void>(co_await b::all(waits(good), waits(stopped)));
      FAIL("no error");
    } catch (const b::child_cancelled& e) {
      CHECK(std::string(e.what()).find(": overload") != std::string::npos);
    }
    CHECK(!b::cancel_requested());
    CHECK(!good.done());
  }));
}

TEST_CASE("handles: waiting until the first fails, or all have ended, cancels none of the tasks [row 190]") {
  b::testing::test_loop loop;
  loop.run(b::with_group(supervised, [&](b::group& g) -> b::task<> {
    b::child<int> bad = g.spawn(fails_after, 1s, std::string("bad"));
    b::child<int> slow = g.spawn(gives_after, 5s, 1);
    try {
      static_cast<void>(co_await b::all(waits(bad), waits(slow)));
      FAIL("no error");
    } catch (const boom&) {
      CHECK(loop.elapsed() == 1s);
    }
    CHECK(bad.done());
    CHECK(!slow.done());
    b::child<int> other = g.spawn(gives_after, 2s, 2);
    CHECK(co_await b::all(waits(slow), waits(other)) == std::tuple(1, 2));
    CHECK(loop.elapsed() == 5s);
  }));
}

TEST_CASE(
    "handles: a deadline for all of them, what is there by then is used, the rest is cancelled [row 191] [row 204]") {
  b::testing::test_loop loop;
  int sum = 0;
  loop.run(b::with_group(supervised, [&](b::group& g) -> b::task<> {
    std::vector<b::child<int>> running;
    for (int i = 1; i <= 4; ++i) running.push_back(g.spawn(gives_after, std::chrono::seconds(i), i));
    auto wait_for_all = [](std::vector<b::child<int>>& them) -> b::task<> {
      for (b::child<int>& one : them) co_await b::as_outcome(one);
    };
    CHECK(!co_await b::move_on_after(2500ms, wait_for_all(running)));
    for (b::child<int>& one : running) {
      if (one.done()) sum += one.take();
    }
    g.cancel();
  }));
  CHECK(sum == 3);
  CHECK(loop.elapsed() == 2500ms);
}
