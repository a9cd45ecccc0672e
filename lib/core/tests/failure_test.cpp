// SPDX-License-Identifier: Apache-2.0
// Failures: one fate each, with their story: trace, attached, cause, notes.

#include <belay/core/all.hpp>
#include <belay/core/error.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

struct no_words : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
struct not_found : b::error {
  explicit not_found(std::string message, std::source_location where = std::source_location::current())
      : error(b::error_kind::not_found, "not_found", std::move(message), where) {}
};

b::failure make(std::string words) { return b::failure::of(std::make_exception_ptr(boom(words))); }

// Each awaits the one above it; the lines are checked.
b::task<> level_5(bool wait) {
  if (wait) co_await b::sleep_for(1s);
  throw boom("below");
}
b::task<> level_4(bool wait) { co_await level_5(wait); }
b::task<> level_3(bool wait) { co_await level_4(wait); }
b::task<> level_2(bool wait) { co_await level_3(wait); }
b::task<> level_1(bool wait) { co_await level_2(wait); }

b::task<int> passes_on(std::string what) { co_return co_await fails(what); }

}  // namespace

TEST_CASE(
    "failure: an error that crosses five awaiting frames shows five places, innermost first [row 260]") {
  b::testing::test_loop loop;
  for (const bool wait : {false, true}) {
    loop.run([](bool w) -> b::task<> {
      const auto here = std::source_location::current().line() + 2;
      try {
        co_await level_1(w);
        FAIL("no error");
      } catch (const boom&) {
        const b::failure what = b::current_failure();
        REQUIRE(what.trace().size() == 5);
        for (const std::source_location& place : what.trace()) {
          CHECK(std::string(place.file_name()).find("failure_test.cpp") != std::string::npos);
        }
        for (std::size_t i = 0; i + 2 < 5; ++i)
          CHECK(what.trace()[i].line() + 1 == what.trace()[i + 1].line());
        CHECK(what.trace()[4].line() == here);
        const std::string text = b::describe(what);
        CHECK(text.find("core_tests::boom: below\n") == 0);
        std::size_t rows = 0;
        for (std::size_t at = 0; (at = text.find("awaited at failure_test.cpp:", at)) != std::string::npos;
             ++at)
          ++rows;
        CHECK(rows == 5);
      }
    }(wait));
  }
}

TEST_CASE("failure: the trace has the place of the spawn [row 260]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto group_line = std::source_location::current().line() + 2;
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(fails_after, 1s, std::string("x"));
        co_return;
      });
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.trace().size() == 2);
      CHECK(what.trace()[0].line() == group_line + 1);
      CHECK(what.trace()[1].line() == group_line);
    }
  }());
}

TEST_CASE("failure: an endless recursion that fails, keeps a bounded trace") {
  b::testing::test_loop loop;
  struct deep {
    static b::task<> down(int n) {
      if (n == 0) throw boom("x");
      co_await b::or_fail(down(n - 1));
    }
  };
  loop.run([]() -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(deep::down(10'000));
    CHECK(how.failure().trace().size() == 256);
  }());
}

TEST_CASE(
    "failure: nobody looks at it, it is reported exactly once, when its last owner lets go [row 235] [row 236]") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    {
      b::outcome<int> dropped = co_await b::as_outcome(fails("nobody looked"));
      b::outcome<int> moved = std::move(dropped);
      CHECK(l.lost_errors().empty());
    }
    REQUIRE(l.lost_errors().size() == 1);
    CHECK(l.lost_errors()[0].find("core_tests::boom: nobody looked") == 0);
    CHECK(l.loop().statistics().lost_failures == 1);
  }(loop));
  CHECK(loop.lost_errors().size() == 1);
}

TEST_CASE("failure: thrown through a task that does not catch it, and dropped then, is reported [row 235]") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    {
      b::outcome<int> dropped = co_await b::as_outcome(passes_on("passed through"));
    }
    co_await b::yield();  // the loop remembers what was thrown last until the task waits
    CHECK(l.lost_errors().size() == 1);
    {
      b::outcome<int> dropped = co_await b::as_outcome(b::with_timeout(1s, passes_on("limit")));
    }
    co_await b::yield();
    CHECK(l.lost_errors().size() == 2);
  }(loop));
}

TEST_CASE(
    "failure: looked at and then thrown on, it is a new obligation: dropped after that, it is reported") {
  b::testing::test_loop loop;
  auto logs_and_rethrows = []() -> b::task<> {
    try {
      co_await fails("rethrown");
    } catch (const boom&) {
      static_cast<void>(b::describe(b::current_failure()));
      throw;
    }
  };
  auto logs_and_fails = []() -> b::task<> {
    b::outcome<int> how = co_await b::as_outcome(fails("failed on"));
    co_await b::fail(how.failure());
  };
  loop.run([](auto& one, auto& two) -> b::task<> {
    {
      b::outcome<void> dropped = co_await b::as_outcome(one());
    }
    {
      b::outcome<void> dropped = co_await b::as_outcome(two());
    }
  }(logs_and_rethrows, logs_and_fails));
  CHECK(loop.lost_errors().size() == 2);
}

TEST_CASE("failure: handled, awaited or looked at, it is not reported [row 237]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await fails("caught");
    } catch (const boom&) {
    }
    b::outcome<int> looked = co_await b::as_outcome(passes_on("looked at"));
    CHECK(looked.failure());
    b::outcome<int> asked = co_await b::as_outcome(passes_on("asked for"));
    CHECK_THROWS_AS(static_cast<void>(asked.value()), boom);
    CHECK_THROWS_AS(static_cast<void>(co_await b::all(fails("in all"), gives(1))), boom);
  }());
  CHECK_THROWS_AS(static_cast<void>(loop.run(passes_on("out of run"))), boom);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("failure: a cancelled task that nobody awaits, is not reported [row 240] [row 245]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, naps(9s)));
    co_await b::with_group([](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(naps, 9s);
      co_await b::yield();
      one.cancel();
    });
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("failure: three that nobody looks at, three reports in the order of failing [row 243]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const char* name : {"1", "2", "3"}) b::outcome<int> dropped = co_await b::as_outcome(fails(name));
  }());
  REQUIRE(loop.lost_errors().size() == 3);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(loop.lost_errors()[i].find("boom: " + std::to_string(i + 1)) != std::string::npos);
}

TEST_CASE(
    "failure: attached ones that nobody looks at are reported, in order; looked at, they are not [row 172]") {
  b::testing::test_loop loop;
  auto three = []() -> b::task<> {
    co_await b::with_group([](b::group& g) -> b::task<> {
      for (const char* name : {"1", "2", "3"}) g.spawn(fails_after, 1s, std::string(name));
      co_return;
    });
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "1");
    }
    co_await b::yield();
  }(three));
  REQUIRE(loop.lost_errors().size() == 2);
  CHECK(loop.lost_errors()[0].find("boom: 2") != std::string::npos);
  CHECK(loop.lost_errors()[1].find("boom: 3") != std::string::npos);
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const boom&) {
      CHECK(b::current_failure().attached().size() == 2);
    }
  }(three));
  CHECK(loop.lost_errors().size() == 2);
}

TEST_CASE("failure: nobody looks at one with attached ones, it is one report with all of them") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto three = []() -> b::task<> {
      co_await b::with_group([](b::group& g) -> b::task<> {
        for (const char* name : {"1", "2", "3"}) g.spawn(fails_after, 1s, std::string(name));
        co_return;
      });
    };
    {
      b::outcome<void> dropped = co_await b::as_outcome(three());
    }
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  for (const char* name : {"boom: 1", "also: core_tests::boom: 2", "also: core_tests::boom: 3"}) {
    CHECK(loop.lost_errors()[0].find(name) != std::string::npos);
  }
}

TEST_CASE("failure: a sink that throws, is answered by a line on stderr, and the loop goes on [row 14]") {
  const process_end end = in_process([] {
    b::loop_options options;
    options.on_lost_failure = [](const b::failure&) { throw boom("the sink is broken"); };
    b::loop loop(std::move(options));
    return loop.run([]() -> b::task<int> {
      {
        b::outcome<int> dropped = co_await b::as_outcome(fails("x"));
      }
      co_await b::yield();
      co_return 7;
    }());
  });
  CHECK(end.exited);
  CHECK(end.code == 7);
  CHECK(end.said.find("the failure sink threw an exception") != std::string::npos);
}

TEST_CASE("failure: without a sink, it is written to stderr") {
  const process_end end = in_process([] {
    b::loop loop;
    loop.run([]() -> b::task<> { b::outcome<int> dropped = co_await b::as_outcome(fails("unseen")); }());
    return 0;
  });
  CHECK(end.said.find("belay: an error that nobody looked at: core_tests::boom: unseen") !=
        std::string::npos);
}

TEST_CASE("failure: a note added on the way up does not change type or identity [row 259]") {
  b::testing::test_loop loop;
  auto direct = []() -> b::task<> {
    try {
      throw boom("thrown here");
    } catch (const boom&) {
      b::current_failure().note("while loading user 42");
      throw;
    }
    co_return;
  };
  auto awaited = []() -> b::task<> {
    try {
      co_await fails("awaited");
    } catch (const boom&) {
      b::current_failure().note("while loading user 42");
      throw;
    }
  };
  auto check = [](b::task<> work) -> b::task<> {
    try {
      co_await std::move(work);
      FAIL("no error");
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.notes().size() == 1);
      CHECK(what.notes()[0] == "while loading user 42");
      CHECK(b::describe(what).find("note: while loading user 42") != std::string::npos);
    }
  };
  loop.run(check(direct()));
  loop.run(check(awaited()));
}

TEST_CASE("failure: another error that comes and goes in the handler, does not cost this one its story") {
  b::testing::test_loop loop;
  auto work = []() -> b::task<> {
    b::outcome<int> other = co_await b::as_outcome(fails("other"));
    try {
      co_await passes_on("first");
    } catch (const boom&) {
      b::current_failure().note("kept");
      CHECK_THROWS_AS(static_cast<void>(other.value()), boom);
      throw;
    }
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "first");
      const b::failure what = b::current_failure();
      CHECK(what.trace().size() == 3);
      CHECK(what.notes().size() == 1);
    }
  }(work));
}

TEST_CASE("failure: kept as a failure over an await and rethrown, keeps its story") {
  b::testing::test_loop loop;
  auto work = []() -> b::task<> {
    b::failure kept;
    try {
      co_await passes_on("first");
    } catch (...) {
      kept = b::current_failure();
    }
    co_await b::sleep_for(1s);
    kept.note("kept");
    kept.rethrow();
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      CHECK(what.notes().size() == 1);
      CHECK(what.trace().size() == 3);
    }
  }(work));
}

TEST_CASE("error: built inside a handler, it records what it replaces, with its story [row 258]") {
  b::testing::test_loop loop;
  auto converts = []() -> b::task<> {
    try {
      co_await fails("unique constraint");
    } catch (const boom&) {
      throw not_found("user 7");
    }
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const b::error& e) {
      CHECK(e.kind() == b::error_kind::not_found);
      CHECK(e.code() == "not_found");
      CHECK(e.where().line() != 0);
      CHECK(e.cause().message() == "unique constraint");
      CHECK(e.cause().trace().size() == 1);
      const b::failure what = b::current_failure();
      CHECK(what.cause() == e.cause());
      CHECK(what.find<boom>() != nullptr);
      const std::string text = b::describe(what);
      CHECK(text.find("not_found: user 7") != std::string::npos);
      CHECK(text.find("replaced: core_tests::boom: unique constraint") != std::string::npos);
    }
  }(converts));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "error: that replaces the failure of a sibling and ends up attached to it, makes no cycle [row 170] [row 257]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto grouped = []() -> b::task<> {
      co_await b::with_group([](b::group& g) -> b::task<> {
        b::child<int> first = g.spawn(fails_after, 1s, std::string("first"));
        b::child<void> converts = g.spawn(
            [](b::child<int>& on) -> b::task<> {
              try {
                static_cast<void>(co_await on);
              } catch (const boom&) {
                throw not_found("converted");
              }
            },
            std::ref(first));
        co_await b::shielded(9s, naps(5s));
      });
    };
    b::outcome<void> how = co_await b::as_outcome(grouped());
    const b::failure what = how.failure();
    CHECK(what.message() == "first");
    CHECK(what.find<not_found>() != nullptr);
    CHECK(what.flatten().size() == 2);
    CHECK(b::describe(what).find("also: ") != std::string::npos);
    CHECK(b::describe(what).size() < 2000);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("failure: attached to each other, or to itself, makes no cycle [row 257]") {
  b::failure one = make("one");
  b::failure two = make("two");
  b::failure three = make("three");
  one.observe();
  two.observe();
  three.observe();
  one.attach(one);
  CHECK(one.attached().empty());
  two.attach(one);
  three.attach(two);
  one.attach(three);  // three holds two, which holds one
  CHECK(one.flatten().size() == 3);
  CHECK(b::describe(one).find("also: ") != std::string::npos);
}

TEST_CASE("failure: the same one, or the same exception, is attached once") {
  b::failure one = make("one");
  b::failure two = make("two");
  one.attach(two);
  one.attach(two);
  one.attach(b::failure());
  CHECK(one.attached().size() == 1);
  one.attach(b::failure::of(one.exception()));
  CHECK(one.attached().size() == 1);
  one.observe();
}

TEST_CASE("failure: one that is still held keeps what is attached to it when the failure above it goes") {
  b::failure inner = make("inner");
  inner.observe();
  {
    b::failure below = make("below");
    below.observe();
    inner.attach(below);
    b::failure outer = make("outer");
    outer.observe();
    outer.attach(inner);
  }
  REQUIRE(inner.attached().size() == 1);
  CHECK(inner.attached()[0].message() == "below");
}

TEST_CASE("failure: find and for_each look into attached ones and causes, depth first") {
  b::failure top = make("top");
  b::failure beside = b::failure::of(std::make_exception_ptr(not_found("beside")));
  beside.attach(make("deeper"));
  top.attach(beside);
  top.attach(make("last"));
  top.observe();
  std::vector<std::string> found;
  top.for_each<boom>([&](const boom& e) { found.push_back(e.what()); });
  CHECK(found == std::vector<std::string>{"top", "deeper", "last"});
  CHECK(top.find<not_found>()->code() == "not_found");
  CHECK(top.find<b::timeout_error>() == nullptr);
  beside.observe();
}

TEST_CASE("failure: odd exceptions are described without harm [row 262]") {
  const auto of = [](auto value) {
    const b::failure what = b::failure::of(std::make_exception_ptr(value));
    what.observe();
    return b::describe(what);
  };
  CHECK(of(no_words()).find("(no message)") != std::string::npos);
  CHECK(of(42).find("int: an exception of a type without a message") == 0);
  CHECK(of(std::string("text")).find("text") != std::string::npos);
  CHECK(of("literal").find("literal") != std::string::npos);
  CHECK(of(static_cast<const char*>(nullptr)).find("(no message)") != std::string::npos);
  CHECK(b::describe(b::failure()) == "no failure");
  CHECK(!b::failure::of(nullptr));
  CHECK(b::failure().message().empty());
  CHECK(b::failure().trace().empty());
  CHECK(b::failure().observed());
  CHECK_THROWS_AS(b::failure().rethrow(), b::misuse_error);
}

TEST_CASE("current_failure: outside of a handler, none; asked twice, the same [row 259]") {
  CHECK(!b::current_failure());
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(!b::current_failure());
    try {
      throw boom("x");
    } catch (...) {
      CHECK(b::current_failure() == b::current_failure());
    }
    co_return;
  }());
}

TEST_CASE("error: copies are cheap and never throw; kinds have names") {
  static_assert(std::is_nothrow_copy_constructible_v<b::error>);
  const b::error one("plain");
  CHECK(one.kind() == b::error_kind::internal);
  CHECK(one.code().empty());
  CHECK(!one.cause());
  CHECK(b::to_string(b::error_kind::overloaded) == "overloaded");
  CHECK(b::to_string(b::error_kind::data_format) == "data_format");
}

TEST_CASE(
    "failure: a way back through an exception nested in another one is cut as well, and nothing is lost") {
  for (const bool typed_outside : {false, true}) {
    CAPTURE(typed_outside);
    b::testing::test_loop loop;
    // The body replaces the failure of its task by an error, which it wraps once more.
    const auto works = [](bool typed) -> b::task<> {
      b::child<void> one;
      co_await b::with_group([&one, typed](b::group& g) -> b::task<> {
        one = g.spawn([]() -> b::task<> {
          co_await b::sleep_for(1s);
          throw boom("first");
        });
        const auto wraps = [](b::child<void>& on, bool as_error) -> b::task<> {
          try {
            co_await on;
          } catch (...) {
            try {
              throw b::error("replaces it");
            } catch (...) {
              if (as_error) std::throw_with_nested(b::error("around it"));
              std::throw_with_nested(boom("around it"));
            }
          }
        };
        co_await b::shielded(10s, wraps(one, typed));
      });
    };
    loop.run(b::with_group({.policy = b::group_policy::supervise}, [&](b::group& g) -> b::task<> {
      g.spawn(works, typed_outside);
      co_return;
    }));
    REQUIRE(loop.lost_errors().size() == 1);
    const std::string& text = loop.lost_errors()[0];
    CHECK(text.find("first") != std::string::npos);
    CHECK(text.find("around it") != std::string::npos);
    CHECK(text.find("thrown while handling the failure that it is attached to: first") != std::string::npos);
  }
}

TEST_CASE("failure: of very many notes the first and the last are kept") {
  b::failure what = b::failure::of(std::make_exception_ptr(boom("x")));
  what.observe();
  for (int i = 0; i < 5'000; ++i) what.note(std::to_string(i));
  REQUIRE(what.notes().size() == 256);
  CHECK(what.notes()[127] == "127");
  CHECK(what.notes()[128] == "4872");
  CHECK(what.notes()[255] == "4999");
}
