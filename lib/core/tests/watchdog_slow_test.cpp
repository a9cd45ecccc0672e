// SPDX-License-Identifier: Apache-2.0
// The watchdog of the loop. Real time is the point here.

#include <belay/core/diagnostic.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/run.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>
#include <atomic>
#include <mutex>
#include <thread>

#include "support.hpp"

using namespace core_tests;

namespace {

// What the watchdog's thread says, readable by the loop's.
class heard {
 public:
  // Only what went on in a function of this name.
  explicit heard(std::string_view only = "block") : only_(only) {}
  b::diagnostic_sink sink() {
    return [this](const b::diagnostic& what) {
      // On a busy machine anything may take long; this is about what is meant to.
      if (!what.places.empty() &&
          std::string_view(what.places[0].function_name()).find(only_) == std::string::npos)
        return;
      const std::lock_guard lock(mutex_);
      all_.push_back(what);
      threads_.push_back(std::this_thread::get_id());
    };
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return all_.size();
  }
  [[nodiscard]] b::diagnostic at(std::size_t i) const {
    const std::lock_guard lock(mutex_);
    return all_.at(i);
  }
  [[nodiscard]] std::thread::id thread(std::size_t i) const {
    const std::lock_guard lock(mutex_);
    return threads_.at(i);
  }

 private:
  const std::string only_;
  mutable std::mutex mutex_;
  std::vector<b::diagnostic> all_;
  std::vector<std::thread::id> threads_;
};

b::loop_options guarded(heard& by, b::duration limit) {
  return {.on_diagnostic = by.sink(), .blocked_limit = limit};
}

bool eventually(const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!what()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// Blocks the loop until it has been told of.
b::task<> blocks(heard& until) {
  co_await b::yield();
  const std::size_t before = until.size();
  CHECK(eventually([&] { return until.size() > before; }));
}

bool says(const std::string& text, std::string_view part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE(
    "watchdog: a task that blocks the loop is told while it blocks, with name and places, and when it has ended") {
  heard all;
  b::loop loop(guarded(all, 30ms));
  loop.run([](heard& by) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      co_await g.spawn(blocks, std::ref(by)).named("number cruncher", 7);
      while (by.size() < 2) co_await b::sleep_for(2ms);
    });
  }(all));
  REQUIRE(all.size() == 2);
  const b::diagnostic during = all.at(0);
  CHECK(during.kind == b::diagnostic_kind::loop_blocked);
  CHECK(!during.over);
  CHECK(during.lasted >= 30ms);
  CHECK(during.task == "number cruncher 7");
  CHECK(says(during.message, "the loop is blocked, for "));
  CHECK(says(during.message, "by task 'number cruncher 7' (spawned at watchdog_slow_test.cpp:"));
  CHECK(says(during.message, "that went on at watchdog_slow_test.cpp:"));
  CHECK(says(during.message, "it waits for something that is no await"));
  REQUIRE(during.places.size() == 1);
  CHECK(std::string(during.places[0].function_name()).find("blocks") != std::string::npos);
  CHECK(during.spawned_at.line() != 0);
  CHECK(all.thread(0) != std::this_thread::get_id());
  const b::diagnostic after = all.at(1);
  CHECK(after.over);
  CHECK(after.lasted >= during.lasted);
  CHECK(after.task == "number cruncher 7");
  CHECK(says(after.message, "the loop was blocked by task 'number cruncher 7'"));
}

TEST_CASE("watchdog: one block is one report, however long it takes; the next block is another one") {
  heard all;
  b::loop loop(guarded(all, 10ms));
  loop.run([](heard& by) -> b::task<> {
    co_await blocks(by);
    std::this_thread::sleep_for(100ms);  // it goes on
    CHECK(by.size() == 1);
    while (by.size() < 2) co_await b::sleep_for(1ms);
    co_await blocks(by);
    while (by.size() < 4) co_await b::sleep_for(1ms);
  }(all));
  REQUIRE(all.size() == 4);
  CHECK(!all.at(0).over);
  CHECK(all.at(1).over);
  CHECK(all.at(1).lasted >= 100ms);
  CHECK(!all.at(2).over);
  CHECK(all.at(3).over);
}

TEST_CASE("watchdog: a loop that ends with the block, tells its end too") {
  heard all;
  b::loop loop(guarded(all, 10ms));
  loop.run(blocks(all));
  REQUIRE(all.size() == 2);
  CHECK(all.at(1).over);
}

TEST_CASE("watchdog: a posted function that blocks is told as such") {
  heard all;
  b::loop loop(guarded(all, 10ms));
  loop.run([](heard& by) -> b::task<> {
    b::event done("posted");
    b::loop::current()->post([&] {
      CHECK(eventually([&] { return by.size() == 1; }));
      done.set();
    });
    co_await done.wait();
  }(all));
  REQUIRE(all.size() == 2);
  CHECK(says(all.at(0).message, "by a function that was posted to it"));
  CHECK(all.at(0).task.empty());
  CHECK(all.at(0).places.empty());
}

TEST_CASE("watchdog: a loop that sleeps, waits for a thread, or is busy with short turns, is not blocked") {
  heard all("");
  b::loop loop(guarded(all, 400ms));
  loop.run([]() -> b::task<> {
    co_await b::sleep_for(900ms);  // long enough for the watchdog to go to sleep itself
    co_await b::to_thread([] { std::this_thread::sleep_for(900ms); });
    const b::time_point end = b::now() + 900ms;
    while (b::now() < end) co_await b::yield();
    co_await b::sleep_for(2s);
  }());
  for (std::size_t i = 0; i < all.size(); ++i) CHECK_MESSAGE(false, all.at(i).message);
}

TEST_CASE("watchdog: after a long rest of the loop it is awake again in time") {
  heard all;
  b::loop loop(guarded(all, 20ms));
  loop.run([](heard& by) -> b::task<> {
    for (int i = 0; i < 3; ++i) {
      co_await b::sleep_for(150ms);  // more than eight looks
      co_await blocks(by);
      while (by.size() % 2 != 0) co_await b::sleep_for(1ms);
    }
  }(all));
  CHECK(all.size() == 6);
}

TEST_CASE("watchdog: many tasks, names that change, and blocks among them, without a race") {
  heard all("");
  b::loop loop(guarded(all, 5ms));
  loop.run([](heard& by) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (std::uint64_t i = 0; i < 200; ++i) {
        const auto turns = [](heard& of, std::uint64_t number) -> b::task<> {
          for (int turn = 0; turn < 200; ++turn) co_await b::yield();
          if (number % 50 == 0) {
            const std::size_t before = of.size();
            CHECK(eventually([&] { return of.size() > before; }));
          }
        };
        auto one = g.spawn(turns, std::ref(by), i);
        if (i % 2 == 0) one.named("worker", i);
      }
      co_return;
    });
  }(all));
  CHECK(all.size() >= 4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (const std::string task = all.at(i).task; task.find("worker") == 0)
      CHECK(std::stoi(task.substr(7)) % 2 == 0);
  }
}

TEST_CASE("watchdog: a sink that throws does not end the program; nobody watches a loop that did not ask") {
  const process_end throwing = in_process([] {
    b::loop own({.on_diagnostic = [](const b::diagnostic&) { throw boom("sink"); }, .blocked_limit = 5ms});
    own.run([]() -> b::task<> {
      std::this_thread::sleep_for(100ms);
      co_return;
    }());
    return 3;
  });
  CHECK(throwing.code == 3);
  CHECK(throwing.said.find("the diagnostic sink threw") != std::string::npos);
  const auto blocks_long = []() -> b::task<> {
    std::this_thread::sleep_for(250ms);
    co_return;
  };
  const process_end bare = in_process([&] {
    b::loop own;
    own.run(blocks_long());
    return 0;
  });
  CHECK(bare.said.empty());
}

TEST_CASE("watchdog: a loop with a schedule seed is watched as well") {
  heard all;
  b::loop_options options = guarded(all, 10ms);
  options.schedule_seed = 7;
  b::loop loop(std::move(options));
  loop.run(blocks(all));
  CHECK(all.size() >= 1);
  CHECK(all.at(0).kind == b::diagnostic_kind::loop_blocked);
}

TEST_CASE("watchdog: a sink that asks the loop is answered, at the end of the run, too") {
  b::loop* asked = nullptr;
  std::atomic<int> answers = 0;
  std::atomic<bool> begun = false;
  b::loop loop({.on_diagnostic =
                    [&](const b::diagnostic& what) {
                      if (what.over) return;
                      begun = true;
                      try {
                        b::spawn_on(*asked, []() -> b::task<> { co_return; }).get();
                      } catch (const b::error&) {
                        ++answers;  // cancelled, or refused: the run was at its end
                        return;
                      }
                      ++answers;
                    },
                .blocked_limit = 5ms});
  asked = &loop;
  loop.run([](std::atomic<bool>& told) -> b::task<> {
    while (!told) std::this_thread::sleep_for(1ms);
    co_return;
  }(begun));
  CHECK(answers >= 1);
}

TEST_CASE("run: a blocked loop is told on stderr from 100 ms on, unless that is turned off") {
  const auto blocks_long = []() -> b::task<> {
    co_await b::sleep_for(1ms);
    std::this_thread::sleep_for(400ms);
  };
  const process_end on = in_process([&] { return b::run(blocks_long()); });
  CHECK(on.code == 0);
  CHECK(on.said.find("belay: the loop is blocked, for 1") == 0);
  CHECK(on.said.find("belay: the loop was blocked by a task that went on at watchdog_slow_test.cpp:") !=
        std::string::npos);
  const process_end off =
      in_process([&] { return b::run(blocks_long(), {.loop = {.blocked_limit = b::duration::max()}}); });
  CHECK(off.said.empty());
}
