// SPDX-License-Identifier: Apache-2.0
// Stopping one task and waiting for its end.

#include <belay/core/child.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include "driven.hpp"

using namespace core_tests;

namespace {

b::task<> cleans_up_for(b::duration length, trail& out) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                      [&out, length]() -> b::task<> {
                        co_await b::sleep_for(length);
                        out.push_back("cleaned up");
                      });
}
b::task<> fails_to_clean_up() {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(100s); },
                      []() -> b::task<> {
                        co_await b::sleep_for(1s);
                        throw boom("cleanup");
                      });
}

constexpr b::group_options supervised{.policy = b::group_policy::supervise};

}  // namespace

TEST_CASE("cancel_and_join: returns when the task has ended; that it was cancelled is no error [row 72]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> one = g.spawn(cleans_up_for, 2s, std::ref(out));
    co_await b::yield();
    co_await b::cancel_and_join(one, b::cancel_reason::overload);
    CHECK(one.done());
    CHECK(out == trail{"cleaned up"});
    const b::outcome<void>& how = co_await b::as_outcome(one);
    CHECK(how.cancellation().reason() == b::cancel_reason::overload);
    CHECK(how.cancellation().who() == "cancel_and_join");
    co_await b::cancel_and_join(one);  // once more: it has ended
  }));
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE(
    "cancel_and_join: a task that has not begun does not begin; one that gives a value nevertheless keeps it [row 72]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    int ran = 0;
    b::child<void> fresh = g.spawn(
        [](int& count) -> b::task<> {
          ++count;
          co_return;
        },
        std::ref(ran));
    co_await b::cancel_and_join(fresh);
    CHECK(ran == 0);
    b::child<int> deaf =
        g.spawn([]() -> b::task<int> { co_return co_await b::shielded(9s, gives_after(3s, 8)); });
    co_await b::yield();
    co_await b::cancel_and_join(deaf);
    CHECK(deaf.take() == 8);
  }));
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("cancel_and_join: a failure in the task's cleanup comes out of it [row 72]") {
  b::testing::test_loop loop;
  loop.run(b::with_group(supervised, [](b::group& g) -> b::task<> {
    b::child<void> one = g.spawn(fails_to_clean_up);
    co_await b::yield();
    CHECK_THROWS_WITH_AS(co_await b::cancel_and_join(one), "cleanup", boom);
    CHECK_THROWS_WITH_AS(co_await b::cancel_and_join(one), "cleanup", boom);
  }));
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("cancel_and_join: the caller is cancelled meanwhile, that acts when the task has ended [row 72]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> one = g.spawn(cleans_up_for, 5s, std::ref(out));
    co_await b::yield();
    auto stops = [](b::child<void>& which, trail& to) -> b::task<> {
      co_await b::cancel_and_join(which);
      to.push_back("joined");
      co_await b::yield();
      to.push_back("past the next await");
    };
    CHECK(!co_await b::move_on_after(1s, stops(one, out)));
    CHECK(loop.elapsed() == 5s);
  }));
  CHECK(out == trail{"cleaned up", "joined"});
}

TEST_CASE(
    "cancel_and_join: of itself, of a task that it belongs to, or of one that waits for it: a misuse_error, and nobody is cancelled") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> self;
    auto refused = [](b::child<void>& which) -> b::task<bool> {
      try {
        co_await b::cancel_and_join(which);
      } catch (const b::misuse_error& e) {
        CHECK(std::string(e.what()).find("cancel_and_join: a task cannot wait here") == 0);
        co_return true;
      }
      co_return false;
    };
    self = g.spawn(
        [](b::child<void>& me, auto& tries, trail& to) -> b::task<> {
          CHECK(co_await tries(me));
          co_await b::with_group([&](b::group& below) -> b::task<> {
            below.spawn([&]() -> b::task<> { CHECK(co_await tries(me)); });
            co_return;
          });
          co_await b::yield();
          to.push_back("not cancelled");
        },
        std::ref(self), std::ref(refused), std::ref(out));
    co_await self;
    b::child<void> first;
    b::child<void> second;
    first = g.spawn(
        [](b::child<void>& other) -> b::task<> {
          co_await b::yield();
          co_await b::cancel_and_join(other);
        },
        std::ref(second));
    second = g.spawn(
        [](b::child<void>& other, auto& tries, trail& to) -> b::task<> {
          co_await b::finally([]() -> b::task<> { co_await b::sleep_for(9s); },
                              [&]() -> b::task<> {
                                CHECK(co_await tries(other));
                                to.push_back("no deadlock");
                              });
        },
        std::ref(first), std::ref(refused), std::ref(out));
    co_await first;
    b::child<void> none;
    CHECK_THROWS_AS(co_await b::cancel_and_join(none), b::misuse_error);
  }));
  CHECK(out == trail{"not cancelled", "no deadlock"});
}

TEST_CASE(
    "with_timeout: of zero around a running child, and then cancel_and_join: what wait_for does with a task [row 118]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> one = g.spawn(cleans_up_for, 1s, std::ref(out));
    co_await b::yield();
    auto waits = [](b::child<void>& on) -> b::task<> { co_await on; };
    bool late = false;
    try {
      co_await b::with_timeout(0s, waits(one));
    } catch (const b::timeout_error&) {
      late = true;
    }
    CHECK(late);
    co_await b::cancel_and_join(one, b::cancel_reason::deadline);
    CHECK(one.done());
  }));
  CHECK(out == trail{"cleaned up"});
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("everywhere: cancel_and_join") {
  drive(
      "cancel_and_join",
      [](t::stage& s) -> b::task<> {
        auto& live = s.make<int>(0);
        s.expect("no local is left", [&live] { return live == 0; });
        auto works = [](int& count) -> b::task<> {
          const counted here(count);
          co_await b::finally([]() -> b::task<> { co_await b::sleep_for(5s); },
                              [&count]() -> b::task<> {
                                const counted cleaning(count);
                                co_await b::sleep_for(1s);
                              });
        };
        b::child<void> one;  // outlive the tasks that refer to them
        b::child<void> two;
        co_await b::with_group({.policy = b::group_policy::supervise}, [&](b::group& g) -> b::task<> {
          one = g.spawn(works, std::ref(live));
          two = g.spawn(works, std::ref(live));
          co_await b::sleep_for(1s);
          b::child<void> stops = g.spawn(
              [](b::child<void>& which) -> b::task<> { co_await b::cancel_and_join(which); }, std::ref(two));
          auto stop_one = [](b::child<void>& which) -> b::task<> { co_await b::cancel_and_join(which); };
          b::outcome<void> how = co_await b::as_outcome(stop_one(one));
          if (how.failed()) {
            CHECK(!how.failure().message().empty());
          } else {
            CHECK(one.done());
          }
          co_await b::yield();
        });
      },
      lost::to_the_sink);
}

TEST_CASE("cancel_and_join: waiting for each other through a task below one of them is misuse, too") {
  b::testing::test_loop loop;
  trail out;
  b::child<void> first;
  b::child<void> second;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    first = g.spawn([&]() -> b::task<> {
      co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); },
                          [&]() -> b::task<> {
                            co_await b::sleep_for(1s);
                            try {
                              co_await b::cancel_and_join(second);
                            } catch (const b::misuse_error&) {
                              out.push_back("refused");
                            }
                          });
    });
    second = g.spawn([&]() -> b::task<> {
      co_await b::with_group([&](b::group& below) -> b::task<> {
        below.spawn([&]() -> b::task<> {
          co_await b::sleep_for(1s);
          co_await b::cancel_and_join(first);
          out.push_back("first has stopped");
        });
        co_return;
      });
      out.push_back("second goes on");
    });
    co_return;
  }));
  CHECK(out == trail{"refused", "first has stopped", "second goes on"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("cancel_and_join: in a cleanup, its limit ends the wait for a task that does not stop") {
  b::testing::test_loop loop({.cleanup_limit = 10s});
  for (const bool below : {false, true}) {
    CAPTURE(below);
    const b::duration begin = loop.elapsed();
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> slow = g.spawn([]() -> b::task<> { co_await b::shielded(1h, naps(60s)); });
      co_await b::sleep_for(1s);
      auto stops = [](b::child<void>& which) -> b::task<> { co_await b::cancel_and_join(which); };
      auto stops_with_limit = [&stops](b::child<void>& which) -> b::task<> {
        // A limit of its own does not end the wait; that of the cleanup does, also in a task of the cleanup.
        co_await b::with_group([&](b::group& in) -> b::task<> {
          in.spawn([&]() -> b::task<> { co_await b::with_timeout(1s, stops(which)); });
          co_return;
        });
      };
      bool late = false;
      try {
        co_await b::finally([]() -> b::task<> { co_return; },
                            [&]() -> b::task<> { co_await (below ? stops_with_limit(slow) : stops(slow)); });
      } catch (const b::timeout_error&) {
        late = true;
      }
      CHECK(late);
      CHECK(loop.elapsed() - begin == 11s);
      CHECK_FALSE(slow.done());
    }));
    CHECK(loop.elapsed() - begin == 60s);
    CHECK(loop.nothing_left());
  }
}
