// SPDX-License-Identifier: Apache-2.0
// Steps: order, half-started programs, failing and hanging closes, what each is told, the record of it.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/service/lifespan.hpp>
#include <belay/testing/everywhere.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

using namespace std::chrono_literals;
using belay::managed;
using belay::task;
using belay::service::lifespan;
using belay::service::resource;
using belay::service::shutdown_report;
using words = std::vector<std::string>;

namespace {

struct close_error : belay::error {
  using error::error;
};
struct open_error : belay::error {
  using error::error;
};

std::string told(const belay::exit_status& how) {
  return how.failed() ? "failed" : how.cancelled() ? "cancelled" : "succeeded";
}

managed<int> thing(words& said, std::string name, int value = 0) {
  said.push_back("open " + name);
  belay::exit_status how = co_yield value;
  co_await belay::yield();
  said.push_back("close " + name + " " + told(how));
}

managed<int> fails_to_close(words& said, std::string name) {
  co_yield 0;
  co_await belay::sleep_for(1s);
  said.push_back("close " + name);
  throw close_error(name + " cannot be closed");
}

managed<int> hangs_in_closing(words& said, std::string name) {
  co_yield 0;
  said.push_back("close " + name);
  co_await belay::sleep_for(1h);
}

managed<int> fails_to_open(std::string text) {
  co_await belay::yield();
  throw open_error(text);
  co_yield 0;
}

// A lifespan in a loop with virtual time.
struct fixture {
  belay::testing::test_loop loop;
  lifespan steps;
  shutdown_report report;
  std::string failed_step;
  words said;

  fixture() {}
  void run(belay::task_function<task<>()> body) { loop.run(steps.run(std::move(body), report, failed_step)); }
  void run() {
    run([this]() -> task<> {
      said.push_back("body");
      co_return;
    });
  }
  // The failure with which it ended, as a task of the loop sees it.
  belay::failure run_to_failure(belay::task_function<task<>()> body) {
    return loop.run([](fixture& f, belay::task_function<task<>()> of) -> task<belay::failure> {
      const belay::outcome<void> how =
          co_await belay::as_outcome(f.steps.run(std::move(of), f.report, f.failed_step));
      co_return how.failure();
    }(*this, std::move(body)));
  }
  [[nodiscard]] words closed() const {
    words names;
    for (const auto& one : report.steps) names.push_back(one.name);
    return names;
  }
  ~fixture() {
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(report.open.empty());
  }
};

}  // namespace

TEST_CASE(
    "lifespan: steps are opened in order before the body, and closed in reverse after it [row 291] [row 297] [row 299]") {
  fixture f;
  auto a = f.steps.manage("a", thing(f.said, "a", 7));
  f.steps.step("once", [&f, a]() -> task<> {
    CHECK(*a == 7);
    f.said.push_back("once");
    co_return;
  });
  auto b = f.steps.manage("b", thing(f.said, "b"));
  f.run([&f, a, b]() -> task<> {
    CHECK(*a == 7);
    CHECK(b.is_open());
    f.said.push_back("body");
    co_return;
  });
  CHECK(f.said == words{"open a", "once", "open b", "body", "close b succeeded", "close a succeeded"});
  CHECK(f.closed() == words{"b", "once", "a"});
  CHECK(f.report.clean());
  CHECK(f.failed_step.empty());
  CHECK_FALSE(a.is_open());
}

TEST_CASE(
    "lifespan: a step that fails to open unwinds those before it, and is named; the body does not run [row 296] [row 316]") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.manage("b", thing(f.said, "b"));
  f.steps.manage("bad", fails_to_open("no such host"));
  f.steps.manage("never", thing(f.said, "never"));
  CHECK_THROWS_WITH_AS(f.run(), "no such host", open_error);
  CHECK(f.said == words{"open a", "open b", "close b failed", "close a failed"});
  CHECK(f.failed_step == "bad");
  CHECK(f.closed() == words{"b", "a"});
  CHECK(f.report.clean());
}

TEST_CASE("lifespan: a step that exceeds its own deadline while it opens has failed [row 295]") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.step("warm up", []() -> task<> {
    co_await belay::with_timeout(3s, []() -> task<> { co_await belay::sleep_for(1h); }());
  });
  CHECK_THROWS_AS(f.run(), belay::timeout_error);
  CHECK(f.failed_step == "warm up");
  CHECK(f.said == words{"open a", "close a failed"});
  CHECK(f.loop.elapsed() == 3s);
}

TEST_CASE("lifespan: a function that throws before it gives a task fails its step") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.step("empty", belay::task_function<task<>()>());
  CHECK_THROWS_AS(f.run(), belay::misuse_error);
  CHECK(f.failed_step == "empty");
  CHECK(f.said == words{"open a", "close a failed"});
}

TEST_CASE("lifespan: a step that fails to close is named, and the others are closed all the same") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.manage("b", fails_to_close(f.said, "b"));
  f.steps.manage("c", thing(f.said, "c"));
  CHECK_THROWS_WITH_AS(f.run(), "b cannot be closed", close_error);
  CHECK(f.said == words{"open a", "open c", "body", "close c succeeded", "close b", "close a failed"});
  CHECK(f.closed() == words{"c", "b", "a"});
  CHECK(f.report.steps[1].trouble == "b cannot be closed");
  CHECK(f.report.steps[0].trouble.empty());
  CHECK(f.report.steps[2].trouble.empty());
  CHECK(f.report.failed);
  CHECK(f.report.overran.empty());
  CHECK_FALSE(f.report.clean());
}

TEST_CASE(
    "lifespan: of two that fail to close both are in the report, the first is the error, the second attached") {
  fixture f;
  f.steps.manage("a", fails_to_close(f.said, "a"));
  f.steps.manage("b", fails_to_close(f.said, "b"));
  const belay::failure how = f.run_to_failure([]() -> task<> { co_return; });
  CHECK(how.message() == "b cannot be closed");
  const auto attached = how.attached();
  REQUIRE(attached.size() == 1);
  CHECK(attached[0].message() == "a cannot be closed");
  CHECK(f.report.steps[0].trouble == "b cannot be closed");
  CHECK(f.report.steps[1].trouble == "a cannot be closed");
}

TEST_CASE(
    "lifespan: a close that hangs is cancelled at the limit and overran; the others are closed [row 87]") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.manage("stuck", hangs_in_closing(f.said, "stuck"));
  CHECK_THROWS_AS(f.run(), belay::timeout_error);
  CHECK(f.said == words{"open a", "body", "close stuck", "close a failed"});
  CHECK(f.loop.elapsed() == 10s);
  CHECK(f.report.overran == words{"stuck"});
  CHECK_FALSE(f.report.failed);
  CHECK(f.report.steps[0].took == 10s);
  CHECK(f.report.steps[1].took == 0s);
  CHECK_FALSE(f.report.clean());
}

TEST_CASE("lifespan: a close that fails with its own timeout has failed, not overrun") {
  fixture f;
  f.steps.manage("flush", []() -> managed<int> {
    co_yield 0;
    co_await belay::with_timeout(1s, []() -> task<> { co_await belay::sleep_for(1h); }());
  }());
  CHECK_THROWS_AS(f.run(), belay::timeout_error);
  CHECK(f.report.failed);
  CHECK(f.report.overran.empty());
}

TEST_CASE(
    "lifespan: an error of the body is kept, with its cause; a failing close is attached and recorded as itself") {
  fixture f;
  f.steps.manage("a", fails_to_close(f.said, "a"));
  const belay::failure how = f.run_to_failure([]() -> task<> {
    try {
      throw std::out_of_range("the cause");
    } catch (const std::out_of_range&) {
      throw open_error("the body");
    }
    co_return;
  });
  CHECK(how.message() == "the body");
  CHECK(how.cause().message() == "the cause");
  CHECK(how.find<close_error>() != nullptr);
  REQUIRE(f.report.steps.size() == 1);
  CHECK(f.report.steps[0].trouble == "a cannot be closed");
  CHECK(f.failed_step.empty());
}

TEST_CASE("lifespan: cancelled while a step opens: what is open is closed and told so; no step has failed") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.step("slow", [&f]() -> task<> {
    co_await belay::sleep_for(1h);
    f.said.push_back("never");
  });
  const auto ended = f.loop.run(belay::move_on_after(2s, f.steps.run(
                                                             [&f]() -> task<> {
                                                               f.said.push_back("never");
                                                               co_return;
                                                             },
                                                             f.report, f.failed_step)));
  CHECK_FALSE(ended.has_value());
  CHECK(f.said == words{"open a", "close a cancelled"});
  CHECK(f.failed_step.empty());
  CHECK(f.report.clean());
  CHECK(f.closed() == words{"a"});
}

TEST_CASE(
    "lifespan: cancelled while a step opens, and another fails to close: that is the error, and no step failed to open") {
  fixture f;
  f.steps.manage("a", fails_to_close(f.said, "a"));
  f.steps.step("slow", []() -> task<> { co_await belay::sleep_for(1h); });
  CHECK_THROWS_AS(f.loop.run(belay::move_on_after(
                      2s, f.steps.run([]() -> task<> { co_return; }, f.report, f.failed_step))),
                  close_error);
  CHECK(f.failed_step.empty());
  CHECK(f.report.failed);
}

TEST_CASE("lifespan: cancelled in the body: every step is closed, shielded, and told so") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.steps.manage("b", thing(f.said, "b"));
  const auto ended = f.loop.run(belay::move_on_after(
      2s, f.steps.run([]() -> task<> { co_await belay::sleep_for(1h); }, f.report, f.failed_step)));
  CHECK_FALSE(ended.has_value());
  CHECK(f.said == words{"open a", "open b", "close b cancelled", "close a cancelled"});
  CHECK(f.report.clean());
}

TEST_CASE(
    "lifespan: a resource used before it is opened or after it is closed is misuse that names its step [row 313]") {
  fixture f;
  auto a = f.steps.manage("database", thing(f.said, "a"));
  CHECK_THROWS_WITH_AS(static_cast<void>(*a), doctest::Contains("'database'"), belay::misuse_error);
  f.run();
  CHECK_THROWS_WITH_AS(static_cast<void>(*a), doctest::Contains("'database'"), belay::misuse_error);
}

TEST_CASE("lifespan: a step that is added after the start is misuse, and leaves the steps as they are") {
  fixture f;
  f.steps.step("adds another", [&f]() -> task<> {
    f.steps.manage("late", thing(f.said, "late"));
    co_return;
  });
  CHECK_THROWS_WITH_AS(f.run(), doctest::Contains("'late'"), belay::misuse_error);
  CHECK(f.failed_step == "adds another");
}

TEST_CASE("lifespan: it runs once") {
  fixture f;
  f.steps.manage("a", thing(f.said, "a"));
  f.run();
  CHECK_THROWS_AS(f.run(), belay::misuse_error);
}

TEST_CASE("lifespan: cancelled or failed at any await, lets go of everything it has opened") {
  struct held {
    int& count;
    explicit held(int& of) : count(of) { ++count; }
    ~held() { --count; }
  };
  const auto thing_with_guard = [](int& count) -> managed<int> {
    co_await belay::yield();
    const held guard(count);
    co_yield 1;
    co_await belay::sleep_for(1s);
  };
  const auto simple_thing = [](int& count) -> managed<int> {
    const held guard(count);
    co_yield 1;
  };
  const belay::testing::report found = belay::testing::everywhere([&](belay::testing::stage& s) -> task<> {
    int& open = s.make<int>(0);
    s.expect("nothing is open", [&open] { return open == 0; });
    auto& report = s.make<shutdown_report>();
    auto& failed_step = s.make<std::string>();
    auto& steps = s.make<lifespan>();
    steps.manage("a", thing_with_guard(open));
    steps.step("b", []() -> task<> { co_await belay::yield(); });
    steps.manage("c", simple_thing(open));
    co_await steps.run([]() -> task<> { co_await belay::sleep_for(1s); }, report, failed_step);
  });
  CHECK_MESSAGE(found.ok(), found.text());
}
