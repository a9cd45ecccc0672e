// SPDX-License-Identifier: Apache-2.0
// The list of live tasks: who waits where, for what, since when, until when, and who asked it to stop.

#include <belay/core/all.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/task_tree.hpp>
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
}
