// SPDX-License-Identifier: Apache-2.0
// The drivers themselves: what they number, where they inject, what they check, and how a case is run again. (What they find: planted/.)

#include <belay/core/all.hpp>
#include <belay/core/event.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

using namespace std::chrono_literals;
namespace b = belay;
namespace bt = belay::testing;

namespace {

b::task<> nap(b::duration length) { co_await b::sleep_for(length); }

b::managed<int> slow_resource(int& open) {
  co_await b::sleep_for(1s);
  ++open;
  int value = 1;
  co_yield value;
  co_await b::sleep_for(1s);
  --open;
}

b::task<> uses_resource(bt::stage& s) {
  int& open = s.make<int>(0);
  s.expect("all is closed", [&open](const bt::run_end& how) { return open == 0 || how.failed_in_cleanup; });
  co_await b::with(slow_resource(open), [](int&) -> b::task<> { co_await b::sleep_for(1s); });
}

b::task<> counts_up_and_down(bt::stage& s) {
  int& busy = s.make<int>(0);
  s.expect("nobody is busy", [&busy] { return busy == 0; });
  ++busy;
  co_await b::sleep_for(1s);
  --busy;
}

// Sets BELAY_REPLAY as long as it lives.
class asking_for {
 public:
  explicit asking_for(const std::string& what) { ::setenv("BELAY_REPLAY", what.c_str(), 1); }
  asking_for(const asking_for&) = delete;
  asking_for& operator=(const asking_for&) = delete;
  ~asking_for() { ::unsetenv("BELAY_REPLAY"); }
};

// What stands between the quotes of "BELAY_REPLAY='...'".
std::string asked_by(const bt::finding& one) {
  const std::size_t begin = one.replay.find('\'') + 1;
  return one.replay.substr(begin, one.replay.find('\'', begin) - begin);
}

}  // namespace

TEST_CASE(
    "everywhere: a scenario that keeps its promises has no finding; its awaits are numbered, cleanup included") {
  const bt::report found = bt::everywhere(uses_resource);
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(found.awaits == 5);  // `with`, the opening; the sleeps of opening, body and closing
  CHECK(found.text().find("5 awaits") != std::string::npos);
  CHECK_NOTHROW(found.require());
}

TEST_CASE(
    "everywhere: each await is cancelled before, during and after; what that did is told to the rules") {
  std::set<int> reached;
  int undisturbed = 0;
  int cancelled = 0;
  const bt::report found = bt::cancel_everywhere(
      [&](bt::stage& s) -> b::task<> {
        int& at = s.make<int>(0);
        s.expect("noted", [&](const bt::run_end& how) {
          reached.insert(at);
          undisturbed += how.injected ? 0 : 1;
          cancelled += how.cancelled ? 1 : 0;
          return !how.failure;
        });
        co_await b::sleep_for(1s);
        at = 1;
        co_await b::yield();
        at = 2;
      },
      {.second_cancel = false});
  CHECK(found.ok());
  CHECK(found.awaits == 2);
  CHECK(found.runs == 6);  // one undisturbed; the sleep before, during and after; the yield before and after
  CHECK(undisturbed == 1);
  CHECK(cancelled == 4);  // after the yield there is no await left at which it could act
  CHECK(reached == std::set<int>{0, 1, 2});
}

TEST_CASE(
    "everywhere: fail_everywhere throws each of the errors at each await, where the code can catch it") {
  std::multiset<std::string> caught;
  const bt::report found = bt::fail_everywhere(
      [&](bt::stage&) -> b::task<> {
        for (int i = 0; i < 2; ++i) {
          try {
            co_await b::sleep_for(1s);
          } catch (const std::exception& e) {
            caught.insert(e.what());
          }
        }
      },
      bt::errors_of(std::runtime_error("one"), std::logic_error("two")));
  CHECK(found.ok());
  CHECK(caught == std::multiset<std::string>{"one", "one", "two", "two"});
}

TEST_CASE("everywhere: a coroutine that awaits nothing is an await too, one that does is tried inside") {
  struct fake {
    int calls = 0;
    b::task<> call() {
      ++calls;
      co_return;
    }
    b::task<> call_and_wait() {
      co_await call();
      co_await b::sleep_for(1s);
    }
  };
  std::set<int> calls;
  const auto scenario = [&calls](bt::stage& s) -> b::task<> {
    auto& server = s.make<fake>();
    s.expect("noted", [&] { return calls.insert(server.calls), true; });
    co_await server.call();
    co_await server.call_and_wait();
  };
  CHECK(bt::cancel_everywhere(scenario).runs == 6);  // undisturbed, 2 x call, 3 x sleep
  CHECK(calls == std::set<int>{0, 1, 2});
  CHECK(bt::cancel_everywhere(scenario, {.task_awaits = false}).runs == 4);
}

TEST_CASE(
    "everywhere: cleanup is cancelled from further outside, and made to fail; it stays shielded, both errors are kept") {
  int failed_in_cleanup = 0;
  const bt::report found = bt::everywhere([&](bt::stage& s) -> b::task<> {
    int& cleaned = s.make<int>(0);
    s.expect("cleaned", [&](const bt::run_end& how) {
      if (how.failed_in_cleanup) ++failed_in_cleanup;
      return cleaned == 1 || how.failed_in_cleanup;
    });
    co_await b::finally([]() -> b::task<> { co_await nap(1s); },
                        [&cleaned]() -> b::task<> {
                          co_await nap(1s);
                          ++cleaned;
                        });
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(failed_in_cleanup >= 3);  // after success, after a cancel, after a failure
}

TEST_CASE("everywhere: the limits around an await pass exactly there") {
  int timeouts = 0;
  const bt::report found = bt::cancel_everywhere([&](bt::stage&) -> b::task<> {
    const auto twice = []() -> b::task<> {
      co_await nap(1s);
      co_await nap(1s);
    };
    try {
      co_await b::with_timeout(1h, b::with_timeout(2h, twice()));
    } catch (const b::timeout_error&) {
      ++timeouts;
    }
  });
  CHECK_MESSAGE(found.ok(), found.text());
  CHECK(timeouts == 4);  // two limits, two sleeps
}

TEST_CASE("everywhere: groups, limits, permits and threads, in several schedules") {
  const bt::report found = bt::everywhere(
      [](bt::stage& s) -> b::task<> {
        auto& pool = s.make<b::semaphore>(1u, "pool");
        auto hold = [](b::semaphore& of) -> b::task<int> {
          const b::permit mine = co_await of.acquire();
          co_await b::sleep_for(10ms);
          co_return co_await b::to_thread([] { return 1; });
        };
        co_await b::with_timeout(1min, b::with_group([&](b::group& g) -> b::task<> {
                                   g.spawn(hold, std::ref(pool));
                                   g.spawn(hold, std::ref(pool));
                                   co_await b::all(hold(pool), hold(pool));
                                 }));
      },
      {.schedules = 3});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("everywhere: cleanup that is written after an await is skipped; the report says it in words") {
  const unsigned line = __LINE__ + 6;
  const bt::report found = bt::cancel_everywhere([](bt::stage& s) -> b::task<> {
    int& open = s.make<int>(0);
    s.expect("all is closed", [&open] { return open == 0; });
    b::event answer("answer");
    ++open;
    co_await b::move_on_after(1s, [](b::event& on) -> b::task<> { co_await on.wait(); }(answer));
    --open;
  });
  REQUIRE(found.findings.size() == 1);
  const bt::finding& first = found.findings[0];
  CHECK(first.at.line() == line);
  CHECK(first.rule == "all is closed");
  CHECK(first.what.find("cancelled before it waited for event 'answer' at everywhere_test.cpp:") == 0);
  CHECK(first.replay.find("BELAY_REPLAY='everywhere_test.cpp:") == 0);
  try {
    found.require();
    FAIL("it did not throw");
  } catch (const bt::promise_broken& e) {
    CHECK(std::string(e.what()) == found.text());
  }
  std::ostringstream printed;
  printed << found;
  CHECK(printed.str() == found.text());
  const std::string screen = printed.str();
  CHECK(std::count(screen.begin(), screen.end(), '\n') < 25);
}

TEST_CASE("everywhere: BELAY_REPLAY runs one case of the driver of that name, and nothing else is changed") {
  const auto drive = [](const char* name) { return bt::everywhere(counts_up_and_down, {.name = name}); };
  const bt::report found = drive("replayed");
  REQUIRE(found.findings.size() == 1);
  const asking_for same(asked_by(found.findings[0]));
  const bt::report again = drive("replayed");
  CHECK(again.runs == 1);
  REQUIRE(again.findings.size() == 1);
  CHECK(again.findings[0].what == found.findings[0].what);
  CHECK(again.findings[0].at.line() == found.findings[0].at.line());
  CHECK(drive("another").runs == found.runs);
}

TEST_CASE("everywhere: a BELAY_REPLAY that nobody understands says so") {
  for (const char* wrong :
       {"asked: cancle 1 before", "asked: cancel", "asked: cancel x", "asked: fail 3 error"}) {
    CAPTURE(wrong);
    const asking_for nonsense(wrong);
    CHECK_THROWS_AS(static_cast<void>(bt::everywhere(uses_resource, {.name = "asked"})), b::misuse_error);
  }
}

TEST_CASE("everywhere: misuse is named") {
  CHECK_THROWS_AS(static_cast<void>(bt::everywhere(uses_resource, {.within = 0s})), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(bt::everywhere(uses_resource, {.schedules = 0})), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(bt::fail_everywhere(uses_resource, {std::exception_ptr()})),
                  b::misuse_error);
}

TEST_CASE("everywhere: a scenario that is too large is not called proven") {
  const bt::report found = bt::everywhere(uses_resource, {.most_runs = 5});
  CHECK(found.findings.empty());
  CHECK(!found.ok());
  CHECK(found.text().find("not complete: stopped after 5 runs") != std::string::npos);
}

TEST_CASE("everywhere: what fails by itself is told, and not driven") {
  const bt::report found = bt::everywhere([]() -> b::task<> {
    co_await nap(1s);
    throw std::runtime_error("broken from the start");
  });
  REQUIRE(found.findings.size() == 1);
  CHECK(found.runs == 1);
  CHECK(found.findings[0].rule == bt::rules::undisturbed);
  CHECK(found.findings[0].what.find("broken from the start") != std::string::npos);
}

TEST_CASE("everywhere: `only` chooses the awaits; what runs undisturbed is not numbered") {
  const auto scenario = [](bt::stage& s) -> b::task<> {
    co_await s.undisturbed(nap(1s));
    co_await nap(1s);
    co_await s.undisturbed([]() -> b::task<> { co_await b::all(nap(1s), nap(2s)); }());
    b::event named("named");
    named.set();
    co_await b::yield();
  };
  const bt::report all = bt::cancel_everywhere(scenario);
  CHECK_MESSAGE(all.ok(), all.text());
  // The coroutine that runs what is undisturbed goes deeper by the library's own await: it is no place of its own.
  const bt::report some = bt::cancel_everywhere(
      scenario, {.only = [](const bt::await_info& where) { return where.what == "its next turn"; }});
  CHECK(some.runs == 3);  // undisturbed; the yield before and after
}

TEST_CASE("everywhere: undisturbed parts are cancelled from outside like others, and give their errors") {
  bt::test_loop loop;
  const bt::report found = bt::cancel_everywhere([](bt::stage& s) -> b::task<> {
    const auto fails = []() -> b::task<int> {
      co_await nap(1s);
      throw std::runtime_error("expected");
    };
    bool failed = false;
    try {
      static_cast<void>(co_await s.undisturbed(fails()));
    } catch (const std::runtime_error&) {
      failed = true;
    }
    s.expect("its error came out", [failed] { return failed; });
    co_await nap(1s);
    auto endless = [](bt::stage& on) -> b::task<> { co_await on.undisturbed(nap(24h)); };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(endless, std::ref(s));
      co_await nap(1s);
      g.cancel();
    });
  });
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("disturb_everywhere: calls what the scenario gave, at each wait") {
  std::set<std::pair<bool, bool>> seen;
  const bt::report found = bt::disturb_everywhere([&seen](bt::stage& s) -> b::task<> {
    bool& lights_off = s.make<bool>(false);
    s.disturbance([&lights_off] { lights_off = true; });
    co_await nap(1s);
    const bool after_first = lights_off;
    co_await nap(1s);
    seen.insert({after_first, lights_off});
  });
  CHECK(found.ok());
  CHECK(found.runs == 5);
  CHECK(seen == std::set<std::pair<bool, bool>>{{false, false}, {true, true}, {false, true}});
}

TEST_CASE("explore: finds what only some orders show; the seed that is printed shows it again") {
  const auto scenario = [](bt::stage& s) -> b::task<> {
    auto& order = s.make<std::vector<int>>();
    s.expect("the first is first", [&order] { return order.empty() || order[0] == 1; });
    auto note = [](std::vector<int>& into, int who) -> b::task<> {
      into.push_back(who);
      co_return;
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(note, std::ref(order), 1);
      g.spawn(note, std::ref(order), 2);
      co_return;
    });
  };
  const auto drive = [&] { return bt::explore(scenario, 100, {.name = "orders"}); };
  CHECK(bt::everywhere(scenario).ok());
  const bt::report found = drive();
  REQUIRE(!found.findings.empty());
  CHECK(found.findings[0].replay.find("schedule ") != std::string::npos);
  const asking_for same(asked_by(found.findings[0]));
  const bt::report again = drive();
  CHECK(again.runs == 1);
  REQUIRE(again.findings.size() == 1);
  CHECK(again.findings[0].what == found.findings[0].what);
}

TEST_CASE("explore: the same seeds give the same orders, others give others") {
  const auto orders = [](std::uint64_t first_seed) {
    std::vector<std::string> all;
    const bt::report found = bt::explore(
        [&all]() -> b::task<> {
          std::string order;
          auto note = [](std::string& into, char who) -> b::task<> {
            into += who;
            co_await b::yield();
            into += who;
          };
          co_await b::with_group([&](b::group& g) -> b::task<> {
            for (const char who : {'a', 'b', 'c', 'd'}) g.spawn(note, std::ref(order), who);
            co_return;
          });
          all.push_back(order);
        },
        20, {.first_seed = first_seed, .inject = false});
    CHECK(found.ok());
    return all;
  };
  CHECK(orders(1) == orders(1));
  CHECK(orders(1) != orders(1000));
  const auto some = orders(1);
  CHECK(std::set<std::string>(some.begin(), some.end()).size() > 15);
}

TEST_CASE("explore: random numbers of the stage are the same for the same seed") {
  std::vector<std::uint64_t> drawn;
  const auto drive = [&drawn] {
    drawn.clear();
    CHECK(bt::explore(
              [&drawn](bt::stage& s) -> b::task<> {
                drawn.push_back(s.random()());
                co_return;
              },
              5)
              .ok());
    return drawn;
  };
  const auto once = drive();
  CHECK(once == drive());
  CHECK(std::set<std::uint64_t>(once.begin(), once.end()).size() >= 5);
}

TEST_CASE("everywhere: a run that does less than the first one is told, too") {
  bool cached = false;
  const bt::report found = bt::cancel_everywhere([&cached]() -> b::task<> {
    co_await nap(1s);
    if (cached) co_return;
    cached = true;
    co_await nap(1s);
  });
  REQUIRE(!found.findings.empty());
  CHECK(found.findings[0].rule == bt::rules::deterministic);
  CHECK(found.findings[0].replay.empty());
}

TEST_CASE("everywhere: a lock that is free is no wait, whatever is undisturbed after it") {
  const bt::report found = bt::cancel_everywhere([](bt::stage& s) -> b::task<> {
    auto& lock = s.make<b::mutex>();
    int& done = s.make<int>(0);
    s.expect("what was begun is done", [&done] { return done != 1; });
    const auto guard = co_await lock.lock();
    co_await s.undisturbed(nap(1s));
    done = 1;
    co_await b::yield();
    done = 2;
  });
  REQUIRE(!found.findings.empty());
  CHECK(found.findings[0].rule == "what was begun is done");
}

TEST_CASE(
    "everywhere: a replay whose case does not happen is not called proven; one that cannot be is misuse") {
  {
    const asking_for gone("moved: cancel 12 during");
    const bt::report found = bt::everywhere(uses_resource, {.name = "moved"});
    CHECK(!found.ok());
    CHECK(found.text().find("'cancel 12 during' did not happen") != std::string::npos);
  }
  for (const char* impossible : {"moved: fail 3 number 5", "moved: disturb 3 before"}) {
    CAPTURE(impossible);
    const asking_for nonsense(impossible);
    CHECK_THROWS_AS(static_cast<void>(bt::everywhere(uses_resource, {.name = "moved"})), b::misuse_error);
  }
}

TEST_CASE("everywhere: each run begins at the same time of the day") {
  const bt::report found = bt::everywhere([]() -> b::task<> {
    if (b::now().time_since_epoch() % 2s == 0s) co_await nap(1s);
    co_await nap(3s);
  });
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE(
    "everywhere: rules, disturbances and scenarios that throw are findings, not the end of the driver") {
  const bt::report by_rule = bt::cancel_everywhere([](bt::stage& s) -> b::task<> {
    s.expect("throws", []() -> bool { throw 7; });
    co_await nap(1s);
  });
  REQUIRE(by_rule.findings.size() == 1);
  CHECK(by_rule.findings[0].what.find("the rule 'throws'") != std::string::npos);

  const bt::report by_disturbance = bt::disturb_everywhere([](bt::stage& s) -> b::task<> {
    s.disturbance([] { throw std::runtime_error("no network to cut"); });
    co_await nap(1s);
  });
  REQUIRE(!by_disturbance.findings.empty());
  CHECK(by_disturbance.findings[0].rule == bt::rules::disturbance);
  CHECK(by_disturbance.findings[0].what.find("no network to cut") != std::string::npos);

  struct refuses {
    BELAY_CORO_WRAPPER b::task<> operator()() { throw std::runtime_error("no world today"); }
  };
  const bt::report by_scenario = bt::cancel_everywhere(refuses());
  REQUIRE(by_scenario.findings.size() == 1);
  CHECK(by_scenario.findings[0].rule == bt::rules::undisturbed);
}

TEST_CASE("everywhere: a long undisturbed run is no endless one") {
  const bt::report found = bt::everywhere(
      []() -> b::task<> {
        for (int i = 0; i < 20'000; ++i) co_await nap(1s);
      },
      {.only = [](const bt::await_info& where) { return where.number == 1; }});
  CHECK_MESSAGE(found.ok(), found.text());
}

TEST_CASE("no_leaks, no_lost_errors: reports for tests that drive a loop themselves") {
  bt::test_loop loop;
  loop.run(b::with_group([&loop](b::group& g) -> b::task<> {
    g.spawn(nap, 1s);
    co_await b::yield();
    const bt::report now = bt::no_leaks(loop);
    CHECK(!now.ok());
    CHECK(now.text().find("the loop still has 2 tasks that live and 1 timer that is still armed") !=
          std::string::npos);
  }));
  CHECK_NOTHROW(bt::no_leaks(loop).require());
  CHECK_NOTHROW(bt::no_lost_errors(loop).require());
  loop.run([]() -> b::task<> {
    const auto fails = []() -> b::task<> {
      co_await b::yield();
      throw std::runtime_error("overlooked");
    };
    b::outcome<void> dropped = co_await b::as_outcome(fails());
  }());
  CHECK_THROWS_AS(bt::no_lost_errors(loop).require(), bt::promise_broken);
  CHECK(bt::no_lost_errors(loop).text().find("overlooked") != std::string::npos);
}

TEST_CASE("undisturbed: not numbered, also when the task that started it waits for its group") {
  std::set<std::size_t> timers;
  const bt::report found = bt::cancel_everywhere(
      [](bt::stage& s) -> b::task<> {
        co_await b::with_group([&s](b::group& g) -> b::task<> {
          g.spawn(
              [](bt::stage& on) -> b::task<> {
                co_await on.undisturbed([]() -> b::task<> {
                  co_await nap(2ms);
                  co_await nap(2ms);
                }());
              },
              std::ref(s));
          co_await b::sleep_for(1ms);
        });
      },
      {.only = [&timers](const bt::await_info& at) {
        if (at.what == "a timer") timers.insert(at.number);
        return true;
      }});
  CHECK(found.ok());
  CHECK(timers.size() == 1);
}
