// SPDX-License-Identifier: Apache-2.0
// finally: cleanup that may await, runs whatever happened, is shielded and bounded.

#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

// A cleanup that takes a while and writes down that it ran.
auto cleanup(trail& out) {
  return [&out]() -> b::task<> {
    co_await b::sleep_for(1s);
    out.push_back("cleanup");
  };
}

}  // namespace

TEST_CASE("finally: after a value, the cleanup runs and the value is given") {
  b::testing::test_loop loop;
  trail out;
  CHECK(*loop.run(b::finally([]() -> b::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); },
                             cleanup(out))) == 4);
  int here = 0;
  CHECK(&loop.run(b::finally([&]() -> b::task<int&> { co_return here; }, cleanup(out))) == &here);
  loop.run(b::finally([]() -> b::task<> { co_return; }, cleanup(out)));
  CHECK(out.size() == 3);
}

TEST_CASE("finally: after an error, the cleanup runs and the same error goes on [row 271]") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::finally(
                           []() -> b::task<int> { co_return co_await fails("body"); }, cleanup(out)))),
                       "body", boom);
  CHECK(out == trail{"cleanup"});
}

TEST_CASE("finally: a body that throws before it is a task, counts as failed") {
  b::testing::test_loop loop;
  trail out;
  struct {
    BELAY_CORO_WRAPPER b::task<int> operator()() const {
      if (throws) throw boom("no task");
      return gives(1);
    }
    bool throws = true;
  } throws_at_once;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::finally(throws_at_once, cleanup(out)))), "no task",
                       boom);
  CHECK(out == trail{"cleanup"});
  struct {
    BELAY_CORO_WRAPPER b::task<> operator()() const {
      if (throws) throw boom("no cleanup");
      return naps(1s);
    }
    bool throws = true;
  } cleanup_throws_at_once;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(loop.run(b::finally([]() -> b::task<int> { co_return 1; }, cleanup_throws_at_once))),
      "no cleanup", boom);
}

TEST_CASE("finally: cancelled, the cleanup runs shielded; then the unwinding goes on [row 79] [row 287]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    auto work = [](trail& t) -> b::task<> {
      co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); }, cleanup(t));
      t.push_back("went on");
    };
    CHECK(!co_await b::move_on_after(1s, work(to)));
  }(out));
  CHECK(out == trail{"cleanup"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "finally: cancelled while the cleanup after a value runs, the value is kept and the cancellation acts afterwards") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    auto work = [](trail& t) -> b::task<> {
      const int got = co_await b::finally([]() -> b::task<int> { co_return 4; },
                                          []() -> b::task<> { co_await b::sleep_for(3s); });
      t.push_back("got " + std::to_string(got));
      co_await b::yield();
      t.push_back("went on");
    };
    CHECK(!co_await b::move_on_after(1s, work(to)));
  }(out));
  CHECK(out == trail{"got 4"});
}

TEST_CASE(
    "finally: body and cleanup fail, the body's error is primary and the other attached; only the cleanup: it is the error [row 252] [row 269]") {
  b::testing::test_loop loop;
  auto broken_cleanup = []() -> b::task<> {
    co_await b::yield();
    throw boom("cleanup");
  };
  loop.run([](auto& clean) -> b::task<> {
    try {
      co_await b::finally([]() -> b::task<int> { co_return co_await fails("body"); }, clean);
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "body");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "cleanup");
    }
    CHECK_THROWS_WITH_AS(co_await b::finally([]() -> b::task<int> { co_return 1; }, clean), "cleanup", boom);
  }(broken_cleanup));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("finally: a cleanup that hangs is cut at the limit, and that is a timeout_error [row 80]") {
  b::testing::test_loop loop({.cleanup_limit = 3s});
  CHECK_THROWS_AS(loop.run(b::finally([]() -> b::task<> { co_return; },
                                      []() -> b::task<> { co_await b::sleep_for(100s); })),
                  b::timeout_error);
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "finally: nested, inner before outer, and a hanging inner one does not keep the outer one from running") {
  b::testing::test_loop loop({.cleanup_limit = 3s});
  trail out;
  loop.run([](trail& to) -> b::task<> {
    auto inner = [&to]() -> b::task<> {
      co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                          [&to]() -> b::task<> {
                            to.push_back("inner");
                            co_await b::sleep_for(1000s);
                            to.push_back("inner done");
                          });
    };
    b::outcome<std::optional<b::unit>> how =
        co_await b::as_outcome(b::move_on_after(1s, b::finally(inner, cleanup(to))));
    CHECK(how.failure().find<b::timeout_error>() != nullptr);
  }(out));
  CHECK(out == trail{"inner", "cleanup"});
  CHECK(loop.elapsed() == 5s);
  CHECK(loop.nothing_left());
}
