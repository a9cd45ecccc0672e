// SPDX-License-Identifier: Apache-2.0
// Limits: with_timeout, move_on_after, shielded, and the deadline that flows.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/on_cancel.hpp>
#include <doctest/doctest.h>

#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<int&> reference_after(b::duration length, int& to) {
  co_await b::sleep_for(length);
  co_return to;
}
b::task<std::unique_ptr<int>> box_after(b::duration length) {
  co_await b::sleep_for(length);
  co_return std::make_unique<int>(3);
}

// Needs `length` to clean up when it is cut short.
b::task<> cleans_up_for(b::duration length, trail& out) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                      [&]() -> b::task<> {
                        co_await b::sleep_for(length);
                        out.push_back("clean");
                      });
}
b::task<> cleanup_fails(std::string words) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                      [&]() -> b::task<> {
                        co_await b::yield();
                        throw boom(words);
                      });
}

}  // namespace

TEST_CASE(
    "with_timeout: at the limit, cancels the operation and throws timeout_error, an ordinary error [row 87]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(b::with_timeout(2s, naps(10s))), b::timeout_error);
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("with_timeout: the error tells the limit, who set it, and the await that was waiting [row 112]") {
  b::testing::test_loop loop;
  const auto set_at = std::source_location::current().line() + 2;
  try {
    loop.run(b::with_timeout(250ms, naps(10s)));
    FAIL("no error");
  } catch (const b::timeout_error& e) {
    CHECK(e.kind() == b::error_kind::timed_out);
    CHECK(std::string(e.what()).find("timed out after 250 ms, set by with_timeout at timeout_test.cpp:" +
                                     std::to_string(set_at) + ", while awaiting support.hpp:") == 0);
  }
}

TEST_CASE("with_timeout: the operation ends in time, its result is given and the timer is gone [row 89]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::with_timeout(2s, gives_after(1s, 4))) == 4);
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
  int here = 0;
  CHECK(&loop.run(b::with_timeout(2s, reference_after(1s, here))) == &here);
  CHECK(*loop.run(b::with_timeout(2s, box_after(1s))) == 3);
}

TEST_CASE("with_timeout: without a limit, no timer is set [row 90]") {
  b::testing::test_loop loop;
  CHECK(loop.run([](b::testing::test_loop& l) -> b::task<int> {
    auto inner = [](b::testing::test_loop& of) -> b::task<int> {
      CHECK(of.loop().statistics().timers == 0);
      co_return 1;
    };
    co_return co_await b::with_timeout(b::duration::max(), inner(l));
  }(loop)) == 1);
}

TEST_CASE("with_timeout: zero or less, the operation does not start [row 91] [row 117]") {
  b::testing::test_loop loop;
  bool ran = false;
  auto runs = [](bool& flag) -> b::task<> {
    flag = true;
    co_return;
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(0s, runs(ran))), b::timeout_error);
  CHECK_THROWS_AS(loop.run(b::with_timeout(-1s, runs(ran))), b::timeout_error);
  CHECK_THROWS_AS(loop.run(b::shielded(0s, runs(ran))), b::timeout_error);
  CHECK(!loop.run(b::move_on_after(0s, runs(ran))));
  CHECK(!ran);
}

TEST_CASE("with_timeout: of a child that has ended, gives its result [row 116]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives, 1);
    co_await b::yield();
    auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
    CHECK(co_await b::with_timeout(1ns, waits(one)) == 1);
  }));
}

TEST_CASE("with_timeout: work that finishes in the turn of its limit, wins [row 95] [row 96]") {
  b::testing::test_loop loop;
  CHECK(loop.run([]() -> b::task<int> {
    auto starts_first = []() -> b::task<int> {
      co_await b::sleep_for(
          1s);  // this timer was set after the limit's: the limit fires first, and takes it back
      co_return 1;
    };
    b::outcome<int> cut = co_await b::as_outcome(b::with_timeout(1s, starts_first()));
    CHECK(cut.failure().find<b::timeout_error>() != nullptr);
    // Here the sleep's timer is older: it has fired when the limit does.
    co_return co_await b::with_group([](b::group& g) -> b::task<int> {
      b::event ready;
      g.spawn(
          [](b::event& e) -> b::task<> {
            co_await b::sleep_for(1s);
            e.set();
          },
          std::ref(ready));
      co_await b::yield();
      auto waits = [](b::event& e) -> b::task<int> {
        co_await e.wait();
        co_return 2;
      };
      co_return co_await b::with_timeout(1s + 1ns, waits(ready));
    });
  }()) == 2);
}

TEST_CASE(
    "with_timeout: an operation that is cut short, and fails in its cleanup, its error is the error [row 98] [row 120]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_timeout(1s, cleanup_fails("cleanup"));
      FAIL("no error");
    } catch (const boom& e) {
      const b::failure what = b::current_failure();
      CHECK(what.message() == "cleanup");
      REQUIRE(!what.notes().empty());
      CHECK(what.notes().back().find("while being cancelled: timed out after 1000 ms") == 0);
    }
  }());
}

TEST_CASE("with_timeout: an error before the limit passes unchanged [row 99]") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::with_timeout(2s, fails_after(1s, "early")))), "early",
                       boom);
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE("with_timeout: cancelled from outside, it is no timeout [row 100] [row 62] [row 121]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](trail& to) -> b::task<> {
          try {
            co_await b::with_timeout(10s, naps(20s));
          } catch (...) {
            to.push_back("caught");
          }
          to.push_back("went on");
        },
        std::ref(out));
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(out.empty());
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("with_timeout: nested with the same limit, the outermost acts [row 103]") {
  b::testing::test_loop loop;
  trail out;
  auto nested = [](trail& to, auto make_inner) -> b::task<> {
    try {
      co_await make_inner();
    } catch (const b::timeout_error&) {
      to.push_back("inner converted");
    }
    to.push_back("went on");
  };
  auto inner = []() -> b::task<> { co_await b::with_timeout(1s, naps(9s)); };
  const auto line = std::source_location::current().line() + 2;
  try {
    loop.run(b::with_timeout(1s, nested(out, inner)));
    FAIL("no error");
  } catch (const b::timeout_error& e) {
    CHECK(std::string(e.what()).find("timeout_test.cpp:" + std::to_string(line)) != std::string::npos);
  }
  CHECK(out.empty());
}

TEST_CASE("with_timeout: inner due first, but both due when the loop looks, the outermost acts [row 104]") {
  b::testing::test_loop loop;
  trail out;
  auto nested = [](trail& to, b::testing::test_loop& l) -> b::task<> {
    auto work = [](b::testing::test_loop& of) -> b::task<> {
      co_await b::yield();
      of.clock().advance(5s);  // a long computation
      co_await b::sleep_for(1s);
    };
    try {
      co_await b::with_timeout(1s, work(l));
    } catch (const b::timeout_error&) {
      to.push_back("inner converted");
    }
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(2s, nested(out, loop))), b::timeout_error);
  CHECK(out.empty());
}

TEST_CASE("with_timeout: the outer limit passes while the inner one cleans up, the outer acts") {
  b::testing::test_loop loop;
  trail out;
  auto nested = [](trail& to) -> b::task<> {
    try {
      co_await b::with_timeout(1s, cleans_up_for(3s, to));
    } catch (const b::timeout_error&) {
      to.push_back("inner converted");
    }
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(2s, nested(out))), b::timeout_error);
  CHECK(out == trail{"clean"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("with_timeout: outer limit shorter than the inner one, only the outer acts [row 105]") {
  b::testing::test_loop loop;
  trail out;
  auto nested = [](trail& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(10s, naps(20s)));
    to.push_back("went on");
  };
  loop.run([](auto& call, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(5s, call(to))); }(nested,
                                                                                                       out));
  CHECK(out.empty());
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("with_timeout: waits for the operation's cleanup, so it may be late [row 115]") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, cleans_up_for(3s, out))), b::timeout_error);
  CHECK(out == trail{"clean"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE(
    "with_timeout: around a group whose child fails in its cleanup, that error leaves and nothing stays cancelled [row 106] [row 141]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto grouped = []() -> b::task<> {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(cleanup_fails, std::string("child cleanup"));
        co_await b::sleep_for(100s);
      });
    };
    CHECK_THROWS_WITH_AS(co_await b::with_timeout(1s, grouped()), "child cleanup", boom);
    CHECK(!b::cancel_requested());
    co_await b::sleep_for(1s);
  }());
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("with_timeout: opened in a cleanup after the outer limit fired, works by itself [row 108]") {
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                        [&to]() -> b::task<> {
                          CHECK(!co_await b::move_on_after(2s, naps(5s)));
                          to.push_back("bounded cleanup");
                        });
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, work(out))), b::timeout_error);
  CHECK(out == trail{"bounded cleanup"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("with_timeout: made long before, its clock starts at the await [row 111]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::task<int> bounded = b::with_timeout(2s, gives_after(1s, 1));
    co_await b::sleep_for(10s);
    CHECK(co_await std::move(bounded) == 1);
  }());
}

TEST_CASE("with_timeout: two tasks, each its own limit") {
  b::testing::test_loop loop;
  auto as_text = [](b::duration limit, b::duration length) -> b::task<std::string> {
    b::outcome<int> how = co_await b::as_outcome(b::with_timeout(limit, gives_after(length, 1)));
    co_return how.failure() ? "late" : "in time";
  };
  auto both = loop.run(b::all(as_text(1s, 2s), as_text(3s, 2s)));
  CHECK(std::get<0>(both) == "late");
  CHECK(std::get<1>(both) == "in time");
}

TEST_CASE("move_on_after: gives the value, or nothing at the limit; goes on afterwards [row 88]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK(co_await b::move_on_after(2s, gives_after(1s, 6)) == 6);
    CHECK(co_await b::move_on_after(2s, naps(1s)));
    CHECK(!co_await b::move_on_after(1s, gives_after(2s, 6)));
    CHECK(*(*co_await b::move_on_after(2s, box_after(1s))) == 3);
    CHECK_THROWS_AS(static_cast<void>(co_await b::move_on_after(2s, fails_after(1s, "x"))), boom);
    CHECK_THROWS_WITH_AS(static_cast<void>(co_await b::move_on_after(1s, cleanup_fails("y"))), "y", boom);
    co_await b::sleep_for(1s);
  }());
  CHECK(loop.elapsed() == 7s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("shielded: an outer cancellation waits until it has ended, then acts at the next await [row 74]") {
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<> {
    CHECK(co_await b::shielded(10s, gives_after(3s, 1)) == 1);
    to.push_back("shield over");
    CHECK(b::cancel_requested());
    co_await b::yield();
    to.push_back("past the next await");
  };
  loop.run(
      [](auto& call, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(1s, call(to))); }(work, out));
  CHECK(out == trail{"shield over"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE(
    "shielded: its own limit interrupts it, with timeout_error, also when the outside is cancelled [row 75] [row 80]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(b::shielded(2s, naps(5s))), b::timeout_error);
  CHECK(loop.elapsed() == 2s);
  trail out;
  auto work = [](trail& to) -> b::task<> {
    try {
      co_await b::shielded(4s, naps(50s));
    } catch (const b::timeout_error& e) {
      to.push_back("timeout");
    }
  };
  loop.run([](auto& call, trail& to) -> b::task<> { co_await b::move_on_after(1s, call(to)); }(work, out));
  CHECK(out == trail{"timeout"});
  CHECK(loop.elapsed() == 6s);
}

TEST_CASE("shielded: two in sequence after one cancellation, both run to their end [row 78]") {
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<> {
    co_await b::shielded(9s, naps(2s));
    co_await b::shielded(9s, naps(2s));
    to.push_back("both");
    co_await b::yield();
    to.push_back("after");
  };
  loop.run([](auto& call, trail& to) -> b::task<> { co_await b::move_on_after(1s, call(to)); }(work, out));
  CHECK(out == trail{"both"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("shielded: inside, no cancellation is pending; afterwards it is [row 69]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    CHECK(b::cancel_requested());
    auto asks = []() -> b::task<bool> {
      co_await b::yield();
      co_return b::cancel_requested();
    };
    CHECK(!co_await b::shielded(1s, asks()));
    CHECK(b::cancel_requested());
    out.push_back("done");
  }));
  CHECK(out == trail{"done"});
}

TEST_CASE("shielded: a child awaited through it, is not touched by the awaiter's timeout [row 85]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives_after, 5s, 1);
    auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
    CHECK_THROWS_AS(static_cast<void>(co_await b::with_timeout(1s, waits(one))), b::timeout_error);
    CHECK(!one.done());
    CHECK(co_await one == 1);
  }));
}

TEST_CASE(
    "current_deadline: the earliest around, up to the nearest shield; already cancelled: the past [row 70]") {
  b::testing::test_loop loop;
  const auto start = loop.clock().now();
  struct asks {
    static b::task<b::time_point> now() { co_return b::current_deadline(); }
    static b::task<b::time_point> under(b::duration limit) {
      co_return co_await b::with_timeout(limit, now());
    }
    static b::task<b::time_point> shielded_under(b::duration limit) {
      co_return co_await b::shielded(limit, now());
    }
  };
  CHECK(loop.run(asks::now()) == b::time_point::max());
  CHECK(loop.run(asks::under(5s)) == start + 5s);
  CHECK(loop.run(b::with_timeout(3s, asks::under(5s))) == start + 3s);
  CHECK(loop.run(b::with_timeout(9s, asks::under(5s))) == start + 5s);
  CHECK(loop.run(b::with_timeout(3s, asks::shielded_under(5s))) == start + 5s);
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.cancel();
    CHECK(b::current_deadline() == b::time_point::min());
    co_return;
  }));
}

TEST_CASE("with_timeout: inside a group's body, does not bind the tasks that are spawned [row 167]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one;
    auto spawns = [](b::group& in, b::child<int>& to) -> b::task<> {
      to = in.spawn(gives_after, 5s, 1);
      co_await b::sleep_for(9s);
    };
    CHECK_THROWS_AS(co_await b::with_timeout(1s, spawns(g, one)), b::timeout_error);
    CHECK(co_await one == 1);
  }));
}

TEST_CASE("with_timeout: a hundred thousand in a row, leave no timer behind") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    for (int i = 0; i < 100'000; ++i) co_await b::with_timeout(1h, gives(1));
    CHECK(l.loop().statistics().timers == 0);
  }(loop));
}

TEST_CASE("sleep: for zero, less, and for ever") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    co_await b::sleep_for(0s);
    co_await b::sleep_for(-5s);
    co_await b::sleep_until(b::time_point::min());
    CHECK(!co_await b::move_on_after(1s, naps(b::duration::max())));
  }());
  CHECK(loop.elapsed() == 1s);
  CHECK_THROWS_AS(loop.run(naps(b::duration::max())), b::deadlock_error);
  CHECK(loop.nothing_left());
}

TEST_CASE("sleep: equal wake-up times, in the order in which the sleeps began") {
  b::testing::test_loop loop;
  std::string order;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (char name = 'a'; name <= 'f'; ++name) {
      g.spawn(
          [](std::string& to, char who) -> b::task<> {
            co_await b::sleep_until(b::testing::virtual_clock::start + 5s);
            to.push_back(who);
          },
          std::ref(order), name);
    }
    co_return;
  }));
  CHECK(order == "abcdef");
}

namespace {

// Cannot be moved once it is armed.
struct heavy {
  heavy() = default;
  heavy(const heavy&) {
    if (armed) throw boom("moved");
  }
  heavy& operator=(const heavy&) = default;
  static inline bool armed = false;
};
struct arms {
  ~arms() { heavy::armed = true; }
};
b::task<heavy> gives_heavy() {
  heavy::armed = false;
  const arms last;
  const heavy made;
  co_return made;
}

}  // namespace

TEST_CASE("a value whose move throws is an error of the operation, wherever it is awaited") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run([]() -> b::task<> { co_await gives_heavy(); }()), boom);
  CHECK_THROWS_AS(loop.run([]() -> b::task<> { co_await b::with_timeout(1s, gives_heavy()); }()), boom);
  CHECK_THROWS_AS(loop.run([]() -> b::task<> { co_await b::shielded(1s, gives_heavy()); }()), boom);
  CHECK_THROWS_AS(loop.run([]() -> b::task<> { co_await b::on_cancel(gives_heavy(), [] {}); }()), boom);
  loop.run([]() -> b::task<> {
    const b::outcome<heavy> how = co_await b::as_outcome(gives_heavy());
    CHECK(how.failure().message() == "moved");
  }());
  // Those beside it are cancelled and waited for, what is open is closed.
  trail out;
  CHECK_THROWS_AS(loop.run([](trail& to) -> b::task<> {
    co_await b::with_group([&to](b::group& g) -> b::task<heavy> {
      g.spawn(cleans_up_for, 1s, std::ref(to));
      co_await b::yield();
      co_await b::yield();
      const arms last;
      heavy::armed = false;
      const heavy made;
      co_return made;
    });
  }(out)),
                  boom);
  CHECK(out == trail{"clean"});
  CHECK_THROWS_AS(loop.run([](trail& to) -> b::task<> {
    co_await b::with(resource(to, "r"), [](int&) -> b::task<heavy> { co_return co_await gives_heavy(); });
  }(out)),
                  boom);
  CHECK(out.back() == "closed r");
  CHECK(loop.nothing_left());
  heavy::armed = false;
}

TEST_CASE("with_timeout: a name that is null is no name") {
  b::testing::test_loop loop;
  try {
    loop.run(b::with_timeout({.limit = 1s, .name = nullptr}, naps(2s)));
    FAIL("no error");
  } catch (const b::timeout_error& e) {
    CHECK(std::string(e.what()).find("set by with_timeout") != std::string::npos);
  }
}
