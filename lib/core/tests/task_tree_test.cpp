// SPDX-License-Identifier: Apache-2.0
// The list of live tasks: who waits where, for what, since when, until when, and who asked it to stop.

#include <belay/core/all.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> holds(b::semaphore& pool, b::event& until) {
  const b::permit mine = co_await pool.acquire();
  co_await until.wait();
}
b::task<> polls(b::duration every) {
  for (;;) co_await b::sleep_for(every);
}
b::task<> serves(b::semaphore& pool, b::event& until) { co_await holds(pool, until); }

}  // namespace

TEST_CASE("task_tree: each live task with name, place, what it waits for and for how long") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::semaphore pool(1, "pool");
    b::event until("the end");
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(serves, std::ref(pool), std::ref(until));
      g.spawn(serves, std::ref(pool), std::ref(until));
      g.spawn(polls, 1s);
      co_await b::with_timeout(1h, naps(5500ms));
      const std::vector<b::task_info> all = b::live_tasks();
      REQUIRE(all.size() == 4);
      CHECK(all[0].depth == 0);
      CHECK(all[0].state == b::task_state::running);
      for (std::size_t i = 1; i < 4; ++i) CHECK(all[i].depth == 1);

      CHECK(all[1].name == "serves(b::semaphore &, b::event &)");
      CHECK(all[1].waits_for == "event 'the end'");
      CHECK(all[1].state == b::task_state::waiting);
      CHECK(all[1].stack.size() == 2);
      CHECK(std::string(all[1].stack[0].function_name()).find("holds") != std::string::npos);
      CHECK(all[1].waiting > 5s);
      CHECK(all[1].waiting < 6s);
      CHECK(all[1].deadline == b::time_point::max());
      CHECK(all[1].cancelled_by.empty());
      CHECK(all[2].waits_for == "semaphore 'pool'");
      CHECK(all[3].name == "polls(b::duration)");
      CHECK(all[3].waits_for == "a timer");
      CHECK(all[3].waiting < 1s);

      const std::string text = b::describe(all);
      CHECK(text.find("  serves(b::semaphore &, b::event &), spawned at task_tree_test.cpp:") !=
            std::string::npos);
      CHECK(text.find(": waits for semaphore 'pool' since 5") != std::string::npos);
      CHECK(text.find("      at task_tree_test.cpp:") != std::string::npos);
      const std::string json = b::to_json(all);
      CHECK(
          json.find(
              "{\"name\":\"serves(b::semaphore &, b::event &)\",\"function\":\"serves(b::semaphore &, b::event &)\",\"state\":\"waiting\",\"waits_for\":\"event 'the "
              "end'\"") != std::string::npos);
      g.cancel();
    });
  }());
}

TEST_CASE("task_tree: limits, and who asked a task to stop that has not answered") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([]() -> b::task<> { co_await b::with_timeout(10s, b::with_timeout(1h, naps(2h))); });
      b::child<void> stubborn = g.spawn([]() -> b::task<> {
        co_await b::finally([]() -> b::task<> { co_await naps(1h); },
                            []() -> b::task<> { co_await naps(5s); });
      });
      co_await naps(1s);
      stubborn.cancel(b::cancel_reason::overload);
      co_await naps(1s);
      const std::vector<b::task_info> all = b::live_tasks();
      REQUIRE(all.size() == 3);
      CHECK(all[1].deadline - b::now() == 8s);
      CHECK(b::describe(all).find("limit in 8000 ms") != std::string::npos);
      // It is in its cleanup, which is shielded: no cancellation acts there, and its limit is that of cleanups.
      CHECK(all[2].cancelled_by.empty());
      CHECK(all[2].deadline - b::now() == 9s);
      g.cancel();
      CHECK(!b::live_tasks()[1].cancelled_by.empty());
    });
  }());
}

TEST_CASE("task_tree: tasks of tasks stand below them; those that have not begun are there") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto parent = []() -> b::task<> { co_await b::all(naps(1s), naps(2s)); };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(parent);
      std::vector<b::task_info> all = b::live_tasks();
      REQUIRE(all.size() == 2);
      CHECK(all[1].state == b::task_state::not_begun);
      co_await b::yield();
      co_await b::yield();
      all = b::live_tasks();
      REQUIRE(all.size() == 4);
      CHECK(all[1].state == b::task_state::joining);
      CHECK(all[1].waits_for == "its tasks to end");
      CHECK(all[2].depth == 2);
      CHECK(all[3].depth == 2);
    });
  }());
  CHECK(b::live_tasks().empty());
}

TEST_CASE("task_tree: a deadlock says who waited for what") {
  b::testing::test_loop loop;
  try {
    loop.run([]() -> b::task<> {
      b::event never("godot");
      co_await waits_for(never);
    }());
    FAIL("it ended");
  } catch (const b::deadlock_error& e) {
    CHECK(std::string(e.what()).find("waits for event 'godot'") != std::string::npos);
    CHECK(std::string(e.what()).find("support.hpp:") != std::string::npos);
  }
}

TEST_CASE("task_tree: JSON is JSON, whatever the names hold") {
  CHECK(b::detail::json_string("a\"b\\c\n\x01") == R"("a\"b\\c\n\u0001")");
  CHECK(b::detail::json_string("\xc3\xa4\xff\xc0\x80") == "\"\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(b::detail::json_string("\xed\xa0\x80") ==
        "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");  // a lone surrogate
  CHECK(b::detail::json_string("\xf0\x9f\x98\x80\xe2") == "\"\xf0\x9f\x98\x80\xef\xbf\xbd\"");
}

TEST_CASE("task_tree: functions without the noise") {
  CHECK(b::detail::function_text("belay::task<> purge(cache &)") == "purge(cache &)");
  CHECK(b::detail::function_text(
            "task<T> belay::with_timeout(duration, task<T>, std::source_location) [T = int]") ==
        "belay::with_timeout(duration, task<T>, std::source_location)");
  CHECK(b::detail::function_text("auto (anonymous namespace)::f()::(anonymous class)::operator()() const") ==
        "f()::lambda::operator()() const");
  CHECK(b::detail::function_text("int main()") == "main()");
  CHECK(b::detail::function_text("task<void> d::kept<int, b::task<int> (*)(), int *>::work() [T = int]") ==
        "d::kept<int, b::task<int> (*)(), int *>::work()");
  CHECK(b::detail::function_text("bool n::operator<(n::a const &, n::a const &)") ==
        "n::operator<(n::a const &, n::a const &)");
}

TEST_CASE("task_tree: deep nesting and deep stacks are cut in the text, which says what it left out") {
  b::testing::test_loop loop;
  struct deep {
    static b::task<> groups(int n) {
      co_await b::with_group([n](b::group& g) -> b::task<> {
        if (n > 1) g.spawn(groups, n - 1);
        co_await b::sleep_for(1h);
      });
    }
    static b::task<> frames(int n) {
      if (n == 1) {
        co_await b::sleep_for(1h);
      } else {
        co_await frames(n - 1);
      }
    }
  };
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.spawn(deep::frames, 1000);
    co_await b::yield();
    const std::vector<b::task_info> one = b::live_tasks();
    REQUIRE(one.size() == 2);
    CHECK(one[1].stack.size() == 256);
    CHECK(one[1].stack_left_out == 1000 - 256);
    CHECK(one[1].name.find("frames(int)") != std::string::npos);
    CHECK(b::describe(one).find("and 960 outer frames\n") != std::string::npos);
    CHECK(b::to_json(one).find("\"stack_left_out\":744,") != std::string::npos);

    g.spawn(deep::groups, 4000);
    co_await b::sleep_for(1s);
    const std::vector<b::task_info> all = b::live_tasks();
    CHECK(all.size() == 4002);
    const std::string text = b::describe(all);
    CHECK(text.size() < 1'100'000);
    CHECK(text.find("(level 41) ") != std::string::npos);

    std::vector<b::task_info> many(50'000, one[1]);
    const std::string cut = b::describe(many);
    CHECK(cut.size() < 1'100'000);
    CHECK(cut.ends_with(" more tasks\n"));
    g.cancel();
  }));
}

TEST_CASE("task_tree: a task that another loop or a thread has here is called after its function") {
  b::testing::test_loop loop;
  loop.run([](b::loop& here) -> b::task<> {
    b::event up("up");
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
        co_await b::to_thread([&] { b::spawn_on(here, polls, b::duration(5s)).get(); });
      });
      std::vector<b::task_info> all;
      while (all.size() != 3 || all[2].state != b::task_state::waiting) {
        co_await b::yield();
        all = b::live_tasks();
      }
      bool found = false;
      for (const b::task_info& one : all) {
        found |= one.name == "polls(b::duration)";
        CHECK(one.name.find("work()") == std::string::npos);
      }
      CHECK(found);
      g.cancel();
    });
  }(loop.loop()));
}
