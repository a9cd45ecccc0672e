// SPDX-License-Identifier: Apache-2.0
// Groups with options: names, policies, limits.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "support.hpp"

using namespace core_tests;

namespace {

constexpr b::group_options supervised{.policy = b::group_policy::supervise};
constexpr b::group_options settled{.policy = b::group_policy::settle};

b::task<> writes(trail& out, std::string what) {
  out.push_back(what);
  co_return;
}
b::task<> naps_and_writes(b::duration length, trail& out, std::string what) {
  co_await b::sleep_for(length);
  out.push_back(what);
}
b::task<> runs_under(int& now, int& most) {
  const counted here(now);
  most = std::max(most, now);
  co_await b::sleep_for(1s);
}
b::task<> cleanup_fails(std::string words) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                      [&]() -> b::task<> {
                        co_await b::yield();
                        throw boom(words);
                      });
}
struct bad {
  explicit bad(int moves) : left(moves) {}
  bad(const bad&) = delete;
  bad(bad&& from) : left(from.left - 1) {
    if (left < 0) throw boom("move");
  }
  int left;
};
// Spawns when it is moved: what a result may do when its group has ended.
struct spawns_when_moved {
  explicit spawns_when_moved(b::group& g) : into(&g) {}
  spawns_when_moved(spawns_when_moved&& from) : into(from.into) {
    if (!into->is_open()) into->spawn(naps, 1s);
  }
  b::group* into;
};

}  // namespace

TEST_CASE("group_options: a name, it is in cancel records and in the notes of failures [row 169]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    std::string who;
    auto listens = [](std::string& to) -> b::task<> {
      co_await b::use([](std::string& told) -> b::managed<int> {
        int value = 0;
        const b::exit_status how = co_yield value;
        if (how.cancelled()) told = b::describe(how.cancellation());
      }(to));
      co_await b::sleep_for(100s);
    };
    try {
      co_await b::with_group({.name = "dashboard"}, [&](b::group& g) -> b::task<> {
        g.spawn(listens, std::ref(who));
        g.spawn(fails_after, 1s, std::string("no posts"));
        co_return;
      });
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.notes().size() == 1);
      CHECK(what.notes()[0] == "in group 'dashboard'");
    }
    CHECK(who.starts_with("cancelled by group 'dashboard' at group_options_test.cpp:"));
    CHECK(who.ends_with("(no posts)"));
  }());
}

TEST_CASE("supervise: one task fails, the others and the body go on, the error is reported once [row 173]") {
  b::testing::test_loop loop;
  trail out;
  CHECK(loop.run(b::with_group(supervised, [&](b::group& g) -> b::task<int> {
    g.spawn(fails_after, 1s, std::string("one of them"));
    g.spawn(naps_and_writes, 3s, std::ref(out), std::string("other"));
    co_await naps_and_writes(2s, out, "body");
    co_return 7;
  })) == 7);
  CHECK(out == trail{"body", "other"});
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("one of them") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE(
    "supervise: an error that is looked at through the handle is handled, and not reported [row 173] [row 172]") {
  b::testing::test_loop loop;
  loop.run(b::with_group(supervised, [](b::group& g) -> b::task<> {
    b::child<int> bad = g.spawn(fails_after, 1s, std::string("handled"));
    CHECK((co_await b::as_outcome(bad)).failure().message() == "handled");
    b::child<int> thrown = g.spawn(fails_after, 1s, std::string("handled, too"));
    try {
      static_cast<void>(co_await thrown);
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "handled, too");
    }
  }));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("supervise: cancelled from outside, all tasks are cancelled [row 175]") {
  b::testing::test_loop loop;
  int live = 0;
  int most = 0;
  auto grouped = [](int& now, int& highest) -> b::task<> {
    co_await b::with_group(supervised, [&](b::group& g) -> b::task<> {
      g.spawn(runs_under, std::ref(now), std::ref(highest));
      g.spawn(runs_under, std::ref(now), std::ref(highest));
      co_return;
    });
  };
  loop.run([](auto& call, int& now, int& highest) -> b::task<> {
    CHECK(!co_await b::move_on_after(500ms, call(now, highest)));
  }(grouped, live, most));
  CHECK(most == 2);
  CHECK(live == 0);
  CHECK(loop.elapsed() == 500ms);
}

TEST_CASE("supervise: the body fails, the tasks are cancelled and its error comes out [row 128]") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(loop.run(b::with_group(supervised,
                                              [](b::group& g) -> b::task<> {
                                                g.spawn(naps, 100s);
                                                co_await b::sleep_for(1s);
                                                throw boom("body");
                                              })),
                       "body", boom);
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE("settle group: nothing cancels anything, then the first error comes out with the others attached") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    try {
      co_await b::with_group(settled, [&](b::group& g) -> b::task<> {
        g.spawn(naps_and_writes, 5s, std::ref(to), std::string("last"));
        g.spawn(fails_after, 2s, std::string("second"));
        g.spawn(fails_after, 1s, std::string("first"));
        co_await naps_and_writes(3s, to, "body");
        throw boom("body");
      });
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "first");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 2);
      CHECK(what.attached()[0].message() == "second");
      CHECK(what.attached()[1].message() == "body");
    }
  }(out));
  CHECK(out == trail{"body", "last"});
  CHECK(loop.elapsed() == 5s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("settle group: errors that were looked at through their handles do not come out [row 179]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::with_group(settled, [](b::group& g) -> b::task<int> {
    std::vector<b::child<int>> all;
    all.push_back(g.spawn(gives_after, 2s, 1));
    all.push_back(g.spawn(fails_after, 1s, std::string("bad")));
    int failed = 0;
    for (b::child<int>& one : all) failed += (co_await b::as_outcome(one)).failure() ? 1 : 0;
    co_return failed;
  })) == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("settle group: a task lets another one's error pass, it comes out once [row 133]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group(settled, [](b::group& g) -> b::task<> {
        b::child<int> bad = g.spawn(fails_after, 1s, std::string("same"));
        auto relays = [](b::child<int>& on) -> b::task<> { static_cast<void>(co_await on); };
        g.spawn(relays, std::ref(bad));
        co_await b::sleep_for(2s);
        static_cast<void>(co_await bad);
      });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "same");
      CHECK(b::current_failure().flatten().size() == 1);
    }
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "settle group: cancelled and a cleanup fails, the error beats the cancellation [row 138] [row 148]") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(loop.run(b::with_group(settled,
                                              [](b::group& g) -> b::task<> {
                                                g.spawn(cleanup_fails, std::string("cleanup"));
                                                co_await b::sleep_for(1s);
                                                g.cancel();
                                              })),
                       "cleanup", boom);
}

TEST_CASE(
    "most_live: spawn throws when the group is full, try_spawn says no, and goes on when a task has ended") {
  b::testing::test_loop loop;
  int now = 0;
  int most = 0;
  loop.run(b::with_group({.name = "workers", .most_live = 2}, [&](b::group& g) -> b::task<> {
    g.spawn(runs_under, std::ref(now), std::ref(most));
    g.spawn(runs_under, std::ref(now), std::ref(most));
    try {
      g.spawn(runs_under, std::ref(now), std::ref(most));
      FAIL("no error");
    } catch (const b::error& e) {
      CHECK(e.kind() == b::error_kind::overloaded);
      CHECK(e.code() == "group_full");
      CHECK(std::string(e.what()).starts_with("group::spawn: group 'workers' has 2 tasks"));
    }
    auto box = std::make_unique<int>(4);
    auto takes = [](std::unique_ptr<int> mine) -> b::task<int> { co_return *mine; };
    CHECK(!g.try_spawn(takes, std::move(box)));
    REQUIRE(box);  // untouched
    CHECK(g.size() == 2);
    co_await b::sleep_for(1500ms);
    std::optional<b::child<int>> third = g.try_spawn(takes, std::move(box));
    REQUIRE(third);
    CHECK(co_await *third == 4);
  }));
  CHECK(most == 2);
}

TEST_CASE("most_live: spawn_when_free waits for room, first come first served") {
  b::testing::test_loop loop;
  int now = 0;
  int most = 0;
  trail out;
  loop.run(b::with_group({.most_live = 3}, [&](b::group& g) -> b::task<> {
    for (int i = 0; i < 10; ++i) {
      static_cast<void>(co_await g.spawn_when_free(runs_under, std::ref(now), std::ref(most)));
    }
  }));
  CHECK(most == 3);
  CHECK(loop.elapsed() == 4s);
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
      g.spawn(naps, 1s);
      auto waits = [](b::group& in, trail& to, std::string name) -> b::task<> {
        b::child<void> made = co_await in.spawn_when_free(writes, std::ref(to), name);
      };
      for (const char* name : {"a", "b", "c"}) {
        outside.spawn(waits, std::ref(g), std::ref(out), std::string(name));
      }
      co_return;  // the group stays open for those who wait
    });
    out.push_back("group ended");
  }));
  CHECK(out == trail{"a", "b", "c", "group ended"});
}

TEST_CASE("most_live: who waits for room is cancelled, the next in line gets it") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
      g.spawn(naps, 2s);
      auto waits = [](b::group& in, trail& to, std::string name) -> b::task<> {
        static_cast<void>(co_await in.spawn_when_free(writes, std::ref(to), name));
      };
      b::child<void> first = outside.spawn(waits, std::ref(g), std::ref(out), std::string("first"));
      outside.spawn(waits, std::ref(g), std::ref(out), std::string("second"));
      co_await b::sleep_for(1s);
      first.cancel();
    });
  }));
  CHECK(out == trail{"second"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("most_live: an argument throws when there is room, the room is passed on") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
      g.spawn(naps, 1s);
      auto takes = [](bad&) -> b::task<> { co_return; };
      auto waits_badly = [takes](b::group& in) -> b::task<> {
        b::outcome<b::child<void>> how = co_await b::as_outcome(in.spawn_when_free(takes, bad(1)));
        CHECK(how.failure().message() == "move");
      };
      auto waits = [](b::group& in, trail& to) -> b::task<> {
        static_cast<void>(co_await in.spawn_when_free(writes, std::ref(to), std::string("second")));
      };
      outside.spawn(waits_badly, std::ref(g));
      outside.spawn(waits, std::ref(g), std::ref(out));
      co_return;
    });
  }));
  CHECK(out == trail{"second"});
}

TEST_CASE("most_live: zero, is a misuse_error and the body does not run") {
  b::testing::test_loop loop;
  bool ran = false;
  CHECK_THROWS_AS(loop.run(b::with_group({.most_live = 0},
                                         [&](b::group&) -> b::task<> {
                                           ran = true;
                                           co_return;
                                         })),
                  b::misuse_error);
  CHECK(!ran);
}

TEST_CASE(
    "spawn into a full group that is being cancelled, is accepted and born cancelled; try_spawn says no [row 149]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
    g.spawn(naps, 1s);
    g.cancel();
    b::child<void> born = g.spawn(writes, std::ref(out), std::string("ran"));
    CHECK(!g.try_spawn(writes, std::ref(out), std::string("ran, too")));
    co_return;
  }));
  CHECK(out.empty());
  CHECK(loop.nothing_left());
}

TEST_CASE("spawn into a group that was never opened, or has ended, is a misuse_error [row 150] [row 151]") {
  b::testing::test_loop loop;
  int live = 0;
  loop.run([](int& count) -> b::task<> {
    b::group never;
    auto takes = [](counted) -> b::task<> { co_return; };
    CHECK_THROWS_AS(never.spawn(takes, counted(count)), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(never.try_spawn(takes, counted(count))), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(co_await never.spawn_when_free(takes, counted(count))),
                    b::misuse_error);
    CHECK(never.size() == 0);
  }(live));
  CHECK(live == 0);
  CHECK_THROWS_AS(static_cast<void>(loop.run(b::with_group(
                      [](b::group& g) -> b::task<spawns_when_moved> { co_return spawns_when_moved(g); }))),
                  b::misuse_error);
  CHECK(loop.nothing_left());
}

TEST_CASE("supervise: thousands of failing tasks, one after the other") {
  b::testing::test_loop loop;
  int looked = 0;
  loop.run(
      b::with_group({.policy = b::group_policy::supervise, .most_live = 100}, [&](b::group& g) -> b::task<> {
        auto refuses = []() -> b::task<> { co_await b::fail(boom("x")); };
        for (int i = 0; i < 20'000; ++i) {
          b::child<void> one = co_await g.spawn_when_free(refuses);
          looked += (co_await b::as_outcome(one)).failed() ? 1 : 0;
          (co_await b::as_outcome(one)).failure().observe();
        }
        CHECK(g.size() == 0);
      }));
  CHECK(looked == 20'000);
  CHECK(loop.lost_errors().empty());
}
