// SPDX-License-Identifier: Apache-2.0
// Limits that are moved while they run, and durations as arguments.

#include <belay/core/deadline.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/loop.hpp>
#include <doctest/doctest.h>

#include <limits>
#include <thread>

#include "driven.hpp"

using namespace core_tests;

namespace {

b::task<> moves(b::deadline& limit, b::duration after, b::duration to) {
  co_await b::sleep_for(after);
  limit.move_to(b::now() + to);
}

// What a call says that must be a misuse.
template <class F>
std::string said(F call) {
  try {
    call();
  } catch (const b::misuse_error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("with_deadline: moved later by the operation, that counts; when and expired tell it [row 109]") {
  b::testing::test_loop loop;
  const b::time_point start = loop.clock().now();
  const int got = loop.run(b::with_deadline(2s, [&](b::deadline& limit) -> b::task<int> {
    CHECK(limit.when() == start + 2s);
    CHECK(b::current_deadline() == start + 2s);
    co_await b::sleep_for(1s);
    CHECK(limit.extend(3s));
    CHECK(limit.when() == start + 5s);
    CHECK(b::current_deadline() == start + 5s);
    co_await b::sleep_for(3s);
    CHECK(limit.restart());
    CHECK(limit.when() == start + 6s);
    CHECK(limit.running());
    CHECK(!limit.expired());
    co_return 3;
  }));
  CHECK(got == 3);
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "with_deadline: moved earlier by another task, acts then, and the error tells the new limit [row 109]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::deadline limit(100s);
    g.spawn(moves, std::ref(limit), 1s, 2s);
    std::string what;
    try {
      co_await b::with_deadline(limit, naps(200s));
    } catch (const b::timeout_error& e) {
      what = e.what();
    }
    CHECK(what.find("timed out after 3000 ms, set by with_deadline at deadline_test.cpp:") == 0);
    CHECK(what.find("while awaiting support.hpp:") != std::string::npos);
    CHECK(limit.expired());
    CHECK(!limit.running());
  }));
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.nothing_left());
}

TEST_CASE("with_deadline: the limit taken away, and set again [row 109]") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    co_await b::with_deadline(1s, [&](b::deadline& limit) -> b::task<> {
      CHECK(limit.remove());
      CHECK(limit.when() == b::time_point::max());
      CHECK(l.loop().statistics().timers == 0);
      CHECK(limit.extend(1s));
      CHECK(limit.when() == b::time_point::max());
      co_await b::sleep_for(10s);
    });
    b::deadline limit(b::duration::max());
    auto sets_one = [](b::deadline& d) -> b::task<> {
      CHECK(d.move_to(b::now() + 1s));
      co_await b::sleep_for(10s);
    };
    CHECK_THROWS_AS(co_await b::with_deadline(limit, sets_one(limit)), b::timeout_error);
  }(loop));
  CHECK(loop.elapsed() == 11s);
}

TEST_CASE("with_deadline: moved into the past, acts at the next await and not before [row 109] [row 64]") {
  b::testing::test_loop loop;
  trail out;
  b::deadline limit(10s);
  auto gives_up = [](b::deadline& d, trail& to) -> b::task<> {
    co_await b::yield();
    d.move_to(b::now() - 1s);
    CHECK(d.expired());
    to.push_back("goes on until it awaits");
    co_await b::yield();
    to.push_back("past the await");
  };
  CHECK_THROWS_WITH_AS(loop.run(b::with_deadline(limit, gives_up(limit, out))),
                       doctest::Contains("timed out after 0 ms, set by with_deadline"), b::timeout_error);
  CHECK(out == trail{"goes on until it awaits"});
  CHECK(loop.elapsed() == 0s);
  // By another task: what waits is taken back at once.
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::deadline other(10s);
    g.spawn(moves, std::ref(other), 1s, -5s);
    CHECK_THROWS_AS(co_await b::with_deadline(other, naps(200s)), b::timeout_error);
  }));
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE(
    "with_deadline: moved into the past, and the operation ends without another await: its value wins") {
  b::testing::test_loop loop;
  b::deadline limit(10s);
  auto ends = [](b::deadline& d) -> b::task<int> {
    d.move_to(b::now());
    co_return 4;
  };
  CHECK(loop.run(b::with_deadline(limit, ends(limit))) == 4);
  CHECK(limit.expired());
}

TEST_CASE("with_deadline: moved later after it has acted, it stays expired [row 110]") {
  b::testing::test_loop loop;
  trail out;
  b::deadline limit(1s);
  auto work = [](b::deadline& d, trail& to) -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                        [&d, &to]() -> b::task<> {
                          const b::time_point before = d.when();
                          CHECK(!d.move_to(b::now() + 100s));
                          CHECK(!d.extend(100s));
                          CHECK(!d.remove());
                          CHECK(!d.restart());
                          CHECK(d.when() == before);
                          to.push_back("cleaned up");
                          co_await b::sleep_for(1s);
                        });
    to.push_back("went on");
  };
  CHECK_THROWS_AS(loop.run(b::with_deadline(limit, work(limit, out))), b::timeout_error);
  CHECK(limit.expired());
  CHECK(out == trail{"cleaned up"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("deadline: moved before its with_deadline or after it, is a misuse_error that says so [row 109]") {
  b::testing::test_loop loop;
  b::deadline limit(1s);
  CHECK(said([&] { limit.move_to(b::now()); }) == "deadline::move_to: its with_deadline has not begun");
  CHECK(said([&] { limit.restart(); }) == "deadline::restart: its with_deadline has not begun");
  CHECK(limit.when() == b::time_point::max());
  CHECK(!limit.expired());
  loop.run(b::with_deadline(limit, naps(500ms)));
  CHECK(!limit.expired());
  CHECK(said([&] { limit.extend(1s); }) == "deadline::extend: its with_deadline has ended");
  CHECK(said([&] { limit.remove(); }) == "deadline::remove: its with_deadline has ended");
}

TEST_CASE(
    "deadline: used twice, at the same time or later, is a misuse_error and the first use is unharmed [row 65]") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    b::deadline limit(2s);
    bool ran = false;
    auto runs = [](bool& flag) -> b::task<> {
      flag = true;
      co_return;
    };
    auto again = [&](b::deadline& d) -> b::task<> {
      CHECK_THROWS_WITH_AS(co_await b::with_deadline(d, runs(ran)),
                           "with_deadline: another one runs under this deadline; make one for each",
                           b::misuse_error);
      CHECK(d.running());
      co_await b::sleep_for(100s);
    };
    CHECK_THROWS_AS(co_await b::with_deadline(limit, again(limit)), b::timeout_error);
    CHECK(l.elapsed() == 2s);
    CHECK_THROWS_WITH_AS(co_await b::with_deadline(limit, runs(ran)),
                         "with_deadline: this deadline was used before; make a new one", b::misuse_error);
    CHECK(limit.expired());
    CHECK(!ran);
  }(loop));
}

TEST_CASE("deadline: moved on another thread, is a misuse_error and nothing has changed") {
  b::testing::test_loop loop;
  loop.run(b::with_deadline(2s, [](b::deadline& limit) -> b::task<> {
    const b::time_point before = limit.when();
    std::string words;
    std::thread([&] { words = said([&] { limit.remove(); }); }).join();
    CHECK(words == "deadline::remove: this is not the thread of its loop; use loop::post");
    CHECK(limit.when() == before);
    co_return;
  }));
}

TEST_CASE("deadline: destroyed while it is running, ends the process with a message") {
  const process_end end = in_process([] {
    b::testing::test_loop loop;
    loop.run([]() -> b::task<> {
      auto limit = std::make_unique<b::deadline>(2s);
      auto destroys = [](std::unique_ptr<b::deadline>& of) -> b::task<> {
        of.reset();
        co_return;
      };
      co_await b::with_deadline(*limit, destroys(limit));
    }());
    return 0;
  });
  CHECK(!end.exited);
  CHECK(end.said.find("a deadline was destroyed while its with_deadline was running") != std::string::npos);
}

TEST_CASE("with_deadline: zero or less, the body is not called") {
  b::testing::test_loop loop;
  bool called = false;
  auto body = [&called](b::deadline&) -> b::task<> {
    called = true;
    co_return;
  };
  CHECK_THROWS_AS(loop.run(b::with_deadline(0s, body)), b::timeout_error);
  CHECK_THROWS_AS(loop.run(b::with_deadline(-1s, body)), b::timeout_error);
  b::deadline limit(0s);
  CHECK_THROWS_AS(loop.run(b::with_deadline(limit, naps(1s))), b::timeout_error);
  CHECK(limit.expired());
  CHECK(!called);
}

TEST_CASE("with_deadline: as with_timeout with an outer limit, with errors, and with what it returns") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto moved_past_the_outer = [](b::deadline& d) -> b::task<> {
      d.move_to(b::now() + 100s);
      co_await b::sleep_for(100s);
    };
    bool caught_inside = false;
    auto nested = [&]() -> b::task<> {
      try {
        co_await b::with_deadline(1s, moved_past_the_outer);
      } catch (const b::timeout_error&) {
        caught_inside = true;
      }
    };
    CHECK(!co_await b::move_on_after(2s, nested()));
    CHECK(!caught_inside);
    b::deadline limit(1s);
    CHECK_THROWS_AS(static_cast<void>(co_await b::with_deadline(limit, fails("x"))), boom);
    int here = 0;
    auto lends = [&here](b::deadline&) -> b::task<int&> { co_return here; };
    CHECK(&co_await b::with_deadline(1s, lends) == &here);
    struct no_task {
      BELAY_CORO_WRAPPER b::task<> operator()(b::deadline&) const { throw boom("no task"); }
    };
    CHECK_THROWS_AS(co_await b::with_deadline(1s, no_task()), boom);
  }());
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("everywhere: with_deadline") {
  drive("with_deadline", [](t::stage& s) -> b::task<> {
    auto& live = s.make<int>(0);
    s.expect("no local is left", [&live] { return live == 0; });
    auto steps = [](b::deadline& limit, int& count) -> b::task<int> {
      const counted here(count);
      for (int i = 0; i < 3; ++i) {
        co_await b::sleep_for(1s);
        limit.extend(1s);
      }
      co_return 3;
    };
    b::deadline limit(2s);  // outlives the task that moves it
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](b::deadline& d) -> b::task<> {
            co_await b::sleep_for(1500ms);
            if (d.running()) d.move_to(b::now() + 1s);
          },
          std::ref(limit));
      b::outcome<int> how = co_await b::as_outcome(b::with_deadline(limit, steps(limit, live)));
      if (how.failed()) CHECK(!how.failure().message().empty());
      co_await b::yield();
    });
  });
}

TEST_CASE(
    "durations: any unit fits as an argument; what does not fit in nanoseconds stops at the end [row 517]") {
  using hours = std::chrono::hours;
  static_assert(b::any_duration(1.5s).value() == 1500ms);
  static_assert(b::any_duration(hours::max()).value() == b::duration::max());
  static_assert(b::any_duration(hours::min()).value() == b::duration::min());
  static_assert(b::any_duration(hours(2)).value() == 7200s);
  static_assert(b::any_duration(std::chrono::duration<int>(3)).value() == 3s);
  static_assert(b::any_duration(std::chrono::duration<double>(1e300)).value() == b::duration::max());
  static_assert(b::any_duration(std::chrono::duration<double>(-1e300)).value() == b::duration::min());
  using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
  static_assert(b::any_duration(picoseconds(2500)).value() == 2ns);
  static_assert(b::any_duration(picoseconds::max()).value() > 9'000'000s);
  // whatever the type and the unit of the count
  static_assert(b::any_duration(std::chrono::duration<std::uint64_t>(5)).value() == 5s);
  static_assert(b::any_duration(std::chrono::duration<std::uint64_t>(UINT64_MAX)).value() ==
                b::duration::max());
  static_assert(b::any_duration(std::chrono::duration<std::uint64_t, std::nano>(UINT64_MAX)).value() ==
                b::duration::max());
  static_assert(b::any_duration(std::chrono::duration<std::uint8_t>(255)).value() == 255s);
  using ticks = std::chrono::duration<std::int64_t, std::ratio<1, 32768>>;
  static_assert(b::any_duration(ticks(32768)).value() == 1s);
  static_assert(b::any_duration(ticks(-16384)).value() == -500ms);
  static_assert(b::any_duration(ticks::max()).value() == b::duration::max());
  static_assert(b::any_duration(ticks::min()).value() == b::duration::min());
  static_assert(b::any_duration(std::chrono::duration<std::int64_t, std::ratio<1, 1024>>(512)).value() ==
                500ms);
  static_assert(b::any_duration(std::chrono::duration<std::int64_t, std::ratio<1, 60>>(90)).value() ==
                1500ms);
  static_assert(b::saturating_add(b::time_point() + 1s, b::duration::max()) == b::time_point::max());
  static_assert(b::saturating_add(b::time_point() - 1s, b::duration::min()) == b::time_point::min());
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(b::any_duration(std::chrono::duration<double>(inf)).value() == b::duration::max());
  CHECK(b::any_duration(std::chrono::duration<double>(-inf)).value() == b::duration::min());
  b::testing::test_loop loop;
  CHECK(loop.run(b::with_timeout(hours::max(), gives_after(1500ms, 2))) == 2);
  CHECK(loop.run(b::with_timeout(std::chrono::seconds::max(), gives(3))) == 3);
  CHECK(loop.elapsed() == 1500ms);
  CHECK_THROWS_AS(loop.run(b::with_timeout(-0.5s, naps(1s))), b::timeout_error);
}

TEST_CASE("durations: not a number, is a misuse_error that tells the place, and nothing runs [row 92]") {
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  b::testing::test_loop loop;
  bool ran = false;
  auto runs = [&ran]() -> b::task<> {
    ran = true;
    co_return;
  };
  const auto line = std::source_location::current().line() + 1;
  const std::string words = said([&] { static_cast<void>(b::with_timeout(nan, runs())); });
  CHECK(words == "a duration that is not a number (NaN) was given to the call at deadline_test.cpp:" +
                     std::to_string(line) + "; nothing was begun");
  CHECK_THROWS_AS(static_cast<void>(b::move_on_after(nan, runs())), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::shielded(nan, runs())), b::misuse_error);
  CHECK_THROWS_AS(b::deadline{nan}, b::misuse_error);
  auto under = [&](b::deadline& limit) -> b::task<> {
    const b::time_point before = limit.when();
    CHECK_THROWS_AS(limit.extend(nan), b::misuse_error);
    CHECK(limit.when() == before);
    CHECK_THROWS_AS(co_await b::sleep_for(nan), b::misuse_error);
    co_await b::sleep_for(1s);
  };
  CHECK_THROWS_AS(static_cast<void>(b::with_deadline(nan, under)), b::misuse_error);
  loop.run(b::with_deadline(2s, under));
  CHECK(!ran);
}
