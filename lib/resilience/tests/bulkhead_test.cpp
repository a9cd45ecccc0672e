// SPDX-License-Identifier: Apache-2.0
// How many run, who waits, and when a place is given back.

#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/bulkhead.hpp>
#include <doctest/doctest.h>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

struct yard {
  int running = 0;
  int most = 0;
  trail told;
};

b::task<> works(yard& at, std::string name, b::duration length) {
  ++at.running;
  at.most = std::max(at.most, at.running);
  struct leave {
    yard* at;
    ~leave() { --at->running; }
  } const leaving{&at};
  at.told.push_back("begin " + name);
  co_await b::sleep_for(length);
  at.told.push_back("end " + name);
}
b::task<> enters(const b::bulkhead& in, yard& at, std::string name, b::duration length) {
  b::outcome<void> how = co_await b::as_outcome(in(works, std::ref(at), name, length));
  if (how.succeeded()) co_return;
  const b::failure why = how.failure();
  const auto* refused = why.find<b::overload_error>();
  at.told.push_back((refused != nullptr ? std::string(refused->code()) : why.message()) + " " + name);
}

}  // namespace

TEST_CASE("bulkhead: who finds all places taken and no line is rejected at once, and not run [row 383]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.name = "db", .most_running = 2});
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (const char* name : {"a", "b", "c"}) g.spawn(enters, std::cref(in), std::ref(at), name, 1s);
      co_await b::yield();
      CHECK(at.told == trail{"begin a", "begin b", "bulkhead_full c"});
      b::outcome<void> how = co_await b::as_outcome(in(works, std::ref(at), "d", 1s));
      const b::failure refused = how.failure();
      const auto* why = refused.find<b::overload_error>();
      REQUIRE(why != nullptr);
      CHECK(why->kind() == b::error_kind::overloaded);
      CHECK(std::string(why->what()) == "bulkhead 'db': all 2 places are taken");
    });
    CHECK(in.statistics().rejected == 2);
    CHECK(in.statistics().running == 0);
  }());
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "bulkhead: a line of one: the second waits its time and is refused as full; the third at once [row 384]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.most_running = 2, .most_waiting = 1, .longest_wait = 100ms});
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (const char* name : {"a", "b", "c", "d"}) g.spawn(enters, std::cref(in), std::ref(at), name, 1s);
      co_await b::sleep_for(99ms);
      CHECK(at.told == trail{"begin a", "begin b", "bulkhead_full d"});
      co_await b::sleep_for(1ms);
      co_await b::yield();
      CHECK(at.told.back() == "bulkhead_full c");
      co_await b::sleep_for(850ms);
      co_await enters(in, at, "e", 1s);  // waits 50 ms
    });
    CHECK(at.told == trail{"begin a", "begin b", "bulkhead_full d", "bulkhead_full c", "end a", "end b",
                           "begin e", "end e"});
    CHECK(in.statistics().expired == 1);
    CHECK(in.statistics().rejected == 1);
    CHECK(in.statistics().admitted == 3);
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "bulkhead: a place is given back once, however the operation ends, and only when it has really stopped [row 385]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.most_running = 1, .most_waiting = 5});
    yard at;
    co_await in(works, std::ref(at), "value", 1s);
    CHECK(in.statistics().running == 0);
    b::outcome<void> failed = co_await b::as_outcome(in([]() -> b::task<> {
      co_await b::yield();
      throw boom("x");
    }));
    CHECK(failed.failure());
    CHECK(in.statistics().running == 0);
    {
      auto dropped = in(works, std::ref(at), "never", 1s);  // never awaited
    }
    CHECK(in.statistics().running == 0);
    // Cancelled, with a cleanup that takes two seconds: the next one waits for that.
    co_await b::with_group([&](b::group& g) -> b::task<> {
      auto slow_to_stop = [](const b::bulkhead& through, yard& to) -> b::task<> {
        co_await through([&]() -> b::task<> {
          co_await b::finally([&]() -> b::task<> { co_await works(to, "stubborn", 10s); },
                              [&]() -> b::task<> {
                                co_await b::sleep_for(2s);
                                to.told.emplace_back("cleaned up");
                              });
        });
      };
      b::child<void> first = g.spawn(slow_to_stop, std::cref(in), std::ref(at));
      g.spawn(enters, std::cref(in), std::ref(at), "next", 1s);
      co_await b::yield();
      first.cancel();
      co_await b::sleep_for(1s);
      CHECK(in.statistics().running == 1);
    });
    CHECK(at.told ==
          trail{"begin value", "end value", "begin stubborn", "cleaned up", "begin next", "end next"});
    CHECK(at.most == 1);
    CHECK(in.statistics().running == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "bulkhead: a waiter that is cancelled leaves the line; a place granted in the same turn goes to the next [row 386]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.most_running = 1, .most_waiting = 5});
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::bulkhead::place mine = in.try_enter();
      CHECK(mine);
      CHECK_FALSE(in.try_enter());
      b::child<void> first = g.spawn(enters, std::cref(in), std::ref(at), "a", 1s);
      b::child<void> second = g.spawn(enters, std::cref(in), std::ref(at), "b", 1s);
      g.spawn(enters, std::cref(in), std::ref(at), "c", 1s);
      co_await b::yield();
      CHECK(in.statistics().waiting == 3);
      first.cancel();
      co_await b::yield();
      CHECK(in.statistics().waiting == 2);
      mine.release();   // to b ...
      second.cancel();  // ... which is cancelled before it goes on
      mine.release();   // nothing
    });
    CHECK(at.told.front() ==
          "begin b");  // it had the place: finished work wins, and it stops at its next wait
    CHECK(at.told == trail{"begin b", "begin c", "end c"});
    CHECK(at.most == 1);
    CHECK(in.statistics().running == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("bulkhead: a lower limit disturbs nobody, and lets nobody in until there is room [row 387]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.most_running = 10, .most_waiting = 5});
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 1; i <= 8; ++i)
        g.spawn(enters, std::cref(in), std::ref(at), std::to_string(i), std::chrono::seconds(i));
      co_await b::yield();
      in.set_limit(2);
      CHECK(at.running == 8);
      g.spawn(enters, std::cref(in), std::ref(at), "late", 1s);
      co_await b::sleep_for(6500ms);
      CHECK(at.running == 2);
      CHECK(in.statistics().waiting == 1);
      co_await b::sleep_for(1s);
      CHECK(at.told.back() == "begin late");
      CHECK_THROWS_WITH_AS(in.set_limit(0), "bulkhead: most_running is 0; it must be from 1 to 1000000000",
                           b::misuse_error);
      CHECK(in.statistics().limit == 2);
      for (const char* name : {"x", "y", "z"}) g.spawn(enters, std::cref(in), std::ref(at), name, 1s);
      co_await b::yield();
      CHECK(in.statistics().waiting == 3);
      in.set_limit(5);
      CHECK(in.statistics().waiting == 0);
    });
    CHECK(in.statistics().admitted == 12);
  }());
}

TEST_CASE("bulkhead: high priority goes first; within one, first come, first served") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::bulkhead in({.most_running = 1, .most_waiting = 10});
    const b::bulkhead low = in.with_priority(b::call_priority::low);
    const b::bulkhead high = in.with_priority(b::call_priority::high);
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(enters, std::cref(in), std::ref(at), "0", 1s);
      g.spawn(enters, std::cref(low), std::ref(at), "l1", 1s);
      g.spawn(enters, std::cref(in), std::ref(at), "n1", 1s);
      g.spawn(enters, std::cref(high), std::ref(at), "h1", 1s);
      g.spawn(enters, std::cref(low), std::ref(at), "l2", 1s);
      g.spawn(enters, std::cref(high), std::ref(at), "h2", 1s);
      g.spawn(enters, std::cref(in), std::ref(at), "n2", 1s);
      co_await b::yield();
    });
    trail begun;
    for (const std::string& one : at.told) {
      if (one.starts_with("begin ")) begun.push_back(one.substr(6));
    }
    CHECK(begun == trail{"0", "h1", "h2", "n1", "n2", "l1", "l2"});
  }());
}

TEST_CASE("bulkhead: waiting, being let in after it, and rejections are told") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::bulkhead in({.name = "db", .most_running = 1, .most_waiting = 1, .listener = told.listener()});
    yard at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (const char* name : {"a", "b", "c"}) g.spawn(enters, std::cref(in), std::ref(at), name, 1s);
      co_await b::yield();
    });
    CHECK(told.all == trail{"queued: db", "rejected: db", "admitted: db"});
    CHECK(in.describe() == "bulkhead 'db': 1 at a time, 1 may wait");
  }());
}

TEST_CASE("bulkhead: options out of range are refused by name, value and range") {
  CHECK_THROWS_AS(b::bulkhead({.most_running = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::bulkhead({.most_running = static_cast<std::size_t>(-3)}), b::misuse_error);
  CHECK_THROWS_AS(b::bulkhead({.most_waiting = static_cast<std::size_t>(-3)}), b::misuse_error);
  CHECK_THROWS_AS(b::bulkhead({.longest_wait = 0s}), b::misuse_error);
  CHECK_THROWS_WITH_AS(b::bulkhead({.name = "db", .longest_wait = -5ms}),
                       "bulkhead 'db': longest_wait is -5 ms; it must be more than 0", b::misuse_error);
}

TEST_CASE("bulkhead: try_enter counts like a call; who is cancelled before the line is not told as waiting") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::bulkhead one({.most_running = 1, .most_waiting = 5, .listener = told.listener()});
    const b::bulkhead::place held = one.try_enter();
    CHECK(held);
    CHECK_FALSE(one.try_enter());
    CHECK(one.statistics().admitted == 1);
    CHECK(one.statistics().rejected == 1);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
        g.cancel();
        co_await one([]() -> b::task<> { co_return; });
      });
      co_return;
    });
    CHECK(told.all.empty());
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("bulkhead: a value whose move throws is a failure of the call, and its place is given back") {
  struct brittle {
    explicit brittle(int& of_fuse) : fuse(&of_fuse) {}
    brittle(brittle&& other) : fuse(other.fuse) {
      if (--*fuse == 0) throw std::runtime_error("does not move");
    }
    brittle& operator=(brittle&&) = delete;
    int* fuse;
  };
  for (int moves = 1; moves < 6; ++moves) {
    CAPTURE(moves);
    t::test_loop loop;
    loop.run([](int fuse) -> b::task<> {
      const b::bulkhead one({.most_running = 1});
      const auto makes = [&fuse]() -> b::task<brittle> { co_return brittle(fuse); };
      const b::outcome<brittle> how = co_await b::as_outcome(one(makes));
      if (how.failed()) CHECK(how.failure().message() == "does not move");
      CHECK(how.succeeded() == (fuse > 0));
      CHECK(one.statistics().running == 0);
    }(moves));
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
  }
}
