// SPDX-License-Identifier: Apache-2.0
// Managed resources: opened, told how the block ended, closed in reverse; both errors kept, hanging cut short.

#include <doctest/doctest.h>

#include <csignal>
#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

b::managed<int> fails_to_open(trail& out, b::duration after = 0s) {
  if (after > 0s) co_await b::sleep_for(after);
  out.push_back("opening");
  throw boom("open");
  int value = 0;
  co_yield value;
  out.push_back("closed");
}
b::managed<int> fails_to_close(trail& out, std::string name, b::duration after = 0s) {
  int value = 1;
  const b::exit_status how = co_yield value;
  out.push_back("close " + name + ": " + words(how));
  if (after > 0s) co_await b::sleep_for(after);
  throw boom("close " + name);
}
b::managed<int> hangs_in_close(trail& out, std::string name) {
  const farewell local(out, "~" + name);
  int value = 1;
  co_yield value;
  out.push_back("close " + name);
  co_await b::sleep_for(1000s);
  out.push_back("closed " + name);
}
b::managed<int> never_yields(bool really) {
  if (really) co_return;
  int value = 0;
  co_yield value;
}
b::managed<int> yields_twice(trail& out) {
  int value = 0;
  co_yield value;
  co_yield value;
  out.push_back("after the second yield");
}
b::managed<std::unique_ptr<int>> temporary() { co_yield std::make_unique<int>(5); }
b::managed<std::string> built_on(trail& out, std::string name) {
  int& below = co_await b::use(resource(out, "below"));
  std::string text = name + std::to_string(below);
  co_yield text;
  out.push_back("close " + name);
}

b::task<int> uses_two(trail& out, b::duration length, bool fail = false) {
  const farewell local(out, "~local");
  co_await b::use(resource(out, "a", 0s, 1s));
  int& second = co_await b::use(resource(out, "b", 0s, 1s));
  co_await b::sleep_for(length);
  if (fail) throw boom("block");
  co_return second;
}

}  // namespace

TEST_CASE("managed: dropped without being opened, no code runs") {
  trail out;
  {
    const b::managed<int> never = resource(out, "r");
  }
  CHECK(out.empty());
}

TEST_CASE("with: opens, runs the block, closes, then gives the block's value; told how it ended [row 290]") {
  b::testing::test_loop loop;
  trail out;
  CHECK(loop.run(b::with(resource(out, "r", 1s, 1s), [](int& value) -> b::task<int> {
    co_await b::sleep_for(1s);
    co_return value + 1;
  })) == 8);
  CHECK(out == trail{"open r", "close r: succeeded", "closed r"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("with: the block fails, the resource is told and closed, the same error goes on [row 266]") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_WITH_AS(loop.run(b::with(resource(out, "r"),
                                        [](int&) -> b::task<> {
                                          throw boom("block");
                                          co_return;
                                        })),
                       "block", boom);
  CHECK(out == trail{"open r", "close r: failed", "closed r"});
}

TEST_CASE("with: the block is cancelled, the resource is told and closed in peace [row 79] [row 286]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(
        1s, b::with(resource(to, "r", 0s, 3s), [](int&) -> b::task<> { co_await b::sleep_for(100s); })));
  }(out));
  CHECK(out == trail{"open r", "close r: cancelled", "closed r"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE(
    "with: opening fails, the block does not run, nothing is closed, the error is unchanged [row 264]") {
  b::testing::test_loop loop;
  for (const b::duration after : {b::duration(0s), b::duration(1s)}) {
    trail out;
    CHECK_THROWS_WITH_AS(loop.run(b::with(fails_to_open(out, after),
                                          [&](int&) -> b::task<> {
                                            out.push_back("block");
                                            co_return;
                                          })),
                         "open", boom);
    CHECK(out == trail{"opening"});
  }
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("with: cancelled while opening, it is unwound like any task") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(
        !co_await b::move_on_after(1s, b::with(resource(to, "r", 5s), [](int&) -> b::task<> { co_return; })));
  }(out));
  CHECK(out.empty());
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("with: the block succeeds and closing fails, that is the error [row 252]") {
  b::testing::test_loop loop;
  trail out;
  int live = 0;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(loop.run(
          b::with(fails_to_close(out, "r"), [&](int&) -> b::task<counted> { co_return counted(live); }))),
      "close r", boom);
  CHECK(live == 0);
}

TEST_CASE(
    "with: the block and the closing fail, the block's error is primary, the other is attached [row 269]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    try {
      co_await b::with(fails_to_close(to, "r", 1s), [](int&) -> b::task<> {
        co_await b::yield();
        throw boom("block");
      });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "block");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "close r");
    }
  }(out));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "with: the block is cancelled and closing fails, the error beats the cancellation, which is noted") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    try {
      co_await b::move_on_after(
          1s, b::with(fails_to_close(to, "r", 1s), [](int&) -> b::task<> { co_await b::sleep_for(100s); }));
      FAIL("no error");
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      CHECK(what.message() == "close r");
      REQUIRE(what.notes().size() == 2);
      CHECK(what.notes()[0].find("during cleanup after: cancelled by move_on_after") == 0);
    }
  }(out));
}

TEST_CASE("managed: without a co_yield, or with two, is a misuse_error [row 273]") {
  b::testing::test_loop loop;
  trail out;
  bool ran = false;
  CHECK_THROWS_AS(loop.run(b::with(never_yields(true),
                                   [&](int&) -> b::task<> {
                                     ran = true;
                                     co_return;
                                   })),
                  b::misuse_error);
  CHECK(!ran);
  CHECK_THROWS_AS(loop.run(b::with(yields_twice(out), [](int&) -> b::task<> { co_return; })),
                  b::misuse_error);
  CHECK(out.empty());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("managed: may hand out a temporary, and be built on another one") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::with(temporary(), [](std::unique_ptr<int>& box) -> b::task<int> { co_return *box; })) ==
        5);
  trail out;
  CHECK(loop.run(b::with(built_on(out, "top"),
                         [](std::string& text) -> b::task<std::string> { co_return text; })) == "top7");
  CHECK(out == trail{"open below", "close top", "close below: succeeded", "closed below"});
}

TEST_CASE(
    "use: closed in reverse order when the task ends, after its locals, before its awaiter goes on [row 282]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    CHECK(co_await uses_two(to, 1s) == 7);
    to.push_back("awaiter");
  }(out));
  CHECK(out == trail{"open a", "open b", "~local", "close b: succeeded", "closed b", "close a: succeeded",
                     "closed a", "awaiter"});
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
}

TEST_CASE("use: the task fails, all are told and closed") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(uses_two(out, 1s, true))), "block", boom);
  CHECK(out ==
        trail{"open a", "open b", "~local", "close b: failed", "closed b", "close a: failed", "closed a"});
}

TEST_CASE("use: the task is cancelled, all are told and closed in peace") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_AS(static_cast<void>(loop.run(b::with_timeout(1s, uses_two(out, 100s)))), b::timeout_error);
  CHECK(out == trail{"open a", "open b", "close b: cancelled", "closed b", "close a: cancelled", "closed a",
                     "~local"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("use: the third fails to open, those before are closed in reverse and see that error [row 277]") {
  b::testing::test_loop loop;
  trail out;
  auto three = [](trail& to) -> b::task<> {
    co_await b::use(resource(to, "a"));
    co_await b::use(resource(to, "b"));
    co_await b::use(fails_to_open(to));
    to.push_back("went on");
  };
  CHECK_THROWS_WITH_AS(loop.run(three(out)), "open", boom);
  CHECK(out ==
        trail{"open a", "open b", "opening", "close b: failed", "closed b", "close a: failed", "closed a"});
}

TEST_CASE("use: the task has its value and a close fails, the value is destroyed once") {
  b::testing::test_loop loop;
  trail out;
  int live = 0;
  auto work = [](trail& to, int& count) -> b::task<counted> {
    co_await b::use(resource(to, "a"));
    co_await b::use(fails_to_close(to, "b", 1s));
    co_return counted(count);
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(work(out, live))), "close b", boom);
  CHECK(live == 0);
  CHECK(out.back() == "closed a");
}

TEST_CASE("use: a failing close does not skip the others; they see it; all errors are kept [row 276]") {
  b::testing::test_loop loop;
  trail out;
  auto three = [](trail& to, bool fail) -> b::task<int> {
    co_await b::use(resource(to, "a"));
    co_await b::use(fails_to_close(to, "b"));
    co_await b::use(fails_to_close(to, "c", 1s));
    if (fail) throw boom("block");
    co_return 1;
  };
  loop.run([](auto& call, trail& to) -> b::task<> {
    try {
      co_await call(to, true);
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "block");
      CHECK(b::current_failure().attached().size() == 2);
    }
    try {
      co_await call(to, false);
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "close c");
      CHECK(b::current_failure().attached().size() == 1);
    }
  }(three, out));
  CHECK(out == trail{"open a", "close c: failed", "close b: failed", "close a: failed", "closed a",  //
                     "open a", "close c: succeeded", "close b: failed", "close a: failed", "closed a"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "use: a close that hangs is cut at the cleanup limit; the others still run; it is reported as timeout_error [row 80]") {
  b::testing::test_loop loop({.cleanup_limit = 2s});
  trail out;
  auto three = [](trail& to) -> b::task<int> {
    co_await b::use(resource(to, "a", 0s, 1s));
    co_await b::use(hangs_in_close(to, "b"));
    co_await b::use(resource(to, "c", 0s, 1s));
    co_return 1;
  };
  try {
    loop.run(three(out));
    FAIL("no error");
  } catch (const b::timeout_error& e) {
    CHECK(std::string(e.what()).find("cleanup: timed out after 2000 ms") == 0);
  }
  CHECK(out == trail{"open a", "open c", "close c: succeeded", "closed c", "close b", "~b", "close a: failed",
                     "closed a"});
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
}

TEST_CASE("use: a close that hangs while the block failed, is attached to the block's error") {
  b::testing::test_loop loop({.cleanup_limit = 2s});
  trail out;
  loop.run([](trail& to) -> b::task<> {
    auto work = [](trail& t) -> b::task<> {
      co_await b::use(hangs_in_close(t, "r"));
      throw boom("block");
    };
    try {
      co_await work(to);
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].find<b::timeout_error>() != nullptr);
    }
  }(out));
}

TEST_CASE("use: of a resource built on another one that hangs in its close, each has its own limit") {
  b::testing::test_loop loop({.cleanup_limit = 2s});
  trail out;
  auto nested = [](trail& to) -> b::managed<int> {
    co_await b::use(hangs_in_close(to, "inner"));
    int value = 0;
    co_yield value;
    to.push_back("close outer");
    co_await b::sleep_for(1000s);
  };
  loop.run([](auto& make, trail& to) -> b::task<> {
    auto work = [](auto& m, trail& t) -> b::task<> {
      co_await b::use(resource(t, "first"));
      co_await b::use(m(t));
    };
    b::outcome<void> how = co_await b::as_outcome(work(make, to));
    CHECK(how.failure().find<b::timeout_error>() != nullptr);
  }(nested, out));
  CHECK(out.back() == "closed first");
  CHECK(loop.elapsed() <= 4s);
  CHECK(loop.nothing_left());
}

TEST_CASE("use: in a task that is cancelled in the turn in which opening ended, is closed") {
  auto work = [](trail& to) -> b::task<> {
    co_await b::use(resource(to, "r", 1s));
    co_await b::sleep_for(1s);
    to.push_back("went on");
  };
  for (const bool cancel_first : {true, false}) {
    b::testing::test_loop loop;
    trail out;
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      if (cancel_first) {
        // Its timer is older: when it cancels, the resource's timer has fired in the same turn, but the task has not gone on.
        b::child<void> user;
        g.spawn(
            [](b::child<void>& whom) -> b::task<> {
              co_await b::sleep_for(1s);
              whom.cancel();
            },
            std::ref(user));
        user = g.spawn(work, std::ref(out));
        co_await b::sleep_for(5s);
      } else {
        b::child<void> user = g.spawn(work, std::ref(out));
        co_await b::yield();
        co_await b::sleep_for(1s);  // wakes in the same turn, after the resource's timer
        user.cancel();
      }
    }));
    CHECK(out == trail{"open r", "close r: cancelled", "closed r"});
  }
}

TEST_CASE("use: a thousand resources in one task, closed in reverse") {
  b::testing::test_loop loop;
  trail out;
  auto many = [](trail& to) -> b::task<> {
    for (int i = 0; i < 1000; ++i) co_await b::use(resource(to, std::to_string(i)));
    to.clear();
  };
  loop.run(many(out));
  REQUIRE(out.size() == 2000);
  CHECK(out.front() == "close 999: succeeded");
  CHECK(out.back() == "closed 0");
}

TEST_CASE("use: each of 1,000 nested awaiting tasks closes its own, innermost first") {
  b::testing::test_loop loop;
  trail out;
  struct chain {
    static b::task<> link(trail& to, int depth) {
      co_await b::use(resource(to, std::to_string(depth)));
      if (depth > 0) {
        co_await link(to, depth - 1);
      } else {
        to.clear();
        co_await b::sleep_for(100s);
      }
    }
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, chain::link(out, 1000))), b::timeout_error);
  REQUIRE(out.size() == 2002);
  CHECK(out.front() == "close 0: cancelled");
  CHECK(out.back() == "closed 1000");
}

TEST_CASE("use: or_fail and fail close as well") {
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<> {
    co_await b::use(resource(to, "r"));
    co_await b::or_fail(fails("inner"));
  };
  CHECK_THROWS_WITH_AS(loop.run(work(out)), "inner", boom);
  CHECK(out == trail{"open r", "close r: failed", "closed r"});
}

TEST_CASE("use: the cancellation of the task while it closes after success, does not change its result") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    auto work = [](trail& t) -> b::task<int> {
      co_await b::use(resource(t, "r", 0s, 5s));
      co_return 3;
    };
    CHECK(co_await b::move_on_after(1s, work(to)) == 3);
  }(out));
  CHECK(out == trail{"open r", "close r: succeeded", "closed r"});
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("use: of a resource that was moved from, ends the process with a message") {
  const process_end end = in_process([] {
    b::testing::test_loop loop;
    trail out;
    loop.run([](trail& to) -> b::task<> {
      b::managed<int> once = resource(to, "r");
      b::managed<int> taken = std::move(once);
      co_await b::use(std::move(once));
    }(out));
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.said.find("moved from") != std::string::npos);
}

TEST_CASE(
    "with: the closing part is told of an error and ends normally: the error comes out all the same; who wants to go on says so outside [row 267]") {
  b::testing::test_loop loop;
  trail out;
  auto tolerant = [](trail& to) -> b::managed<int> {
    int value = 1;
    const b::exit_status how = co_yield value;
    to.push_back("told: " + words(how));
  };
  auto block = [](int&) -> b::task<> { co_await fails("the block"); };
  CHECK_THROWS_WITH_AS(loop.run(b::with(tolerant(out), block)), "the block", boom);
  loop.run([&]() -> b::task<> {
    const b::outcome<void> how = co_await b::as_outcome(b::with(tolerant(out), block));
    CHECK(how.failure().message() == "the block");
    out.push_back("after the block");
  }());
  CHECK(out == trail{"told: failed", "told: failed", "after the block"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "with: the closing part is told of a cancellation and ends normally: the task does not go on after the block [row 272]") {
  b::testing::test_loop loop;
  trail out;
  auto swallows = [](trail& to) -> b::managed<int> {
    int value = 1;
    try {
      const b::exit_status how = co_yield value;
      to.push_back("told: " + words(how));
    } catch (...) {
      to.push_back("caught");
    }
  };
  auto work = [&]() -> b::task<> {
    co_await b::with(swallows(out), [](int&) -> b::task<> { co_await b::sleep_for(9s); });
    out.push_back("went on");
  };
  loop.run([&]() -> b::task<> { CHECK(!co_await b::move_on_after(1s, work())); }());
  CHECK(out == trail{"told: cancelled"});
}
