// SPDX-License-Identifier: Apache-2.0
// all: values in order, the first failure cancels the rest.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

BELAY_CORO_WRAPPER b::task<int> ends_last(trail& out, b::duration length) {
  return b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                    [&out, length]() -> b::task<> {
                      co_await b::sleep_for(length);
                      out.push_back("clean");
                    });
}
b::task<std::unique_ptr<int>> box() { co_return std::make_unique<int>(3); }
b::task<int&> reference(int& to) { co_return to; }
BELAY_CORO_WRAPPER b::task<int> cleanup_fails(std::string words) {
  return b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                    [words]() -> b::task<> {
                      co_await b::yield();
                      throw boom(words);
                    });
}

}  // namespace

TEST_CASE("all: values in the order of the arguments, whatever ends first [row 176]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::all(gives_after(3s, 1), gives_after(1s, 2), gives(3))) == std::tuple(1, 2, 3));
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
}

TEST_CASE("all: of none, gives an empty result at once [row 176]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::all(std::vector<b::task<int>>())).empty());
  CHECK(loop.run(b::all()) == std::tuple<>());
}

TEST_CASE("all: void gives unit; move-only values and references are passed through") {
  b::testing::test_loop loop;
  int here = 0;
  auto got = loop.run(b::all(naps(1s), box(), reference(here)));
  static_assert(std::is_same_v<decltype(got), std::tuple<b::unit, std::unique_ptr<int>, int&>>);
  CHECK(*std::get<1>(got) == 3);
  CHECK(&std::get<2>(got) == &here);
}

TEST_CASE("all: a number known at run time, in order") {
  b::testing::test_loop loop;
  std::vector<b::task<int>> many;
  for (int i = 0; i < 100; ++i) many.push_back(gives_after(std::chrono::seconds(100 - i), i));
  const std::vector<int> got = loop.run(b::all(std::move(many)));
  REQUIRE(got.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(got[static_cast<std::size_t>(i)] == i);
  std::vector<b::task<>> nothing;
  nothing.push_back(naps(1s));
  CHECK(loop.run(b::all(std::move(nothing))).size() == 1);
}

TEST_CASE(
    "all: one fails, the others are cancelled and waited for, their errors are attached [row 126] [row 131]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    try {
      co_await b::all(ends_last(to, 3s), fails_after(1s, "first"), cleanup_fails("second"));
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "first");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "second");
    }
  }(out));
  CHECK(out == trail{"clean"});
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("all: of a vector, one fails, the values of the others are destroyed") {
  b::testing::test_loop loop;
  int live = 0;
  auto gives_counted = [](int& count) -> b::task<counted> { co_return counted(count); };
  auto fails_late = [](int& count) -> b::task<counted> {
    co_await b::sleep_for(1s);
    throw boom("late");
    co_return counted(count);
  };
  std::vector<b::task<counted>> many;
  for (int i = 0; i < 5; ++i) many.push_back(gives_counted(live));
  many.push_back(fails_late(live));
  CHECK_THROWS_AS(static_cast<void>(loop.run(b::all(std::move(many)))), boom);
  CHECK(live == 0);
}

TEST_CASE("all: cancelled, all are cancelled and waited for") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, b::all(ends_last(to, 1s), ends_last(to, 2s))));
    std::vector<b::task<int>> many;
    many.push_back(ends_last(to, 1s));
    many.push_back(gives(1));
    CHECK(!co_await b::move_on_after(1s, b::all(std::move(many))));
  }(out));
  CHECK(out.size() == 3);
  CHECK(loop.elapsed() == 5s);
  CHECK(loop.nothing_left());
}

TEST_CASE("all: cancelled when every value is there, the values win") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<std::tuple<int, int>> both =
        g.spawn([]() -> b::task<std::tuple<int, int>> { co_return co_await b::all(gives(1), gives(2)); });
    co_await b::yield();  // both has begun
    co_await b::yield();  // the two have ended
    both.cancel();
    CHECK(co_await both == std::tuple(1, 2));
  }));
}

TEST_CASE("all: cancelled before its first step, nothing of it runs and the arguments are destroyed") {
  b::testing::test_loop loop;
  int live = 0;
  bool ran = false;
  auto runs = [](bool& flag, counted) -> b::task<> {
    flag = true;
    co_return;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<std::tuple<b::unit, b::unit>> both =
        g.adopt(b::all(runs(ran, counted(live)), runs(ran, counted(live))));
    CHECK(live == 2);
    both.cancel();
    co_return;
  }));
  CHECK(live == 0);
  CHECK(!ran);
}

TEST_CASE("all: nested, errors come out bare with what is attached") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(
                           b::all(b::all(gives_after(9s, 1), fails_after(1s, "deep")), gives_after(9s, 2)))),
                       "deep", boom);
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("all: the trace of its error names where all was awaited") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto line = std::source_location::current().line() + 2;
    try {
      static_cast<void>(co_await b::all(gives(1), fails_after(1s, "x")));
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(!what.trace().empty());
      CHECK(what.trace().back().line() == line);
    }
  }());
}
