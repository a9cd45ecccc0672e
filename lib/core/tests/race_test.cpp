// SPDX-License-Identifier: Apache-2.0
// race and any: one decides, the others are cancelled and waited for, nothing is lost.

#include <belay/core/finally.hpp>
#include <belay/core/race.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<std::string> says_after(b::duration length, std::string what) {
  co_await b::sleep_for(length);
  co_return what;
}
b::task<int&> reference(int& to) { co_return to; }
b::task<std::unique_ptr<int>> box_after(b::duration length, int value) {
  co_await b::sleep_for(length);
  co_return std::make_unique<int>(value);
}
BELAY_CORO_WRAPPER b::task<int> cleans_up(trail& out, b::duration length, std::string name) {
  return b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                    [&out, length, name]() -> b::task<> {
                      co_await b::sleep_for(length);
                      out.push_back(name);
                    });
}
BELAY_CORO_WRAPPER b::task<int> cleanup_fails(std::string words) {
  return b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                    [words]() -> b::task<> {
                      co_await b::yield();
                      throw boom(words);
                    });
}
// Tells who cancelled it.
b::task<int> tells_who(std::string& to) {
  co_await b::use([](std::string& who) -> b::managed<int> {
    int value = 0;
    const b::exit_status how = co_yield value;
    if (how.cancelled()) who = b::describe(how.cancellation());
  }(to));
  co_return co_await gives_after(1000s, 1);
}
b::task<counted> counted_after(b::duration length, int& live) {
  co_await b::sleep_for(length);
  co_return counted(live);
}
template <class T>
std::vector<b::task<T>> list(auto... tasks) {
  std::vector<b::task<T>> many;
  (many.push_back(std::move(tasks)), ...);
  return many;
}

}  // namespace

TEST_CASE("race: the first to end wins, the others are cancelled and waited for [row 186]") {
  b::testing::test_loop loop;
  trail out;
  CHECK(loop.run(b::race(cleans_up(out, 2s, "loser"), gives_after(1s, 7), gives_after(5s, 8))) == 7);
  CHECK(out == trail{"loser"});
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("race: results of different types, a variant whose index is the winner's position") {
  b::testing::test_loop loop;
  int here = 0;
  auto got = loop.run(b::race(says_after(2s, "slow"), gives_after(1s, 7), naps(9s)));
  static_assert(std::is_same_v<decltype(got), std::variant<std::string, int, b::unit>>);
  REQUIRE(got.index() == 1);
  CHECK(std::get<1>(got) == 7);
  CHECK(loop.run(b::race(naps(1s), gives_after(9s, 7), naps(9s))).index() == 0);
  CHECK(loop.run(b::race(naps(2s), gives_after(9s, 7), naps(1s))).index() == 2);
  auto referred = loop.run(b::race(reference(here), gives_after(1s, 7)));
  CHECK(&std::get<0>(referred).get() == &here);
}

TEST_CASE("race: of one type, that type: void, references, move-only values") {
  b::testing::test_loop loop;
  int here = 0;
  static_assert(std::is_void_v<decltype(loop.run(b::race(naps(1s), naps(2s))))>);
  loop.run(b::race(naps(1s), naps(2s)));
  CHECK(&loop.run(b::race(reference(here), reference(here))) == &here);
  CHECK(*loop.run(b::race(box_after(2s, 1), box_after(1s, 2))) == 2);
  CHECK(loop.run(b::race(gives(3))) == 3);
}

TEST_CASE("race: of a number known at run time; race_indexed tells which it was") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::race(list<int>(gives_after(2s, 1), gives_after(1s, 2)))) == 2);
  loop.run(b::race(list<void>(naps(2s), naps(1s))));
  const b::indexed<int> which =
      loop.run(b::race_indexed(list<int>(gives_after(3s, 1), gives_after(2s, 1), gives_after(1s, 1))));
  CHECK(which.index == 2);
  CHECK(which.value == 1);
  CHECK(loop.run(b::race_indexed(list<void>(naps(1s), naps(2s)))).index == 0);
}

TEST_CASE("race and any: of an empty vector, is a misuse_error that names the call [row 192]") {
  b::testing::test_loop loop;
  const auto text = [&](b::task<int> of) {
    try {
      static_cast<void>(loop.run(std::move(of)));
    } catch (const b::misuse_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(text(b::race(std::vector<b::task<int>>())).starts_with("race of no tasks"));
  CHECK(text(b::any(std::vector<b::task<int>>())).starts_with("any of no tasks"));
}

TEST_CASE("race: the first to end has failed, that error comes out bare, the other is cancelled [row 189]") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(loop.run(b::race(cleans_up(out, 1s, "loser"), fails_after(1s, "first")))), "first",
      boom);
  CHECK(out == trail{"loser"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "race: a loser fails in its cleanup, beside an error it is attached, beside a value it is reported [row 186] [row 203]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      static_cast<void>(co_await b::race(cleanup_fails("cleanup"), fails_after(1s, "first")));
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "first");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "cleanup");
    }
  }());
  CHECK(loop.lost_errors().empty());
  CHECK(loop.run(b::race(cleanup_fails("cleanup"), gives_after(1s, 4))) == 4);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("cleanup") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE(
    "race: two end in the same turn, the first to end wins, the other's value is destroyed [row 188] [row 203]") {
  b::testing::test_loop loop;
  int live = 0;
  const auto which =
      loop.run(b::race_indexed(list<counted>(counted_after(1s, live), counted_after(1s, live))));
  CHECK(which.index == 0);
  CHECK(live == 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(loop.run(b::race_indexed(list<int>(gives(1), gives(2)))).index == 0);
  }
}

TEST_CASE("race: losers are told that the race is lost, and where") {
  b::testing::test_loop loop;
  std::string who;
  loop.run([](std::string& to) -> b::task<> {
    const auto line = std::source_location::current().line() + 1;
    CHECK(co_await b::race(tells_who(to), gives_after(1s, 1)) == 1);
    CHECK(to == "cancelled by race at race_test.cpp:" + std::to_string(line) + ": another was first");
  }(who));
}

TEST_CASE("race: cancelled, all are cancelled and waited for; one that ends with a value nevertheless wins") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, b::race(cleans_up(to, 1s, "a"), cleans_up(to, 2s, "b"))));
    auto has_it = [](auto protect) -> b::task<int> { co_return co_await b::shielded(9s, protect()); };
    auto slow = []() -> b::task<int> { co_return co_await gives_after(2s, 5); };
    const auto got = co_await b::move_on_after(1s, b::race(has_it(slow), cleans_up(to, 1s, "c")));
    CHECK(got == 5);
  }(out));
  CHECK(out == trail{"a", "b", "c"});
  CHECK(loop.elapsed() == 5s);
  CHECK(loop.nothing_left());
}

TEST_CASE("race: cancelled and a cleanup fails, the error beats the cancellation [row 138]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::outcome<std::optional<int>> how =
        co_await b::as_outcome(b::move_on_after(1s, b::race(cleanup_fails("cleanup"), gives_after(9s, 1))));
    CHECK(how.failure().message() == "cleanup");
  }());
}

TEST_CASE("race: cancelled before its first step, nothing runs and the arguments are destroyed") {
  b::testing::test_loop loop;
  int live = 0;
  bool ran = false;
  auto runs = [](bool& flag, counted) -> b::task<> {
    flag = true;
    co_return;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> both = g.adopt(b::race(runs(ran, counted(live)), runs(ran, counted(live))));
    both.cancel();
    co_return;
  }));
  CHECK(live == 0);
  CHECK(!ran);
}

TEST_CASE("race: the trace of its error names where it was awaited") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto line = std::source_location::current().line() + 2;
    try {
      static_cast<void>(co_await b::race(gives_after(9s, 1), fails_after(1s, "x")));
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(!what.trace().empty());
      CHECK(what.trace().back().line() == line);
    }
  }());
}

TEST_CASE("any: the first success wins, what failed before is handled, the others are cancelled [row 186]") {
  b::testing::test_loop loop;
  trail out;
  CHECK(loop.run(b::any(fails_after(1s, "mirror 1"), gives_after(2s, 7), cleans_up(out, 1s, "mirror 3"))) ==
        7);
  CHECK(out == trail{"mirror 3"});
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.lost_errors().empty());
  const auto which = loop.run(b::any_indexed(list<int>(fails_after(1s, "x"), gives_after(2s, 1))));
  CHECK(which.index == 1);
  CHECK(loop.run(b::any(fails_after(1s, "x"), says_after(2s, "y"))).index() == 1);
  CHECK(loop.run(b::any(list<int>(fails("x"), gives(1)))) == 1);
}

TEST_CASE("any: a loser fails in its cleanup, that is reported [row 186]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::any(cleanup_fails("cleanup"), gives_after(1s, 4))) == 4);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("cleanup") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE("any: all fail, one error with all of them attached in the order of the tasks [row 187]") {
  b::testing::test_loop loop;
  auto refused = [](b::duration length, b::error_kind kind, std::string words) -> b::task<int> {
    co_await b::sleep_for(length);
    throw b::error(kind, "refused", words);
    co_return 0;
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      static_cast<void>(co_await b::any(call(2s, b::error_kind::not_found, "one"),
                                        call(1s, b::error_kind::not_found, "two")));
      FAIL("no error");
    } catch (const b::none_succeeded_error& e) {
      CHECK(e.kind() == b::error_kind::not_found);
      CHECK(e.code() == "none_succeeded");
      CHECK(std::string(e.what()) == "any: none of 2 succeeded; the first of them: one");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 2);
      CHECK(what.attached()[0].message() == "one");
      CHECK(what.attached()[1].message() == "two");
    }
    try {
      static_cast<void>(co_await b::any(list<int>(call(1s, b::error_kind::denied, "a"), fails("b"))));
      FAIL("no error");
    } catch (const b::none_succeeded_error& e) {
      CHECK(e.kind() == b::error_kind::unavailable);
      CHECK(b::current_failure().find<boom>() != nullptr);
      CHECK(b::current_failure().flatten().size() == 3);
      CHECK(b::current_failure().attached().size() == 2);
    }
  }(refused));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("any: all fail and nobody looks at what is attached, that is reported") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      static_cast<void>(co_await b::any(fails("one"), fails("two")));
    } catch (const b::none_succeeded_error&) {
      co_return;
    }
  }());
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
}

TEST_CASE(
    "any: cancelled before it is decided, what had failed is reported; all had failed, that is the error") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(!co_await b::move_on_after(
        2s, b::any(fails_after(1s, "early"), gives_after(9s, 1), cleanup_fails("late"))));
  }());
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
  loop.run([]() -> b::task<> {
    b::outcome<std::optional<int>> how = co_await b::as_outcome(
        b::move_on_after(2s, b::any(fails_after(1s, "early"), cleanup_fails("cleanup"))));
    const b::failure what = how.failure();
    CHECK(what.find<b::none_succeeded_error>() != nullptr);
    CHECK(what.attached().size() == 2);
  }());
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("any: cancelled, one that succeeds nevertheless wins") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto slow = []() -> b::task<int> { co_return co_await gives_after(2s, 5); };
    auto has_it = [](auto& protect) -> b::task<int> { co_return co_await b::shielded(9s, protect()); };
    CHECK(co_await b::move_on_after(1s, b::any(fails("x"), has_it(slow), gives_after(9s, 1))) == 5);
  }());
  CHECK(loop.lost_errors().empty());
}
