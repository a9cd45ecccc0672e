// SPDX-License-Identifier: Apache-2.0
// Where the rules of C++ for coroutines, exceptions and lifetimes meet those of Belay.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/map.hpp>
#include <belay/core/race.hpp>
#include <belay/core/settle.hpp>
#include <doctest/doctest.h>

#include <exception>
#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

// A destructor that breaks the rule.
class throws_when_gone {
 public:
  throws_when_gone(std::string words, int& live) : words_(std::move(words)), here_(live) {}
  throws_when_gone(const throws_when_gone&) = delete;
  throws_when_gone& operator=(const throws_when_gone&) = delete;
  ~throws_when_gone() noexcept(false) { throw boom(words_); }

 private:
  std::string words_;
  counted here_;
};

// Looks at the state of exceptions when it is destroyed.
class looks_around {
 public:
  explicit looks_around(std::vector<int>& in_flight) : in_flight_(&in_flight) {}
  looks_around(const looks_around&) = delete;
  looks_around& operator=(const looks_around&) = delete;
  ~looks_around() {
    in_flight_->push_back(std::uncaught_exceptions() + (std::current_exception() != nullptr ? 10 : 0));
  }

 private:
  std::vector<int>* in_flight_;
};

template <class T>
using promise_of = typename b::task<T>::promise_type;

}  // namespace

TEST_CASE(
    "task: its promise catches everything: no exception comes out of resume, and the final suspension cannot throw [row 20] [row 509]") {
  static_assert(noexcept(std::declval<promise_of<int>&>().unhandled_exception()));
  static_assert(noexcept(std::declval<promise_of<void>&>().unhandled_exception()));
  static_assert(noexcept(std::declval<promise_of<int&>&>().unhandled_exception()));
  static_assert(noexcept(std::declval<b::managed<int>::promise_type&>().unhandled_exception()));
  using final = decltype(std::declval<promise_of<int>&>().final_suspend());
  static_assert(noexcept(std::declval<promise_of<int>&>().final_suspend()));
  static_assert(noexcept(std::declval<final&>().await_ready()));
  static_assert(noexcept(std::declval<final&>().await_suspend(std::coroutine_handle<promise_of<int>>())));
  static_assert(noexcept(std::declval<final&>().await_resume()));
  static_assert(noexcept(std::declval<b::managed<int>::promise_type&>().final_suspend()));
  // The continuation that throws at once, runs after the task has ended, not inside of its end.
  b::testing::test_loop loop;
  auto awaits = [](int& live) -> b::task<> {
    auto child = [](int& count) -> b::task<> {
      const counted here(count);
      co_await b::sleep_for(1s);
    };
    co_await child(live);
    CHECK(live == 0);
    throw boom("the continuation");
  };
  int live = 0;
  CHECK_THROWS_WITH_AS(loop.run(awaits(live)), "the continuation", boom);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "cancel: unwinds without an exception, but is more than destroying a frame: the cleanup awaits, and its end is waited for [row 21]") {
  b::testing::test_loop loop;
  std::vector<int> in_flight;
  trail out;
  auto work = [](std::vector<int>& seen, trail& to) -> b::task<> {
    const looks_around local(seen);
    co_await b::finally(
        [&seen]() -> b::task<> {
          const looks_around deeper(seen);
          co_await b::sleep_for(100s);
        },
        [&to]() -> b::task<> {
          co_await b::sleep_for(2s);
          to.push_back("cleaned up");
        });
  };
  loop.run([&](auto& call) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, call(in_flight, out)));
    CHECK(out == trail{"cleaned up"});
  }(work));
  CHECK(in_flight == std::vector<int>{0, 0});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE(
    "task: no exception that one task handles is seen by another, nor by what comes after an await [row 510]") {
  b::testing::test_loop loop;
  std::vector<int> in_flight;
  auto other = [](std::vector<int>& seen) -> b::task<> {
    for (int i = 0; i < 3; ++i) {
      const looks_around here(seen);
      CHECK(!b::current_failure());
      co_await b::yield();
    }
  };
  auto handles = [](std::vector<int>& seen) -> b::task<> {
    for (int i = 0; i < 3; ++i) {
      try {
        static_cast<void>(co_await fails_after(0s, "handled"));
      } catch (const boom&) {
        CHECK(std::current_exception() != nullptr);
      }
      const looks_around here(seen);
      CHECK(!b::current_failure());
      co_await b::yield();
    }
  };
  loop.run(
      [&]() -> b::task<> { co_await b::all(handles(in_flight), other(in_flight), handles(in_flight)); }());
  CHECK(in_flight == std::vector<int>(9, 0));
}

TEST_CASE(
    "spawn: a lambda with captures is kept as long as its task runs, also a temporary one, with all it holds [row 506]") {
  b::testing::test_loop loop;
  int live = 0;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn([text = std::string("captured, and too long for the small buffer"), here = counted(live),
             &out]() -> b::task<> {
      co_await b::sleep_for(1s);
      out.push_back(text);
    });
    CHECK(live == 1);
    co_await b::yield();
  }));
  CHECK(out == trail{"captured, and too long for the small buffer"});
  CHECK(live == 0);
  auto kept = [](std::shared_ptr<int> held) {
    return [held]() -> b::task<int> {
      co_await b::yield();
      co_return *held;
    };
  };
  // The other combinators keep their functions as well.
  CHECK(loop.run(b::finally(kept(std::make_shared<int>(4)), []() -> b::task<> { co_return; })) == 4);
}

TEST_CASE(
    "spawn: a parameter by reference refers to a copy that the task owns, so a temporary may be given [row 507]") {
  b::testing::test_loop loop;
  trail out;
  auto says = [](const std::string& what, trail& to) -> b::task<> {
    co_await b::sleep_for(1s);
    to.push_back(what);
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    {
      std::string local = "a local that is gone, long enough to be on the heap";
      g.spawn(says, local, std::ref(out));
    }
    g.spawn(says, std::string("a temporary that is gone, long enough to be on the heap"), std::ref(out));
    co_return;
  }));
  CHECK(out.size() == 2);
  CHECK(out[0] == "a local that is gone, long enough to be on the heap");
}

TEST_CASE(
    "task: a local whose destructor throws while it is cancelled: the other locals go, and it is an error like any other [row 508]") {
  b::testing::test_loop loop;
  int live = 0;
  auto work = [](int& count) -> b::task<std::string> {
    const counted first(count);
    const throws_when_gone bad("destructor", count);
    const counted last(count);
    co_await b::sleep_for(9s);
    co_return "never";
  };
  loop.run([&](auto& call) -> b::task<> {
    b::outcome<std::optional<std::string>> how = co_await b::as_outcome(b::move_on_after(1s, call(live)));
    CHECK(how.failure().message() == "destructor");
    CHECK(live == 0);
    auto outer = [&]() -> b::task<> { co_await call(live); };
    CHECK_THROWS_WITH_AS(co_await b::with_timeout(1s, outer()), "destructor", boom);
    CHECK(live == 0);
  }(work));
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "task: a local whose destructor throws after co_return or after fail: that is its error, value and first error are not lost track of [row 508]") {
  b::testing::test_loop loop;
  int live = 0;
  auto returns = [](int& count) -> b::task<std::shared_ptr<counted>> {
    const throws_when_gone bad("after the value", count);
    co_return std::make_shared<counted>(count);
  };
  auto fails_first = [](int& count, bool waits) -> b::task<> {
    const throws_when_gone bad("after the error", count);
    if (waits) co_await b::yield();
    co_await b::fail(boom("first"));
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(returns(live))), "after the value", boom);
  CHECK(live == 0);
  for (const bool waits : {false, true})
    CHECK_THROWS_WITH_AS(loop.run(fails_first(live, waits)), "after the error", boom);
  CHECK(live == 0);
  REQUIRE(loop.lost_errors().size() == 2);
  CHECK(loop.lost_errors()[0].find("boom: first") != std::string::npos);
}

TEST_CASE(
    "results: move-only values and errors go through all, settle, map, race and any; what is dropped is destroyed once [row 514]") {
  b::testing::test_loop loop;
  int live = 0;
  struct box {
    explicit box(int& count) : here(std::make_unique<counted>(count)) {}
    std::unique_ptr<counted> here;
  };
  auto gives_box = [](int& count, b::duration after) -> b::task<box> {
    co_await b::sleep_for(after);
    co_return box(count);
  };
  auto fails_with_box = [](int& count, b::duration after) -> b::task<box> {
    struct heavy : std::runtime_error {
      explicit heavy(int& of) : std::runtime_error("heavy"), here(of) {}
      counted here;
    };
    co_await b::sleep_for(after);
    throw heavy(count);
  };
  static_assert(!std::is_copy_constructible_v<box>);
  loop.run([&]() -> b::task<> {
    {
      auto [one, two] = co_await b::all(gives_box(live, 1s), gives_box(live, 2s));
      CHECK(live == 2);
    }
    CHECK(live == 0);
    CHECK_THROWS_AS(static_cast<void>(co_await b::all(gives_box(live, 1s), fails_with_box(live, 2s))),
                    std::runtime_error);
    {
      auto [good, bad] = co_await b::settle(gives_box(live, 1s), fails_with_box(live, 1s));
      CHECK(bad.failure().message() == "heavy");
      CHECK(std::move(good).value().here != nullptr);
    }
    {
      const std::vector<int> items{1, 2, 3};
      auto boxes =
          co_await b::map(items, [&](int) -> b::task<box> { co_return co_await gives_box(live, 1s); }, 2);
      CHECK(live == 3);
    }
    CHECK((co_await b::race(gives_box(live, 1s), gives_box(live, 9s))).here != nullptr);
    CHECK((co_await b::any(fails_with_box(live, 1s), gives_box(live, 2s))).here != nullptr);
    {
      // The value comes in the turn of the limit, and nobody takes it.
      b::outcome<box> dropped = co_await b::as_outcome(gives_box(live, 1s));
      b::outcome<box> moved = std::move(dropped);
      CHECK(live == 1);
    }
    co_await b::yield();
    CHECK(live == 0);
  }());
  CHECK(live == 0);
}

TEST_CASE(
    "errors: without a throw the same holds: trace, attached and replaced errors in the failure; a cancellation is none [row 515]") {
  b::testing::test_loop loop;
  auto deep = []() -> b::task<int> {
    co_await b::fail(boom("no throw"));
    co_return 1;
  };
  auto passes = [](auto& call) -> b::task<int> { co_return co_await b::or_fail(call()); };
  loop.run([&]() -> b::task<> {
    auto work = [&]() -> b::task<int> {
      co_return co_await b::finally([&]() -> b::task<int> { co_return co_await b::or_fail(passes(deep)); },
                                    []() -> b::task<> { co_await b::fail(boom("cleanup")); });
    };
    const b::outcome<int> how = co_await b::as_outcome(work());
    const b::failure what = how.failure();
    CHECK(what.message() == "no throw");
    CHECK(what.trace().size() >= 3);
    REQUIRE(what.attached().size() == 1);
    CHECK(what.attached()[0].message() == "cleanup");
    const b::outcome<std::optional<b::unit>> cut = co_await b::as_outcome(b::move_on_after(1s, naps(9s)));
    CHECK(cut.succeeded());
    CHECK(!cut.failure());
  }());
  CHECK(loop.lost_errors().empty());
}
