// SPDX-License-Identifier: Apache-2.0
// Shared mutex: readers together, writers alone, neither starved, nothing lost when waiters are cancelled.

#include <belay/core/shared_mutex.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> reads(b::shared_mutex& m, b::duration length, trail& out, std::string name) {
  const b::shared_guard mine = co_await m.lock_shared();
  out.push_back(name);
  co_await b::sleep_for(length);
}
b::task<> writes(b::shared_mutex& m, b::duration length, trail& out, std::string name) {
  const b::exclusive_guard mine = co_await m.lock();
  CHECK(m.readers() == 0);
  out.push_back(name);
  co_await b::sleep_for(length);
}

}  // namespace

TEST_CASE("shared_mutex: readers go together, a writer alone") {
  b::testing::test_loop loop;
  trail out;
  b::shared_mutex m("m");
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char* name : {"r1", "r2", "r3"})
      g.spawn(reads, std::ref(m), 1s, std::ref(out), std::string(name));
    g.spawn(writes, std::ref(m), 1s, std::ref(out), std::string("w"));
    co_await b::sleep_for(500ms);
    CHECK(m.readers() == 3);
    CHECK(!m.locked());
    CHECK(m.waiting() == 1);
    co_await b::sleep_for(1s);
    CHECK(m.locked());
    CHECK(m.readers() == 0);
  }));
  CHECK(out == trail{"r1", "r2", "r3", "w"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("shared_mutex: a writer is not starved by readers who keep coming, nor they by writers") {
  b::testing::test_loop loop;
  trail out;
  b::shared_mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(reads, std::ref(m), 2s, std::ref(out), std::string("r1"));
    co_await b::sleep_for(1s);
    g.spawn(writes, std::ref(m), 1s, std::ref(out), std::string("w1"));
    co_await b::yield();
    g.spawn(reads, std::ref(m), 1s, std::ref(out), std::string("r2"));
    g.spawn(reads, std::ref(m), 1s, std::ref(out), std::string("r3"));
    g.spawn(writes, std::ref(m), 1s, std::ref(out), std::string("w2"));
    g.spawn(reads, std::ref(m), 1s, std::ref(out), std::string("r4"));
    co_await b::sleep_for(500ms);
    CHECK(m.waiting() == 5);
  }));
  CHECK(out == trail{"r1", "w1", "r2", "r3", "w2", "r4"});
  CHECK(loop.elapsed() == 6s);
}

TEST_CASE(
    "shared_mutex: a waiting writer that is cancelled lets the readers behind it go in [row 220] [row 223]") {
  b::testing::test_loop loop;
  trail out;
  b::shared_mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(reads, std::ref(m), 5s, std::ref(out), std::string("r1"));
    b::child<void> writer = g.spawn(writes, std::ref(m), 1s, std::ref(out), std::string("w"));
    g.spawn(reads, std::ref(m), 1s, std::ref(out), std::string("r2"));
    co_await b::sleep_for(1s);
    writer.cancel();
    co_await b::sleep_for(1s);
    CHECK(out == trail{"r1", "r2"});
  }));
  CHECK(loop.elapsed() == 5s);
  CHECK(m.readers() == 0);
}

TEST_CASE("shared_mutex: whoever is cancelled around an unlock, the line goes on [row 220]") {
  for (unsigned before = 0; before < 16; ++before) {
    for (unsigned after = 0; after < 16; ++after) {
      b::testing::test_loop loop;
      trail out;
      b::shared_mutex m;
      loop.run(b::with_group([&](b::group& g) -> b::task<> {
        b::exclusive_guard mine = co_await m.lock();
        std::vector<b::child<void>> waiters;
        waiters.push_back(g.spawn(writes, std::ref(m), 0s, std::ref(out), std::string("0")));
        waiters.push_back(g.spawn(reads, std::ref(m), 0s, std::ref(out), std::string("1")));
        waiters.push_back(g.spawn(writes, std::ref(m), 0s, std::ref(out), std::string("2")));
        waiters.push_back(g.spawn(reads, std::ref(m), 0s, std::ref(out), std::string("3")));
        co_await b::yield();
        for (unsigned i = 0; i < 4; ++i)
          if ((before >> i & 1) != 0) waiters[i].cancel();
        mine.unlock();
        for (unsigned i = 0; i < 4; ++i)
          if ((after >> i & 1) != 0) waiters[i].cancel();
      }));
      for (unsigned i = 0; i < 4; ++i) {
        if (((before | after) >> i & 1) == 0)
          CHECK(std::count(out.begin(), out.end(), std::to_string(i)) == 1);
      }
      CHECK(!m.locked());
      CHECK(m.readers() == 0);
      CHECK(m.waiting() == 0);
    }
  }
}

TEST_CASE("shared_mutex: cancelled before the lock, it is not taken [row 38] [row 53]") {
  b::testing::test_loop loop;
  for (const bool alone : {true, false}) {
    trail out;
    b::shared_mutex m;
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      g.cancel();
      co_await (alone ? writes : reads)(m, 1s, out, "never");
    }));
    CHECK(out.empty());
    CHECK(!m.locked());
    CHECK(m.readers() == 0);
  }
}

TEST_CASE("shared_mutex: a task that would wait for itself gets a misuse_error") {
  b::testing::test_loop loop;
  b::shared_mutex m("cache");
  auto says = [](b::failure why) {
    CHECK(why.find<b::misuse_error>() != nullptr);
    CHECK(why.message().find("shared_mutex 'cache'") != std::string::npos);
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    trail out;
    {
      const b::exclusive_guard mine = co_await m.lock();
      says((co_await b::as_outcome(writes(m, 0s, out, "w"))).failure());
      says((co_await b::as_outcome(reads(m, 0s, out, "r"))).failure());
    }
    {
      b::shared_guard first = co_await m.lock_shared();
      b::shared_guard mine = std::move(first);
      says((co_await b::as_outcome(writes(m, 0s, out, "upgrade"))).failure());
      co_await reads(m, 0s, out, "again");  // nobody waits: it need not wait either
      g.spawn(writes, std::ref(m), 0s, std::ref(out), std::string("other"));
      co_await b::yield();
      says((co_await b::as_outcome(reads(m, 0s, out, "behind a writer"))).failure());
      CHECK(m.readers() == 1);
      CHECK(m.waiting() == 1);
    }
    co_await b::sleep_for(1s);
    CHECK(out == trail{"again", "other"});
  }));
  CHECK(!m.locked());
  CHECK(m.readers() == 0);
}

TEST_CASE("shared_mutex: try_lock and try_lock_shared never wait and never overtake") {
  b::testing::test_loop loop;
  trail out;
  b::shared_mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    {
      b::shared_guard one = m.try_lock_shared();
      b::shared_guard two = m.try_lock_shared();
      CHECK((one && two));
      CHECK(!m.try_lock());
      one = std::move(two);
      CHECK(m.readers() == 1);
      g.spawn(writes, std::ref(m), 1s, std::ref(out), std::string("w"));
      co_await b::yield();
      CHECK(!m.try_lock_shared());
    }
    co_await b::sleep_for(2s);
    b::exclusive_guard alone = m.try_lock();
    CHECK(static_cast<bool>(alone));
    CHECK(!m.try_lock_shared());
    b::exclusive_guard moved = std::move(alone);
    alone = std::move(moved);
    alone.unlock();
    CHECK(static_cast<bool>(m.try_lock_shared()));
  }));
  CHECK(!m.locked());
  CHECK(m.readers() == 0);
  CHECK_THROWS_AS(static_cast<void>(m.try_lock()), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(m.try_lock_shared()), b::misuse_error);
}
