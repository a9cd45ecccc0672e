// SPDX-License-Identifier: Apache-2.0
// When there is no memory: spawn and calls of coroutines say so, and everything stays whole. And: nothing piles up.

// Not under sanitizers, which bring their own operator new and keep what was freed.

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BELAY_TESTS_SANITIZED 1
#endif
#endif
#if !defined(BELAY_TESTS_SANITIZED)

#include <belay/core/all.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/on_loop.hpp>
#include <doctest/doctest.h>
#include <malloc.h>

#include <cstdlib>
#include <new>
#include <optional>
#include <thread>

#include "support.hpp"

using namespace core_tests;

namespace {

// -1: never. Otherwise how many more allocations of this thread succeed.
constinit thread_local long allocations_left = -1;

bool allocation_fails() noexcept {
  if (allocations_left < 0) return false;
  if (allocations_left == 0) return true;
  --allocations_left;
  return false;
}

}  // namespace

// Replaced for the whole test binary: as usual, but can be told to fail.
void* operator new(std::size_t size) {
  if (allocation_fails()) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

// Calls `act` with no memory from its n-th allocation on, for n = 0, 1, 2 ... until it succeeds. How often it failed.
int with_little_memory(const std::function<void()>& act) {
  for (int allowed = 0;; ++allowed) {
    REQUIRE(allowed < 100);
    bool failed = false;
    b::detail::frame_pool::trim();  // so that frames need memory
    allocations_left = allowed;
    try {
      act();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    allocations_left = -1;
    if (!failed) return allowed;
  }
}

}  // namespace

TEST_CASE("spawn: without memory, throws std::bad_alloc and leaves the group whole [row 18]") {
  b::testing::test_loop loop;
  int live = 0;
  int ran = 0;
  int failures = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto work = [](const counted&, std::string text, int& count) -> b::task<> {
      co_await b::sleep_for(1s);
      count += text.size() == 100 ? 1 : 100;
    };
    failures = with_little_memory([&] {
      const std::size_t before = g.size();
      bool failed = false;
      try {
        g.spawn(work, counted(live), std::string(100, 'x'), std::ref(ran));
      } catch (const std::bad_alloc&) {
        failed = true;
      }
      allocations_left = -1;  // for the test's own words
      CHECK(g.size() == before + (failed ? 0 : 1));
      if (failed) throw std::bad_alloc();
    });
    CHECK(live >= 1);
    co_return;
  }));
  CHECK(failures >= 3);  // the node, the string, the frame
  CHECK(ran == 1);
  CHECK(live == 0);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "all: without memory for its tasks, throws std::bad_alloc; those that it had taken are destroyed unstarted") {
  b::testing::test_loop loop;
  int live = 0;
  bool ran = false;
  int failures = 0;
  auto work = [](bool& flag, counted) -> b::task<> {
    flag = true;
    co_return;
  };
  for (int allowed = 0; allowed < 50; ++allowed) {
    ran = false;
    bool failed = false;
    loop.run([](auto& make, bool& flag, int& count, int left, bool& no_memory) -> b::task<> {
      b::task<std::tuple<b::unit, b::unit, b::unit>> three =
          b::all(make(flag, counted(count)), make(flag, counted(count)), make(flag, counted(count)));
      b::detail::frame_pool::trim();
      allocations_left = left;
      try {
        co_await std::move(three);
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
      allocations_left = -1;
    }(work, ran, live, allowed, failed));
    CHECK(live == 0);
    CHECK(loop.nothing_left());
    CHECK(ran != failed);
    if (!failed) break;
    ++failures;
  }
  CHECK(failures >= 1);
}

TEST_CASE(
    "task: without memory for its frame, the call throws std::bad_alloc and its arguments are destroyed") {
  b::testing::test_loop loop;
  int live = 0;
  auto work = [](counted) -> b::task<int> { co_return 1; };
  std::optional<b::task<int>> made;
  CHECK(with_little_memory([&] { made.emplace(work(counted(live))); }) == 1);
  CHECK(live == 1);
  made.reset();
  CHECK(live == 0);
}

TEST_CASE("task: a child whose frame gets no memory, is an error of the awaiting task like any other") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::detail::frame_pool::trim();
    allocations_left = 0;
    bool failed = false;
    try {
      co_await gives(1);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    allocations_left = -1;
    CHECK(failed);
    CHECK(co_await gives(2) == 2);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("group: a million short tasks, a hundred at a time, the heap does not grow [row 171]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    const auto run = [&g](int rounds) -> b::task<> {
      for (int round = 0; round < rounds; ++round) {
        for (int i = 0; i < 100; ++i) g.spawn(gives, i);
        co_await b::yield();
      }
    };
    co_await run(10);
    const std::size_t before = ::mallinfo2().uordblks;
    co_await run(10'000);
    CHECK(::mallinfo2().uordblks <= before + 64 * 1024);
  }));
}

TEST_CASE("frame_pool: a thread that ends gives back what it kept, whoever ran the loop there") {
  const auto runs_many = [] {
    std::thread([] {
      b::loop loop;
      loop.run(b::with_group([](b::group& g) -> b::task<> {
        for (int i = 0; i < 5000; ++i) g.spawn(naps, 1ms);
        co_return;
      }));
    }).join();
    b::loop home;
    home.run([]() -> b::task<> {
      b::loop& other = co_await b::use(b::loop_thread());
      co_await b::on_loop(other, []() -> b::task<> {
        co_await b::with_group([](b::group& g) -> b::task<> {
          for (int i = 0; i < 5000; ++i) g.spawn(naps, 1ms);
          co_return;
        });
      });
    }());
  };
  runs_many();
  const std::size_t before = ::mallinfo2().uordblks;
  for (int i = 0; i < 4; ++i) runs_many();
  const std::size_t after = ::mallinfo2().uordblks;
  CHECK(after < before + 1'000'000);
}

TEST_CASE("child: waited for and given up again and again, nothing of that is kept [row 84] [row 194]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> child = g.spawn(gives_after, 1h, 1);
    const auto run = [&child](int times) -> b::task<> {
      auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
      for (int i = 0; i < times; ++i) CHECK(!co_await b::move_on_after(1ms, waits(child)));
    };
    co_await run(100);
    const std::size_t before = ::mallinfo2().uordblks;
    co_await run(20'000);
    CHECK(::mallinfo2().uordblks <= before + 64 * 1024);
    CHECK(co_await child == 1);
  }));
}

TEST_CASE("failure: many failed and timed out operations, the heap does not grow") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto run = [](int times) -> b::task<> {
      for (int i = 0; i < times; ++i) {
        b::outcome<int> how = co_await b::as_outcome(b::with_timeout(1s, fails("x")));
        CHECK(how.failure());
        CHECK(!co_await b::move_on_after(1s, naps(2s)));
      }
    };
    co_await run(100);
    const std::size_t before = ::mallinfo2().uordblks;
    co_await run(20'000);
    CHECK(::mallinfo2().uordblks <= before + 64 * 1024);
  }());
}
#endif
