// SPDX-License-Identifier: Apache-2.0
// repeat(every(...)): when the runs are, what is skipped, what happens to errors.

#include <belay/core/finally.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/supervisor.hpp>
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support.hpp"

using namespace core_tests;

namespace {

using times = std::vector<b::duration>;

// Each run notes when it began, and takes as long as the list says, then nothing.
struct runs {
  b::testing::test_loop& loop;
  std::vector<b::duration> lengths{};
  times began{};
  std::vector<b::tick> ticks{};
};
b::task<> run_once(const b::tick& now, runs& of) {
  of.began.push_back(of.loop.elapsed());
  of.ticks.push_back(now);
  if (of.began.size() <= of.lengths.size()) co_await b::sleep_for(of.lengths[of.began.size() - 1]);
}
times begins(b::testing::test_loop& loop, b::duration until, const b::schedule& when, runs& of) {
  CHECK_FALSE(loop.run(b::move_on_after(until, b::repeat(when, run_once, std::ref(of)))).has_value());
  CHECK(loop.elapsed() == until);
  CHECK(loop.nothing_left());
  return of.began;
}

}  // namespace

TEST_CASE("repeat: a fixed rate does not drift, however long a run takes") {
  b::testing::test_loop loop;
  runs of{loop, {300ms, 900ms, 10ms, 0ms}};
  CHECK(begins(loop, 4500ms, b::every(1s), of) == times{1s, 2s, 3s, 4s});
  CHECK(of.ticks[3].number == 4);
  CHECK(of.ticks[3].skipped_in_all == 0);
}

TEST_CASE("repeat: a fixed delay counts from the end of the run") {
  b::testing::test_loop loop;
  runs of{loop, {500ms, 2s}};
  CHECK(begins(loop, 7s, b::every(1s, {.pace = b::pace::fixed_delay}), of) ==
        times{1s, 2500ms, 5500ms, 6500ms});
  CHECK(of.ticks.back().skipped_in_all == 0);
}

TEST_CASE("repeat: ticks that pass during a run are skipped and counted, never made up for in a burst") {
  b::testing::test_loop loop;
  runs of{loop, {3500ms, 0ms, 1s, 1001ms}};
  CHECK(begins(loop, 10500ms, b::every(1s), of) == times{1s, 5s, 6s, 7s, 9s, 10s});
  CHECK(of.ticks[1].skipped == 3);
  CHECK(of.ticks[2].skipped == 0);
  CHECK(of.ticks[3].skipped == 0);  // the run ended just when the next tick was due
  CHECK(of.ticks[4].skipped == 1);
  CHECK(of.ticks[5].skipped_in_all == 4);
}

TEST_CASE("repeat: a loop that was busy for longer than an interval makes one run, for the latest tick") {
  b::testing::test_loop loop;
  runs of{loop};
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> all = g.adopt(b::repeat(b::every(1s), run_once, std::ref(of)));
    co_await b::sleep_for(500ms);
    loop.clock().advance(3s);  // nothing else could run meanwhile
    co_await b::sleep_for(1s);
    all.cancel();
  }));
  CHECK(of.began == times{3500ms, 4s});
  CHECK(of.ticks[0].skipped == 2);
  CHECK(of.ticks[0].due == of.ticks[1].due - 1s);
}

TEST_CASE("repeat: the first run after an interval, or at once") {
  b::testing::test_loop loop;
  runs of{loop};
  CHECK(begins(loop, 2500ms, b::every(1s, {.first = b::first_tick::at_once}), of) == times{0s, 1s, 2s});
  b::testing::test_loop other;
  runs late{other};
  const b::periodic_options how{.pace = b::pace::fixed_delay, .first = b::first_tick::at_once};
  CHECK(begins(other, 2500ms, b::every(1s, how), late) == times{0s, 1s, 2s});
}

TEST_CASE("repeat: jitter delays each run by less than it says, and the ticks do not move") {
  b::testing::test_loop loop;
  runs of{loop};
  const times at = begins(loop, 100500ms, b::every(1s, {.jitter = 400ms}), of);
  REQUIRE(at.size() == 100);
  b::duration most{};
  for (std::size_t i = 0; i < at.size(); ++i) {
    const b::duration late = at[i] - std::chrono::seconds(i + 1);
    CHECK(late >= 0s);
    CHECK(late <= 400ms);
    most = std::max(most, late);
  }
  CHECK(most > 300ms);
  CHECK(of.ticks.back().skipped_in_all == 0);
}

TEST_CASE("repeat: an error ends it, bare") {
  b::testing::test_loop loop;
  int runs = 0;
  auto fails_third = [](int& count) -> b::task<> {
    if (++count == 3) throw boom("third");
    co_return;
  };
  CHECK_THROWS_WITH_AS(loop.run(b::repeat(b::every(1s), fails_third, std::ref(runs))), "third", boom);
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("repeat: with on_error the error is handled, and it goes on") {
  b::testing::test_loop loop;
  trail told;
  const b::periodic_options how{.on_error = [&](const b::failure& why, const b::tick& of) {
    told.push_back(why.message() + " in run " + std::to_string(of.number) + ", " +
                   std::to_string(of.failed_in_all) + " so far");
  }};
  int runs = 0;
  auto fails_odd = [](int& count) -> b::task<> {
    if (++count % 2 == 1) throw boom("odd");
    co_return;
  };
  CHECK_FALSE(loop.run(b::move_on_after(4500ms, b::repeat(b::every(1s, how), fails_odd, std::ref(runs))))
                  .has_value());
  CHECK(runs == 4);
  CHECK(told == trail{"odd in run 1, 1 so far", "odd in run 3, 2 so far"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("repeat: what on_error throws ends it, with the error of the run attached") {
  b::testing::test_loop loop;
  const b::periodic_options how{.on_error = [](const b::failure&, const b::tick&) { throw boom("handler"); }};
  b::failure why;
  loop.run([](const b::periodic_options& with, b::failure& out) -> b::task<> {
    auto fails = []() -> b::task<> {
      co_await b::yield();
      throw boom("run");
    };
    out = (co_await b::as_outcome(b::repeat(b::every(1s, with), fails))).failure();
  }(how, why));
  REQUIRE(why);
  CHECK(why.message() == "handler");
  REQUIRE(why.attached().size() == 1);
  CHECK(why.attached()[0].message() == "run");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("repeat: what a function throws before there is a task is an error of the run") {
  b::testing::test_loop loop;
  struct refuses {
    BELAY_CORO_WRAPPER b::task<> operator()() const { throw boom("no task"); }
  };
  CHECK_THROWS_WITH_AS(loop.run(b::repeat(b::every(1s), refuses{})), "no task", boom);
}

TEST_CASE("repeat: cancelled during a run, waits for the cleanup of the run") {
  b::testing::test_loop loop;
  bool cleaned = false;
  auto slow = [](bool& out) -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); },
                        [&out]() -> b::task<> {
                          co_await b::sleep_for(2s);
                          out = true;
                        });
  };
  CHECK_FALSE(loop.run(b::move_on_after(5s, b::repeat(b::every(1s), slow, std::ref(cleaned)))).has_value());
  CHECK(cleaned);
  CHECK(loop.elapsed() == 7s);
}

TEST_CASE("repeat: under a supervisor, an error starts it anew") {
  b::testing::test_loop loop;
  int runs = 0;
  std::size_t restarts = 0;
  b::supervisor s({.first_delay = 0s, .on_event = [&](const b::worker_event&) { ++restarts; }});
  s.add(
      "purge",
      [](int& count) -> b::task<> {
        co_await b::repeat(b::every(1s), [&count]() -> b::task<> {
          if (++count == 2) throw boom("second");
          co_return;
        });
      },
      std::ref(runs));
  CHECK_FALSE(loop.run(b::move_on_after(4500ms, s.run())).has_value());
  CHECK(runs == 4);
  CHECK(restarts == 1);
}

TEST_CASE("every: an interval or a jitter out of range is misuse; one that never comes is not") {
  CHECK_THROWS_AS(static_cast<void>(b::every(0s)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::every(-1s)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::every(1s, {.jitter = -1ns})), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::every(1s, {.jitter = 1s})), b::misuse_error);
  b::testing::test_loop loop;
  runs of{loop};
  CHECK(begins(loop, 1h, b::every(b::duration::max()), of).empty());
}
