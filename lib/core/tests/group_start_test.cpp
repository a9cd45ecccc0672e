// SPDX-License-Identifier: Apache-2.0
// group::start: returns once the task said that it is ready.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> serves(b::task_status<int>& ready, int port, trail& out) {
  co_await b::sleep_for(1s);
  out.push_back("bound");
  ready.started(port);
  co_await b::sleep_for(3s);
  out.push_back("served");
}
b::task<> fails_before(b::task_status<int>&, std::string words) {
  co_await b::sleep_for(1s);
  throw boom(words);
}
b::task<> fails_later(b::task_status<>& ready, std::string words) {
  co_await b::sleep_for(1s);
  ready.started();
  co_await b::sleep_for(1s);
  throw boom(words);
}
b::task<> never_says(b::task_status<int>&) { co_await b::sleep_for(1s); }
b::task<> hangs(b::task_status<int>&, trail& out, b::duration cleanup) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                      [&]() -> b::task<> {
                        co_await b::sleep_for(cleanup);
                        out.push_back("cleaned");
                      });
}
b::task<> starts(b::group& in, trail& out) {
  const int port = co_await in.start(serves, 80, std::ref(out));
  out.push_back("started " + std::to_string(port));
}

}  // namespace

TEST_CASE(
    "start: waits until the task is ready, gives what it said; then it belongs to the group [row 154]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    const int port = co_await g.start(serves, 8080, std::ref(out));
    CHECK(port == 8080);
    CHECK(loop.elapsed() == 1s);
    CHECK(g.size() == 1);
    out.push_back("body");
  }));
  CHECK(out == trail{"bound", "body", "served"});
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "start: the task fails before it is ready, the error comes out of start and the group is healthy [row 155]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    try {
      static_cast<void>(co_await g.start(fails_before, std::string("port taken")));
      FAIL("no error");
    } catch (const boom& e) {
      out.push_back(e.what());
    }
    co_await b::yield();
    CHECK(co_await g.start(serves, 1, std::ref(out)) == 1);
  }));
  CHECK(out == trail{"port taken", "bound", "served"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("start: the task fails after it was ready, the error comes out of the group [row 156]") {
  b::testing::test_loop loop;
  bool past_start = false;
  CHECK_THROWS_WITH_AS(loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await g.start(fails_later, std::string("later"));
    past_start = true;
    co_await b::sleep_for(100s);
  })),
                       "later", boom);
  CHECK(past_start);
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("start: the task ends without having said that it is ready, is a misuse_error [row 157]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    try {
      static_cast<void>(co_await g.start(never_says));
      FAIL("no error");
    } catch (const b::misuse_error& e) {
      CHECK(std::string(e.what()).find("without having called started()") != std::string::npos);
    }
    co_await b::yield();
  }));
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("start: started is called twice, is a misuse_error in the task [row 158]") {
  b::testing::test_loop loop;
  int caught = 0;
  auto twice = [](b::task_status<int>& ready, int& count) -> b::task<> {
    ready.started(1);
    try {
      ready.started(2);
    } catch (const b::misuse_error&) {
      ++count;
    }
    co_return;
  };
  loop.run(b::with_group(
      [&](b::group& g) -> b::task<> { CHECK(co_await g.start(twice, std::ref(caught)) == 1); }));
  CHECK(caught == 1);
}

TEST_CASE(
    "start: the body ends while a start from elsewhere is under way, the group waits for it [row 160]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      outside.spawn(starts, std::ref(g), std::ref(out));
      co_await b::yield();
    });
    out.push_back("group ended");
  }));
  CHECK(out == trail{"bound", "started 80", "served", "group ended"});
}

TEST_CASE(
    "start: its caller is cancelled, the task is cancelled and waited for; its record is the caller's") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, g.start(hangs, std::ref(out), 2s)));
    CHECK(loop.elapsed() == 3s);
    CHECK(g.size() == 0);
    co_await b::yield();
  }));
  CHECK(out == trail{"cleaned"});
}

TEST_CASE(
    "start: its caller is cancelled and the task says ready while it is cleaned up, it was cancelled all the same") {
  b::testing::test_loop loop;
  auto late = [](b::task_status<int>& ready) -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                        [&]() -> b::task<> {
                          ready.started(1);
                          co_return;
                        });
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, g.start(late)));
    CHECK(g.size() == 0);
  }));
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "start: its caller is cancelled and the cleanup of the task fails, the error beats the cancellation [row 138]") {
  b::testing::test_loop loop;
  auto fails_to_clean = [](b::task_status<int>&) -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                        []() -> b::task<> {
                          throw boom("cleanup");
                          co_return;
                        });
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::outcome<std::optional<int>> how =
        co_await b::as_outcome(b::move_on_after(1s, g.start(fails_to_clean)));
    CHECK(how.failure().message() == "cleanup");
  }));
}

TEST_CASE("start: the group is cancelled meanwhile, the caller from elsewhere gets child_cancelled") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      auto waits = [](b::group& in, trail& to) -> b::task<> {
        try {
          static_cast<void>(co_await in.start(hangs, std::ref(to), 1s));
        } catch (const b::child_cancelled&) {
          to.push_back("child_cancelled");
        }
      };
      outside.spawn(waits, std::ref(g), std::ref(out));
      co_await b::sleep_for(1s);
      g.cancel();
    });
    out.push_back("group ended");
  }));
  CHECK(out == trail{"cleaned", "child_cancelled", "group ended"});
}

TEST_CASE("start: its deadline covers the start, not the task's further life [row 167]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    CHECK(co_await b::with_timeout(2s, g.start(serves, 5, std::ref(out))) == 5);
    co_return;
  }));
  CHECK(out == trail{"bound", "served"});
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("start: into a group that is being cancelled, nothing runs") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outside) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      auto waits = [](b::group& in, trail& to) -> b::task<> {
        try {
          co_await starts(in, to);
        } catch (const b::child_cancelled&) {
          to.push_back("child_cancelled");
        }
      };
      g.cancel();
      co_await b::shielded(9s, waits(g, out));
    });
  }));
  CHECK(out == trail{"child_cancelled"});
}

TEST_CASE("start: waits for room in a group with a limit") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
    g.spawn(naps, 5s);
    co_await starts(g, out);
    CHECK(loop.elapsed() == 6s);
    CHECK_THROWS_AS(g.spawn(naps, 1s), b::error);
  }));
  CHECK(out == trail{"bound", "started 80", "served"});
}

TEST_CASE("start: nothing, references and move-only values may be said; by generic functions, too") {
  b::testing::test_loop loop;
  int here = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto says_nothing = [](b::task_status<>& ready) -> b::task<> {
      ready.started();
      co_return;
    };
    auto says_box = [](b::task_status<std::unique_ptr<int>>& ready) -> b::task<> {
      ready.started(std::make_unique<int>(4));
      co_return;
    };
    auto says_reference = [](b::task_status<int&>& ready, int& what) -> b::task<> {
      ready.started(what);
      co_return;
    };
    auto generic = [](auto& ready) -> b::task<> {
      ready.started(3);
      co_return;
    };
    co_await g.start(says_nothing);
    CHECK(*co_await g.start(says_box) == 4);
    CHECK(&co_await g.start(says_reference, std::ref(here)) == &here);
    CHECK(co_await g.start<int>(generic) == 3);
  }));
}

TEST_CASE("start: the status may be moved on to a part of the task; said after the end, is a misuse_error") {
  b::testing::test_loop loop;
  auto hands_on = [](b::task_status<int> ready) -> b::task<> {
    auto deep = [](b::task_status<int> mine) -> b::task<> {
      co_await b::sleep_for(1s);
      mine.started(6);
      co_await b::sleep_for(1s);
    };
    co_await deep(std::move(ready));
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> { CHECK(co_await g.start(hands_on) == 6); }));
  std::optional<b::task_status<int>> kept;
  auto keeps = [](b::task_status<int>& ready, std::optional<b::task_status<int>>& to) -> b::task<> {
    to.emplace(std::move(ready));
    co_return;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    CHECK_THROWS_AS(static_cast<void>(co_await g.start(keeps, std::ref(kept))), b::misuse_error);
    CHECK_THROWS_AS(kept->started(1), b::misuse_error);
  }));
}

TEST_CASE("start: an argument that throws when it is kept, leaves the group as it was [row 18]") {
  b::testing::test_loop loop;
  struct once {
    explicit once(int moves) : left(moves) {}
    once(once&& from) : left(from.left - 1) {
      if (left < 0) throw boom("move");
    }
    int left;
  };
  auto takes = [](b::task_status<>& ready, once&) -> b::task<> {
    ready.started();
    co_return;
  };
  loop.run(b::with_group({.most_live = 1}, [&](b::group& g) -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(g.start(takes, once(2)));
    CHECK(how.failure().message() == "move");
    CHECK(g.size() == 0);
    g.spawn(naps, 1s);  // the room is free again
  }));
}

TEST_CASE("start: what can only be moved goes on into the task; the status is an lvalue all the same") {
  b::testing::test_loop loop;
  int seen = 0;
  loop.run(b::with_group([&seen](b::group& g) -> b::task<> {
    const int said = co_await g.start(
        [](b::task_status<int>& ready, std::unique_ptr<int> box, int& out) -> b::task<> {
          ready.started(*box + 1);
          out = *box;
          co_return;
        },
        std::make_unique<int>(3), std::ref(seen));
    CHECK(said == 4);
  }));
  CHECK(seen == 3);
}
