// SPDX-License-Identifier: Apache-2.0
// Background work: order, failures, room, cancelling, and who owns it.

#include "support.hpp"

#include <belay/service/background.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;
using belay::task;
using belay::service::background_overload_error;
using belay::service::background_tasks;
using belay::service::background_work;
using words = std::vector<std::string>;

namespace {

struct fixture {
  belay::testing::test_loop loop;
  support::record_keeper records;
  background_tasks all{3};
  words said;

  // One piece of work that takes a second.
  background_work piece(std::string name) {
    return {name, [this, name]() -> task<> {
              said.push_back("start " + name);
              co_await belay::sleep_for(1s);
              said.push_back("end " + name);
            }};
  }
  background_work failing(std::string name) {
    return {name, []() -> task<> {
              co_await belay::yield();
              throw std::runtime_error("no mail server");
            }};
  }
  template <class... W>
  void start(W... work) {
    std::vector<background_work> list;
    (list.push_back(std::move(work)), ...);
    all.start(std::move(list), records.log.with({{"trace_id", "0af7651916cd43dd8448eb211c80319c"}}));
  }
  void serve(belay::task_function<task<>()> body) { loop.run(all.serve_within(std::move(body))); }

  ~fixture() {
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(all.size() == 0);
    CHECK(all.unfinished().empty());
  }
};

}  // namespace

TEST_CASE("background: the work of one request runs in order, that of several at the same time [row 445]") {
  fixture f;
  f.serve([&f]() -> task<> {
    f.start(f.piece("a1"), f.piece("a2"));
    f.start(f.piece("b1"));
    CHECK(f.said.empty());
    CHECK(f.all.size() == 3);
    CHECK(f.all.unfinished() == words{"a1", "a2", "b1"});
    co_await f.all.wait_idle();
    CHECK(f.loop.elapsed() == 2s);
  });
  CHECK(f.said == words{"start a1", "start b1", "end a1", "start a2", "end b1", "end a2"});
}

TEST_CASE(
    "background: one that fails is one record with the request's trace id, and the next one runs [row 445] [row 451]") {
  fixture f;
  f.serve([&f]() -> task<> {
    f.start(f.failing("bad"), f.piece("good"));
    f.start(f.piece("other"));
    co_await f.all.wait_idle();
  });
  CHECK(f.said == words{"start other", "start good", "end other", "end good"});
  const words failed = f.records.events("background_task_failed");
  REQUIRE(failed.size() == 1);
  CHECK(support::contains(failed[0], "0af7651916cd43dd8448eb211c80319c"));
  CHECK(support::contains(failed[0], "\"task\":\"bad\""));
  CHECK(support::contains(failed[0], "no mail server"));
}

TEST_CASE(
    "background: a function that throws before it gives a task does not reach the others or the program") {
  fixture f;
  bool went_on = false;
  f.serve([&]() -> task<> {
    f.start(background_work{"empty", {}}, f.piece("next"));
    f.start(f.piece("other"));
    co_await f.all.wait_idle();
    went_on = true;
  });
  CHECK(went_on);
  CHECK(f.said == words{"start next", "start other", "end next", "end other"});
  CHECK(f.records.events("background_task_failed").size() == 1);
}

TEST_CASE("background: places are counted from the reservation on, and given back [row 454]") {
  fixture f;
  f.serve([&f]() -> task<> {
    background_work first = f.piece("1");
    first.place = f.all.reserve();
    auto second = f.all.reserve();
    {
      auto third = f.all.reserve();
      CHECK_THROWS_AS(static_cast<void>(f.all.reserve()), background_overload_error);
      CHECK(f.all.size() == 0);
    }
    auto third = f.all.reserve();
    f.start(std::move(first));
    CHECK_THROWS_AS(static_cast<void>(f.all.reserve()), background_overload_error);
    co_await f.all.wait_idle();
    auto again = f.all.reserve();
    CHECK_THROWS_AS(static_cast<void>(f.all.reserve()), background_overload_error);
  });
  CHECK_THROWS_AS(background_tasks(0), belay::misuse_error);
}

TEST_CASE(
    "background: cancelled work is reported by name, its rest does not start, the program goes on [row 450]") {
  fixture f;
  bool went_on = false;
  f.serve([&]() -> task<> {
    f.start(f.piece("a1"), f.piece("a2"));
    co_await belay::sleep_for(500ms);
    f.start(f.piece("b1"));  // has not had its first step
    f.all.cancel();
    co_await f.all.wait_idle();
    CHECK(f.all.size() == 0);
    co_await belay::sleep_for(1s);
    went_on = true;
    f.start(f.piece("late"));
    CHECK(f.all.size() == 0);
  });
  CHECK(went_on);
  CHECK(f.said == words{"start a1"});
  CHECK(f.records.events("background_task_cancelled").size() == 4);
  for (const char* name : {"a1", "a2", "b1", "late"})
    CHECK(f.records.all("\"task\":\"" + std::string(name) + "\"").size() == 1);
}

TEST_CASE(
    "background: a piece that finishes although it was cancelled counts as done, and the next one does not start") {
  fixture f;
  f.serve([&f]() -> task<> {
    f.start(background_work{"deaf",
                            [&f]() -> task<> {
                              co_await belay::shielded(1h, [](fixture& in) -> task<> {
                                co_await belay::sleep_for(1s);
                                in.said.push_back("end deaf");
                              }(f));
                            }},
            f.piece("next"));
    co_await belay::sleep_for(500ms);
    f.all.cancel();
    co_await f.all.wait_idle();
  });
  CHECK(f.said == words{"end deaf"});
  CHECK(f.loop.elapsed() == 1s);
}

TEST_CASE("background: many of one name are told once, with their number") {
  fixture f;
  f.serve([&f]() -> task<> {
    f.start(f.piece("mail"), f.piece("mail"), f.piece("other"));
    CHECK(f.all.unfinished() == words{"mail (2)", "other"});
    co_return;
  });
}

TEST_CASE(
    "background: serving ends only when the work has ended; when the body fails, the work is cancelled") {
  fixture f;
  f.serve([&f]() -> task<> {
    f.start(f.piece("a"));
    co_return;
  });
  CHECK(f.said == words{"start a", "end a"});
  CHECK_THROWS_AS(f.serve([&f]() -> task<> {
    f.start(f.piece("b"));
    co_await belay::sleep_for(500ms);
    throw std::runtime_error("the body");
  }),
                  std::runtime_error);
  CHECK(f.said == words{"start a", "end a", "start b"});
}

TEST_CASE("background: cancelled from outside, the work is cancelled too") {
  fixture f;
  const auto ended = f.loop.run(belay::move_on_after(500ms, f.all.serve_within([&f]() -> task<> {
    f.start(f.piece("a"));
    co_await belay::sleep_for(1h);
  })));
  CHECK_FALSE(ended.has_value());
  CHECK(f.said == words{"start a"});
}

TEST_CASE("background: starting while nothing serves is misuse") {
  fixture f;
  CHECK_THROWS_AS(f.start(f.piece("a")), belay::misuse_error);
}
