// SPDX-License-Identifier: Apache-2.0
// supervisor: who is started again, who with them, when it gives up, and how it ends.

#include <belay/core/finally.hpp>
#include <belay/core/random.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/core/task_tree.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "support.hpp"

using namespace core_tests;

namespace {

using happening = b::worker_event::happening;
constexpr auto permanent = b::restart_policy::permanent;
constexpr auto transient = b::restart_policy::transient;
constexpr auto temporary = b::restart_policy::temporary;

// What workers do and what is told of them, in order.
struct diary {
  trail lines;
  std::vector<b::worker_event> events;
  int starts = 0;
  int live = 0;

  b::supervisor_options options() {
    b::supervisor_options made;
    made.name = "s";
    made.first_delay = 0s;
    made.on_event = [this](const b::worker_event& one) {
      events.push_back(one);
      static constexpr const char* names[] = {"restart ", "give up ", "failed in stop ", "overran "};
      lines.push_back(names[static_cast<int>(one.what)] + one.worker);
    };
    return made;
  }
};

// Runs until it is cancelled; then takes `closing` to clean up.
b::task<> lives(diary& in, std::string name, b::duration closing) {
  const counted here(in.live);
  in.lines.push_back("start " + name);
  co_await b::finally([]() -> b::task<> { co_await b::sleep_until(b::time_point::max()); },
                      [&]() -> b::task<> {
                        co_await b::sleep_for(closing);
                        in.lines.push_back("stop " + name);
                      });
}
// Fails after each of its first `times` starts, then lives.
b::task<> fails_times(diary& in, std::string name, int times, b::duration after) {
  const counted here(in.live);
  in.lines.push_back("start " + name);
  ++in.starts;
  if (in.starts > times) co_await b::sleep_until(b::time_point::max());
  co_await b::sleep_for(after);
  throw boom(name + " " + std::to_string(in.starts));
}
b::task<> ends_after(diary& in, std::string name, b::duration length) {
  in.lines.push_back("start " + name);
  co_await b::sleep_for(length);
  in.lines.push_back("end " + name);
}
b::task<> gets_ready(b::task_status<>& ready, diary& in, std::string name, b::duration after, bool fails) {
  const counted here(in.live);
  in.lines.push_back("start " + name);
  co_await b::sleep_for(after);
  if (fails) throw boom(name + " is not ready");
  in.lines.push_back("ready " + name);
  ready.started();
  co_await b::finally([]() -> b::task<> { co_await b::sleep_until(b::time_point::max()); },
                      [&]() -> b::task<> {
                        in.lines.push_back("stop " + name);
                        co_return;
                      });
}

// For so long, then cancelled.
void run_for(b::testing::test_loop& loop, b::duration length, b::supervisor& what) {
  CHECK_FALSE(loop.run(b::move_on_after(length, what.run())).has_value());
  CHECK(loop.nothing_left());
}

}  // namespace

TEST_CASE(
    "supervisor: permanent is always restarted, transient only after a failure, temporary never [row 318]") {
  struct expectation {
    b::restart_policy policy;
    bool fails;
    int starts;
  };
  const expectation all[] = {{permanent, true, 3},  {permanent, false, 3}, {transient, true, 3},
                             {transient, false, 1}, {temporary, true, 1},  {temporary, false, 1}};
  for (const expectation& one : all) {
    CAPTURE(static_cast<int>(one.policy));
    CAPTURE(one.fails);
    b::testing::test_loop loop;
    diary in;
    b::supervisor s(in.options());
    s.add("beside", lives, std::ref(in), std::string("beside"), 0s);
    s.add(
        {.name = "w", .restart = one.policy},
        [fails = one.fails](diary& of) -> b::task<> {
          ++of.starts;
          co_await b::sleep_for(1s);
          if (fails) throw boom("w");
        },
        std::ref(in));
    run_for(loop, 2500ms, s);
    CHECK(in.starts == one.starts);
    CHECK(loop.lost_errors().empty());
    CHECK(in.events.size() ==
          static_cast<std::size_t>(one.starts - 1 + (one.policy == temporary && one.fails ? 1 : 0)));
    CHECK(s.statistics().restarts == static_cast<std::uint64_t>(one.starts - 1));
  }
}

TEST_CASE("supervisor: run ends when nobody is left to be restarted") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add({.name = "a", .restart = transient}, ends_after, std::ref(in), std::string("a"), 2s);
  s.add({.name = "b", .restart = temporary}, ends_after, std::ref(in), std::string("b"), 1s);
  loop.run(s.run());
  CHECK(in.lines == trail{"start a", "start b", "end b", "end a"});
  CHECK(loop.elapsed() == 2s);
  loop.run(s.run());  // it may be run again
  CHECK(loop.elapsed() == 4s);
  CHECK(s.statistics().level == 0);
}

TEST_CASE("supervisor: one_for_one restarts the worker that failed, and nobody else") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("a", lives, std::ref(in), std::string("a"), 0s);
  s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
  s.add("z", lives, std::ref(in), std::string("z"), 0s);
  run_for(loop, 5s, s);
  CHECK(in.lines == trail{"start a", "start w", "start z", "restart w", "start w", "stop z", "stop a"});
}

TEST_CASE("supervisor: one_for_one, a worker that waits for its restart does not keep another one waiting") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.first_delay = 1h;
  how.longest_delay = 1h;
  how.on_event = [&in](const b::worker_event& one) { in.events.push_back(one); };
  b::supervisor s(how);
  for (const char* name : {"a", "b", "c"}) {
    s.add(
        {.name = name, .restart = transient},
        [](diary& of) -> b::task<> {
          if (++of.starts <= 3) throw boom("w");
          co_return;
        },
        std::ref(in));
  }
  loop.run(s.run());
  REQUIRE(in.events.size() == 3);
  b::duration longest{};
  for (const b::worker_event& one : in.events) longest = std::max(longest, one.delay);
  CHECK(loop.elapsed() == longest);
  CHECK(in.starts == 6);
}

TEST_CASE("supervisor: one_for_all stops all others, last first, then starts all in order [row 321]") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.strategy = b::restart_strategy::one_for_all;
  b::supervisor s(how);
  s.add("a", lives, std::ref(in), std::string("a"), 2s);
  s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
  s.add("y", lives, std::ref(in), std::string("y"), 2s);
  s.add("z", gets_ready, std::ref(in), std::string("z"), 1s, false);
  run_for(loop, 8s, s);
  CHECK(in.lines == trail{"start a", "start w", "start y", "start z", "ready z", "restart w", "stop z",
                          "stop y", "stop a", "start a", "start w", "start y", "start z", "ready z", "stop z",
                          "stop y", "stop a"});
  CHECK(in.events.size() == 1);
  CHECK(s.statistics().restarts == 1);
}

TEST_CASE("supervisor: rest_for_one restarts only those added after it as well [row 322]") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.strategy = b::restart_strategy::rest_for_one;
  b::supervisor s(how);
  s.add("a", lives, std::ref(in), std::string("a"), 0s);
  s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
  s.add({.name = "t", .restart = temporary}, lives, std::ref(in), std::string("t"), 0s);
  s.add({.name = "done", .restart = transient}, ends_after, std::ref(in), std::string("done"), 500ms);
  s.add("z", lives, std::ref(in), std::string("z"), 0s);
  run_for(loop, 9s, s);
  CHECK(in.lines == trail{"start a", "start w", "start t", "start done", "start z", "end done", "restart w",
                          "stop z", "stop t", "start w", "start done", "start z", "end done", "stop z",
                          "stop a"});
}

TEST_CASE("supervisor: two fail at the same time under one_for_all, it is one restart and no error is lost") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.strategy = b::restart_strategy::one_for_all;
  b::supervisor s(how);
  for (const char* name : {"a", "b"}) {
    s.add(
        name,
        [](diary& of, std::string who) -> b::task<> {
          const bool first = ++of.starts <= 2;
          co_await b::sleep_for(first ? 1s : 1h);
          throw boom(who);
        },
        std::ref(in), std::string(name));
  }
  run_for(loop, 5s, s);
  CHECK(in.lines == trail{"restart a", "failed in stop b"});
  REQUIRE(in.events.size() == 2);
  CHECK(in.events[1].why.message() == "b");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "supervisor: more restarts than allowed, it ends with the last error, bare, with history and record") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.most_restarts = 3;
  how.window = 10s;
  b::supervisor s(how);
  s.add("a", lives, std::ref(in), std::string("a"), 0s);
  s.add("w", fails_times, std::ref(in), std::string("w"), 100, 1s);
  bool caught = false;
  loop.run([](b::supervisor& of, bool& saw) -> b::task<> {
    try {
      co_await of.run();
    } catch (const boom& e) {
      saw = true;
      CHECK(std::string(e.what()) == "w 4");
      const b::failure last = b::current_failure();
      trail before;
      for (const b::failure& one : last.attached()) before.push_back(one.message());
      CHECK(before == trail{"w 1", "w 2", "w 3"});
      REQUIRE_FALSE(last.notes().empty());
      CHECK(
          last.notes().back() ==
          "supervisor 's' (level 1) gives up: worker 'w' ended after 3 restarts in 3 s; allowed are 3 in 10 s");
    }
  }(s, caught));
  CHECK(caught);
  CHECK(in.events.size() == 3);
  CHECK(in.lines.back() == "stop a");
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("supervisor: restarts older than the window do not count") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.most_restarts = 1;
  how.window = 2s;
  b::supervisor s(how);
  s.add("w", fails_times, std::ref(in), std::string("w"), 100, 2s);
  run_for(loop, 101s, s);
  CHECK(in.starts == 51);
}

TEST_CASE("supervisor: most_restarts of zero, the first failure ends it") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.most_restarts = 0;
  b::supervisor s(how);
  s.add("w", fails_times, std::ref(in), std::string("w"), 100, 1s);
  CHECK_THROWS_WITH_AS(loop.run(s.run()), "w 1", boom);
  CHECK(in.events.empty());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("supervisor: a permanent worker that only ever ends is a restart_limit_error in the end") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("w", ends_after, std::ref(in), std::string("w"), 1s);
  CHECK_THROWS_AS(loop.run(s.run()), b::restart_limit_error);
  CHECK(in.events.size() == 5);
  CHECK_FALSE(in.events[0].why);
}

TEST_CASE(
    "supervisor: cancelled, stops the workers one after the other, last first; none is restarted or counted [row 323]") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("a", lives, std::ref(in), std::string("a"), 1s);
  s.add("b", lives, std::ref(in), std::string("b"), 1s);
  s.add("c", lives, std::ref(in), std::string("c"), 1s);
  run_for(loop, 5s, s);
  CHECK(in.lines == trail{"start a", "start b", "start c", "stop c", "stop b", "stop a"});
  CHECK(loop.elapsed() == 8s);
  CHECK(in.events.empty());
  CHECK(s.statistics().restarts == 0);
}

TEST_CASE("supervisor: what a worker fails with while the supervisor is cancelled beats the cancellation") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  for (const char* name : {"a", "b"}) {
    s.add(
        name,
        [](std::string who) -> b::task<> {
          co_await b::finally([]() -> b::task<> { co_await b::sleep_until(b::time_point::max()); },
                              [&]() -> b::task<> {
                                co_await b::yield();
                                throw boom("closing " + who);
                              });
        },
        std::string(name));
  }
  b::failure why;
  loop.run([](b::supervisor& of, b::failure& out) -> b::task<> {
    b::outcome<std::optional<b::unit>> how = co_await b::as_outcome(b::move_on_after(1s, of.run()));
    out = how.failure();
  }(s, why));
  REQUIRE(why);
  CHECK(why.message() == "closing b");
  REQUIRE(why.attached().size() == 1);
  CHECK(why.attached()[0].message() == "closing a");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "supervisor: a worker that does not stop in time is told, the next is stopped, and it is waited for") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("a", lives, std::ref(in), std::string("a"), 0s);
  s.add(
      {.name = "deaf", .stop_limit = 2s},
      [](diary& of) -> b::task<> {
        co_await b::shielded(20s, naps(10s));
        of.lines.push_back("deaf ends");
      },
      std::ref(in));
  run_for(loop, 1s, s);
  CHECK(in.lines == trail{"start a", "overran deaf", "stop a", "deaf ends"});
  CHECK(loop.elapsed() == 10s);
  REQUIRE(in.events.size() == 1);
  CHECK(in.events[0].why.find<b::timeout_error>() != nullptr);
}

TEST_CASE(
    "supervisor: the first start of a worker fails, the earlier ones are stopped in reverse and run fails [row 324]") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("a", gets_ready, std::ref(in), std::string("a"), 1s, false);
  s.add("b", gets_ready, std::ref(in), std::string("b"), 1s, false);
  s.add("c", gets_ready, std::ref(in), std::string("c"), 1s, true);
  s.add("d", gets_ready, std::ref(in), std::string("d"), 1s, false);
  CHECK_THROWS_WITH_AS(loop.run(s.run()), "c is not ready", boom);
  CHECK(in.lines == trail{"start a", "ready a", "start b", "ready b", "start c", "stop b", "stop a"});
  CHECK(in.events.empty());
  CHECK(in.live == 0);
  CHECK(loop.lost_errors().empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("supervisor: a restart that fails before it is ready counts as another one") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.most_restarts = 4;
  b::supervisor s(how);
  s.add(
      "w",
      [](b::task_status<>& ready, diary& of) -> b::task<> {
        const int mine = ++of.starts;
        co_await b::yield();
        if (mine > 1) throw boom("start " + std::to_string(mine));
        ready.started();
        throw boom("run");
      },
      std::ref(in));
  CHECK_THROWS_WITH_AS(loop.run(s.run()), "start 5", boom);
  CHECK(in.events.size() == 4);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "supervisor: restarts are delayed, longer each time, at random from the seed, up to a cap [row 325]") {
  const auto delays = [](std::uint64_t seed) {
    b::testing::test_loop loop({.random_seed = seed});
    diary in;
    b::supervisor_options how = in.options();
    how.most_restarts = 40;
    how.window = 1h;
    how.first_delay = 100ms;
    how.longest_delay = 1s;
    b::supervisor s(how);
    s.add("w", fails_times, std::ref(in), std::string("w"), 100, 0s);
    CHECK_THROWS_AS(loop.run(s.run()), boom);
    std::vector<b::duration> found;
    b::duration sum{};
    b::duration most = 100ms;
    bool long_one = false;
    for (const b::worker_event& one : in.events) {
      CHECK(one.delay >= 0s);
      CHECK(one.delay <= std::min<b::duration>(most, 1s));
      long_one = long_one || one.delay > 500ms;
      most = std::min<b::duration>(most * 2, 1s);
      sum += one.delay;
      found.push_back(one.delay);
    }
    CHECK(long_one);
    CHECK(loop.elapsed() == sum);
    return found;
  };
  CHECK(delays(1) == delays(1));
  CHECK(delays(1) != delays(2));
}

TEST_CASE("supervisor: cancelled during a restart delay ends at once [row 325]") {
  for (const auto strategy : {b::restart_strategy::one_for_one, b::restart_strategy::one_for_all}) {
    b::testing::test_loop loop({.random_seed = 5});
    diary in;
    b::supervisor_options how = in.options();
    how.strategy = strategy;
    how.first_delay = 10h;
    how.longest_delay = 10h;
    b::supervisor s(how);
    s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
    run_for(loop, 2s, s);
    CHECK(loop.elapsed() == 2s);
    REQUIRE(in.events.size() == 1);
    CHECK(in.events[0].delay > 1min);
  }
}

TEST_CASE("supervisor: below another one, restarts multiply, and the level is told [row 326]") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options outside = in.options();
  outside.name = "app";
  outside.most_restarts = 3;
  b::supervisor_options inside = in.options();
  inside.name = "feeds";
  inside.most_restarts = 4;
  b::supervisor app(outside);
  b::supervisor feeds(inside);
  feeds.add("w", fails_times, std::ref(in), std::string("w"), 1000, 1s);
  app.add("feeds", feeds);
  app.add(
      "watch",
      [](b::supervisor& of, trail& out) -> b::task<> {
        const b::supervisor_statistics now = of.statistics();
        out.push_back("level " + std::to_string(now.level) + ", " +
                      std::to_string(now.restarts_of_all_levels) + " in all");
        co_await b::sleep_until(b::time_point::max());
      },
      std::ref(feeds), std::ref(in.lines));
  b::failure why;
  loop.run([](b::supervisor& of, b::failure& out) -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(of.run());
    out = how.failure();
  }(app, why));
  REQUIRE(why);
  CHECK(why.find<boom>() != nullptr);
  CHECK(in.starts == 20);  // (3 + 1) * (4 + 1)
  CHECK(std::count(in.lines.begin(), in.lines.end(), "level 2, 12 in all") == 1);
  const auto inner =
      std::find_if(in.events.begin(), in.events.end(), [](const auto& e) { return e.level == 2; });
  REQUIRE(inner != in.events.end());
  CHECK(inner->supervisor == "app / feeds");
  CHECK(std::count_if(in.events.begin(), in.events.end(), [](const auto& e) { return e.level == 1; }) == 3);
  const std::string text = b::describe(why);
  CHECK(text.find("supervisor 'app / feeds' (level 2) gives up") != std::string::npos);
  CHECK(text.find("with the supervisors around it 12 in all") != std::string::npos);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "supervisor: without on_event, the failure of each restart goes to the sink, once, and says what became of it") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s({.name = "s", .first_delay = 0s});
  s.add("w", fails_times, std::ref(in), std::string("w"), 2, 1s);
  run_for(loop, 5s, s);
  REQUIRE(loop.lost_errors().size() == 2);
  CHECK(loop.lost_errors()[0].find("w 1") != std::string::npos);
  CHECK(loop.lost_errors()[0].find("supervisor 's': worker 'w' is started again in 0 s") !=
        std::string::npos);
}

TEST_CASE("supervisor: on_event throws, that goes to the sink and the restart happens") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.on_event = [](const b::worker_event&) { throw boom("the observer"); };
  b::supervisor s(how);
  s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
  run_for(loop, 5s, s);
  CHECK(in.starts == 2);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("the observer") != std::string::npos);
}

TEST_CASE("supervisor: says by task_status that all workers are ready, as a task of a group") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  s.add("a", gets_ready, std::ref(in), std::string("a"), 1s, false);
  s.add("b", gets_ready, std::ref(in), std::string("b"), 1s, false);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await g.start([](b::task_status<>& ready, b::supervisor& of) -> b::task<> { co_await of.run(ready); },
                     std::ref(s));
    CHECK(loop.elapsed() == 2s);
    const b::supervisor_statistics now = s.statistics();
    REQUIRE(now.workers.size() == 2);
    CHECK(now.workers[1].name == "b");
    CHECK(now.workers[1].state == b::worker_state::running);
    g.cancel();
  }));
  CHECK(in.lines.back() == "stop a");
}

TEST_CASE(
    "supervisor: statistics tell who runs, and how many restarts there were, ever and within the window") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.window = 10s;
  b::supervisor s(how);
  s.add("w", fails_times, std::ref(in), std::string("w"), 2, 1s);
  s.add({.name = "once", .restart = transient}, ends_after, std::ref(in), std::string("once"), 1s);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn([](b::supervisor& of) -> b::task<> { co_await of.run(); }, std::ref(s));
    co_await b::sleep_for(5s);
    b::supervisor_statistics now = s.statistics();
    CHECK(now.level == 1);
    CHECK(now.restarts == 2);
    CHECK(now.restarts_in_window == 2);
    REQUIRE(now.workers.size() == 2);
    CHECK(now.workers[0].restarts == 2);
    CHECK(now.workers[0].state == b::worker_state::running);
    CHECK(now.workers[1].state == b::worker_state::finished);
    co_await b::sleep_for(20s);
    now = s.statistics();
    CHECK(now.restarts == 2);
    CHECK(now.restarts_in_window == 0);
    g.cancel();
  }));
  CHECK(s.statistics().workers[0].state == b::worker_state::idle);
}

TEST_CASE("supervisor: arguments are kept, and each start gets them anew") {
  b::testing::test_loop loop;
  std::vector<std::string> seen;
  b::supervisor s({.most_restarts = 2, .first_delay = 0s, .on_event = [](const b::worker_event&) {}});
  s.add(
      "w",
      [](std::vector<std::string>& out, std::string text) -> b::task<> {
        out.push_back(std::move(text));
        co_await b::yield();
        throw boom("again");
      },
      std::ref(seen), std::string("a text that is longer than a small string"));
  CHECK_THROWS_AS(loop.run(s.run()), boom);
  CHECK(seen == trail(3, "a text that is longer than a small string"));
}

TEST_CASE("supervisor: misuse is told, and changes nothing") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(b::supervisor({.window = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::supervisor({.first_delay = -1s}), b::misuse_error);
  CHECK_THROWS_AS(b::supervisor({.first_delay = 2s, .longest_delay = 1s}), b::misuse_error);
  diary in;
  b::supervisor s(in.options());
  CHECK_THROWS_AS(loop.run(s.run()), b::misuse_error);
  CHECK_THROWS_AS(s.add("", lives, std::ref(in), std::string("x"), 0s), b::misuse_error);
  CHECK_THROWS_AS(s.add({.name = "x", .stop_limit = 0s}, lives, std::ref(in), std::string("x"), 0s),
                  b::misuse_error);
  s.add("x", lives, std::ref(in), std::string("x"), 0s);
  CHECK_THROWS_AS(s.add("x", lives, std::ref(in), std::string("x"), 0s), b::misuse_error);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn([](b::supervisor& of) -> b::task<> { co_await of.run(); }, std::ref(s));
    co_await b::yield();
    co_await b::yield();
    CHECK_THROWS_AS(s.add("y", lives, std::ref(in), std::string("y"), 0s), b::misuse_error);
    CHECK((co_await b::as_outcome(s.run())).failure().find<b::misuse_error>() != nullptr);
    CHECK_FALSE(first.done());
    g.cancel();
  }));
  CHECK(in.lines == trail{"start x", "stop x"});
}

TEST_CASE("random_bits: the same for the same seed, others for another one; misuse outside of a loop") {
  const auto drawn = [](std::uint64_t seed) {
    b::testing::test_loop loop({.random_seed = seed});
    return loop.run([]() -> b::task<std::vector<std::uint64_t>> {
      std::vector<std::uint64_t> all{b::random_bits(), b::random_bits(), b::random_bits()};
      for (int i = 0; i < 100; ++i) {
        const b::duration one = b::random_up_to(3ns);
        CHECK(one >= 0ns);
        CHECK(one <= 3ns);
      }
      CHECK(b::random_up_to(0s) == 0s);
      CHECK(b::random_up_to(-1s) == 0s);
      static_cast<void>(b::random_up_to(b::duration::max()));
      co_return all;
    }());
  };
  CHECK(drawn(1) == drawn(1));
  CHECK(drawn(1) != drawn(2));
  b::loop real;
  const auto one = []() -> b::task<std::uint64_t> { co_return b::random_bits(); };
  CHECK(real.run(one()) != real.run(one()));
  CHECK_THROWS_AS(static_cast<void>(b::random_bits()), b::misuse_error);
}

TEST_CASE(
    "supervisor: cancelled in the turn in which a worker fails by itself, that is told once and no error of the supervisor") {
  for (const auto strategy : {b::restart_strategy::one_for_one, b::restart_strategy::one_for_all}) {
    b::testing::test_loop loop;
    diary in;
    b::supervisor_options how = in.options();
    how.strategy = strategy;
    b::supervisor s(how);
    s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([](b::supervisor& of) -> b::task<> { co_await of.run(); }, std::ref(s));
      co_await b::sleep_for(500ms);
      co_await b::sleep_for(500ms);  // the worker's timer was set before this one
      g.cancel();
    }));
    CHECK(in.starts == 1);
    REQUIRE(in.events.size() == 1);
    CHECK(in.events[0].why.message() == "w 1");
    CHECK(loop.lost_errors().empty());
  }
}

TEST_CASE("supervisor: on_event throws, the failure that it did not handle is reported with it") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor_options how = in.options();
  how.on_event = [](const b::worker_event&) { throw boom("the observer"); };
  b::supervisor s(how);
  s.add("w", fails_times, std::ref(in), std::string("w"), 1, 1s);
  run_for(loop, 5s, s);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("w 1") != std::string::npos);
  CHECK(loop.lost_errors()[0].find("the observer") != std::string::npos);
}

TEST_CASE(
    "supervisor: one_for_all, a transient worker that has ended with its value is started again with the others") {
  for (const b::duration at : {1s, 3s}) {  // before the other one fails, and at the same time
    CAPTURE(at.count());
    b::testing::test_loop loop;
    diary in;
    b::supervisor_options how = in.options();
    how.strategy = b::restart_strategy::one_for_all;
    b::supervisor s(how);
    s.add({.name = "once", .restart = transient}, ends_after, std::ref(in), std::string("once"), at);
    s.add("w", fails_times, std::ref(in), std::string("w"), 2, 3s);
    run_for(loop, 20s, s);
    CHECK(std::ranges::count(in.lines, "start once") == 3);
    CHECK(std::ranges::count(in.lines, "start w") == 3);
  }
}

TEST_CASE("supervisor: misuse of add, and a task of a worker, have the place of the add") {
  b::testing::test_loop loop;
  diary in;
  b::supervisor s(in.options());
  const auto here = std::source_location::current().line();
  s.add("w", lives, std::ref(in), std::string("w"), 0s);
  try {
    s.add("w", lives, std::ref(in), std::string("w"), 0s);
    FAIL("no error");
  } catch (const b::misuse_error& e) {
    CHECK(e.where().line() == here + 3);
  }
  try {
    s.add({.name = std::string("w")}, lives, std::ref(in), std::string("w"), 0s);
    FAIL("no error");
  } catch (const b::misuse_error& e) {
    CHECK(e.where().line() == here + 9);
  }
  bool found = false;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn([](b::supervisor& of) -> b::task<> { co_await of.run(); }, std::ref(s));
    co_await b::sleep_for(1s);
    for (const b::task_info& one : b::live_tasks()) found = found || one.spawned_at.line() == here + 1;
    g.cancel();
  }));
  CHECK(found);
}
