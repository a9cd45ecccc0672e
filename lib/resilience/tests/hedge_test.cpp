// SPDX-License-Identifier: Apache-2.0
// When a second run begins, which one counts, and what becomes of the others.

#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/hedge.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <new>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

// Each run does what its place says: the time that it takes, and whether it fails then.
struct script {
  struct step {
    b::duration takes;
    const char* fails = nullptr;
    bool decisive = false;
    b::duration stops = 0s;  // how long its cleanup takes
  };
  std::vector<step> steps;
  std::size_t begun = 0;
  int live = 0;
  trail told = {};
};

b::task<int> follow(script& to) {
  const std::size_t mine = to.begun++;
  const script::step step = to.steps.at(mine);
  ++to.live;
  struct leave {
    script* of;
    ~leave() { --of->live; }
  } const leaving{&to};
  const std::string name = std::to_string(mine);
  co_return co_await b::finally(
      [&]() -> b::task<int> {
        co_await b::sleep_for(step.takes);
        if (step.fails != nullptr && step.decisive) throw boom(step.fails);
        if (step.fails != nullptr) throw outage(step.fails);
        to.told.push_back("done " + name);
        co_return static_cast<int>(mine);
      },
      [&]() -> b::task<> {
        if (step.stops > 0s) co_await b::sleep_for(step.stops);
        to.told.push_back("stopped " + name);
      });
}

}  // namespace

TEST_CASE("hedge: what answers before the delay is run once [row 391]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 100ms});
    script s{{{100ms - 1ns}}};
    CHECK(co_await twice(b::repeatable(follow, std::ref(s))) == 0);
    CHECK(s.begun == 1);
    CHECK(twice.statistics().hedges == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("hedge: the second run answers first: its value; the first is cancelled and waited for [row 392]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::hedge twice({.name = "lookup", .delay = 100ms, .listener = told.listener()});
    script s{{{10s, nullptr, false, 3s}, {50ms}}};
    const b::time_point start = b::now();
    CHECK(co_await twice(b::repeatable(follow, std::ref(s))) == 1);
    CHECK(b::now() - start == 3150ms);
    CHECK(s.told == trail{"done 1", "stopped 1", "stopped 0"});
    CHECK(s.live == 0);
    CHECK(told.all == trail{"hedged: lookup"});
    CHECK(twice.statistics().won == 1);
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("hedge: the first run fails before the delay: the second begins at once [row 393]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 10s});
    script s{{{100ms, "first"}, {50ms}}};
    CHECK(co_await twice(b::repeatable(follow, std::ref(s))) == 1);
  }());
  CHECK(loop.elapsed() == 150ms);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("hedge: all runs fail: the error of the first, bare, with those of the others attached [row 394]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge thrice({.delay = 100ms, .most_runs = 3});
    script s{{{500ms, "first"}, {100ms, "second"}, {1s, "third"}}};
    b::outcome<int> how = co_await b::as_outcome(thrice(b::repeatable(follow, std::ref(s))));
    const b::failure all = how.failure();
    CHECK(all.message() == "first");
    CHECK(b::detail::exception_as<outage>(all.exception()) != nullptr);
    REQUIRE(all.attached().size() == 2);
    CHECK(all.attached()[0].message() == "second");
    CHECK(all.attached()[1].message() == "third");
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "hedge: an error that another run would not change ends the call, with what failed before attached") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge thrice({.delay = 100ms, .most_runs = 3});
    script s{{{50ms, "weak"}, {100ms, "no such user", true}}};
    b::outcome<int> how = co_await b::as_outcome(thrice(b::repeatable(follow, std::ref(s))));
    const b::failure why = how.failure();
    CHECK(why.message() == "no such user");
    REQUIRE(why.attached().size() == 1);
    CHECK(why.attached()[0].message() == "weak");
    CHECK(s.begun == 2);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("hedge: the caller is cancelled: all runs are cancelled and waited for [row 395]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 100ms});
    script s{{{10s, nullptr, false, 1s}, {10s, nullptr, false, 2s}}};
    const auto got = co_await b::move_on_after(1s, twice(b::repeatable(follow, std::ref(s))));
    CHECK_FALSE(got.has_value());
    CHECK(s.live == 0);
    CHECK(s.told == trail{"stopped 0", "stopped 1"});
    // Cancelled when a run has failed already: still a cancellation.
    script t{{{50ms, "first"}, {10s}}};
    CHECK_FALSE((co_await b::move_on_after(1s, twice(b::repeatable(follow, std::ref(t))))).has_value());
    CHECK(t.live == 0);
  }());
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "hedge: what was not declared repeatable is never run twice, also through other policies [row 396]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 100ms});
    script s{{{1s}, {1s}}};
    CHECK(co_await twice(follow, std::ref(s)) == 0);
    CHECK(s.begun == 1);
    const b::pipeline guarded{b::timeout{10s}, b::hedge({.delay = 100ms}), b::timeout{5s}};
    script plain{{{1s}, {1s}}};
    CHECK(co_await guarded(follow, std::ref(plain)) == 0);
    CHECK(plain.begun == 1);
    script once{{{1s}, {1s}}};
    CHECK(co_await guarded(b::once(follow, std::ref(once))) == 0);
    CHECK(once.begun == 1);
    script declared{{{1s}, {10ms}}};
    CHECK(co_await guarded(b::repeatable(follow, std::ref(declared))) == 1);
    CHECK(declared.begun == 2);
    script failing{{{1s, "x"}}};
    b::outcome<int> how = co_await b::as_outcome(twice(follow, std::ref(failing)));
    CHECK(how.failure().message() == "x");
  }());
}

TEST_CASE("hedge: the value of a run that lost is destroyed before the call ends [row 397]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    int open = 0;
    struct connection {
      explicit connection(int& count) : of(&count) { ++*of; }
      connection(connection&& other) noexcept : of(std::exchange(other.of, nullptr)) {}
      connection& operator=(connection&&) = delete;
      ~connection() {
        if (of != nullptr) --*of;
      }
      int* of;
    };
    const b::hedge twice({.delay = 100ms});
    // Both end in the same turn: the value of the second is there when it is cancelled.
    auto connects = [&open]() -> b::task<connection> {
      const b::time_point at = b::now();
      co_await b::sleep_until(at == b::time_point() ? at + 200ms : at + 100ms);
      co_return connection(open);
    };
    {
      const connection got = co_await twice(b::repeatable(connects));
      CHECK(open == 1);
      CHECK(twice.statistics().hedges == 1);
    }
    CHECK(open == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("hedge: values of all kinds") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 100ms});
    int x = 5;
    const auto refers = [&x]() -> b::task<int&> {
      co_await b::sleep_for(150ms);
      co_return x;
    };
    int& got = co_await twice(b::repeatable(refers));
    CHECK(&got == &x);
    const auto makes = []() -> b::task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    CHECK(*co_await twice(b::repeatable(makes)) == 7);
    const auto nothing = []() -> b::task<> { co_await b::sleep_for(1s); };
    co_await twice(b::repeatable(nothing));
    struct never {
      b::task<int> operator()() const {
        throw boom("no task");
        co_return 1;
      }
    };
    b::outcome<int> how = co_await b::as_outcome(twice(b::repeatable(never{})));
    CHECK(how.failure().message() == "no task");
  }());
}

TEST_CASE("hedge: the budget bounds what is added to the load when everything is slow") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 100ms, .budget = 0.1, .budget_saved = 5});
    int runs = 0;
    const auto slow = [&runs]() -> b::task<> {
      ++runs;
      co_await b::sleep_for(1s);
    };
    for (int i = 0; i < 1000; ++i) co_await twice(b::repeatable(slow));
    CHECK(runs >= 1100);
    CHECK(runs <= 1106);
    CHECK(twice.statistics().no_budget == 2000 - static_cast<std::uint64_t>(runs));
  }());
}

TEST_CASE("hedge: the delay follows what the latest calls took") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 10s, .percentile = 0.9, .window = 100, .minimum_calls = 20, .budget = 1});
    const auto takes = [](b::duration length) -> b::task<> { co_await b::sleep_for(length); };
    for (int i = 0; i < 19; ++i)
      co_await twice(b::repeatable(takes, b::duration(std::chrono::milliseconds(i))));
    CHECK(twice.statistics().delay == 10s);
    for (int i = 0; i < 200; ++i)
      co_await twice(b::repeatable(takes, b::duration(std::chrono::milliseconds(i % 100))));
    const b::duration found = twice.statistics().delay;
    CHECK(found >= 80ms);
    CHECK(found <= 100ms);
    script s{{{5s}, {1ms}}};
    const b::time_point start = b::now();
    CHECK(co_await twice(b::repeatable(follow, std::ref(s))) == 1);
    CHECK(b::now() - start == found + 1ms);
  }());
}

TEST_CASE("hedge: the percentile is of the calls that had a value, and of when they had it") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto takes = [](b::duration length) -> b::task<> { co_await b::sleep_for(length); };
    // Nine of ten in 1 ms: that is what 90 % have taken.
    const b::hedge nine({.delay = 10s, .percentile = 0.9, .window = 10, .minimum_calls = 10});
    for (int i = 0; i < 10; ++i)
      co_await nine(b::repeatable(takes, i == 4 ? b::duration(1s) : b::duration(1ms)));
    CHECK(nine.statistics().delay == 1ms + 1ns);
    for (int i = 0; i < 10; ++i) co_await nine(b::repeatable(takes, b::duration(1ms)));
    CHECK(nine.statistics().hedges == 0);
    // The loser takes half a second to stop.
    const b::hedge joined({.delay = 5ms, .percentile = 0.5, .window = 20, .minimum_calls = 20, .budget = 7});
    script s;
    for (int i = 0; i < 20; ++i) {
      s.steps.push_back({2s, nullptr, false, 500ms});
      s.steps.push_back({1ms});
    }
    for (int i = 0; i < 10; ++i) co_await joined(b::repeatable(follow, std::ref(s)));
    for (int i = 0; i < 10; ++i) co_await joined(b::repeatable(takes, b::duration(1ms)));
    for (int i = 0; i < 10; ++i) co_await joined(b::repeatable(follow, std::ref(s)));
    CHECK(joined.statistics().delay <= 6ms + 1ns);
    // What is not there is told at once.
    const b::hedge finds({.delay = 100ms, .percentile = 0.95, .window = 40, .minimum_calls = 20});
    const auto find = [](bool here) -> b::task<> {
      co_await b::sleep_for(here ? b::duration(50ms) : b::duration(10us));
      if (!here) throw b::error(b::error_kind::not_found, "n", "n");
    };
    for (int i = 0; i < 100; ++i) {
      b::outcome<void> how = co_await b::as_outcome(finds(b::repeatable(find, i % 4 == 0)));
      if (how.failed()) CHECK(how.failure());
    }
    CHECK(finds.statistics().delay >= 50ms);
    CHECK(finds.statistics().hedges == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("hedge: a loser that fails instead of stopping is handled; one whose cleanup fails is reported") {
  for (const bool in_cleanup : {false, true}) {
    CAPTURE(in_cleanup);
    t::test_loop loop;
    loop.run([](bool cleanup) -> b::task<> {
      const b::hedge twice({.delay = 10ms});
      int n = 0;
      const auto fails = []() -> b::task<> {
        co_await b::sleep_for(30ms);
        throw outage("too late");
      };
      const auto run = [&]() -> b::task<int> {
        if (n++ > 0) {
          co_await b::sleep_for(10ms);
          co_return 7;
        }
        if (cleanup) {
          co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); }, fails);
        } else {
          co_await b::shielded(1s, fails());
        }
        co_return 1;
      };
      CHECK(co_await twice(b::repeatable(run)) == 7);
    }(in_cleanup));
    CHECK(loop.lost_errors().size() == (in_cleanup ? 1 : 0));
    CHECK(loop.nothing_left());
  }
}

TEST_CASE("hedge: a further run that finds no memory does not decide") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::hedge twice({.delay = 10ms});
    int n = 0;
    const auto run = [&n]() -> b::task<int> {
      if (n++ > 0) throw std::bad_alloc();
      co_await b::sleep_for(20ms);
      co_return 1;
    };
    CHECK(co_await twice(b::repeatable(run)) == 1);
    const b::outcome<int> first = co_await b::as_outcome(twice(b::repeatable([]() -> b::task<int> {
      throw std::bad_alloc();
      co_return 1;
    })));
    CHECK(b::detail::exception_as<std::bad_alloc>(first.failure().exception()) != nullptr);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("hedge: options out of range are refused by name, value and range") {
  CHECK_THROWS_AS(b::hedge({.delay = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.percentile = 1}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.percentile = std::nan("")}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.percentile = 0.5, .window = 5}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.minimum_calls = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.most_runs = 1}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.budget = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::hedge({.budget_saved = 0.5}), b::misuse_error);
  CHECK_THROWS_WITH_AS(b::hedge({.most_runs = 9}), "hedge: most_runs is 9; it must be from 2 to 8",
                       b::misuse_error);
}
