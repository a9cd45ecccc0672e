// SPDX-License-Identifier: Apache-2.0
// Condition: the mutex is held again however the wait ends, and no notification is lost.

#include <belay/core/condition.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

struct place {
  b::mutex m{"m"};
  b::condition changed{"changed"};
  int items = 0;
  trail out;
};

// Says whether the mutex is held when its frame is unwound.
class holds_still {
 public:
  holds_still(const b::mutex_guard& guard, place& in, std::string name)
      : guard_(&guard), in_(&in), name_(std::move(name)) {}
  holds_still(const holds_still&) = delete;
  holds_still& operator=(const holds_still&) = delete;
  ~holds_still() { in_->out.push_back(name_ + (*guard_ && in_->m.locked() ? " holds" : " does not hold")); }

 private:
  const b::mutex_guard* guard_;
  place* in_;
  std::string name_;
};

b::task<> waits(place& in, std::string name) {
  b::mutex_guard mine = co_await in.m.lock();
  co_await in.changed.wait(mine);
  CHECK(static_cast<bool>(mine));
  in.out.push_back(name);
}
b::task<> takes(place& in, std::string name) {
  b::mutex_guard mine = co_await in.m.lock();
  const holds_still at_end(mine, in, name);
  co_await in.changed.wait(mine, [&in] { return in.items > 0; });
  --in.items;
  in.out.push_back(name);
}

}  // namespace

TEST_CASE("condition: the mutex is free while a task waits, and held when it goes on, in order") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char* name : {"a", "b", "c"}) g.spawn(waits, std::ref(p), std::string(name));
    co_await b::sleep_for(1s);
    CHECK(!p.m.locked());
    CHECK(p.changed.waiting() == 3);
    {
      const b::mutex_guard mine = co_await p.m.lock();
      p.changed.notify_one();
      co_await b::sleep_for(1s);
      CHECK(p.out.empty());  // it waits for the mutex
    }
    co_await b::yield();
    CHECK(p.out == trail{"a"});
    p.changed.notify_all();  // without the mutex
  }));
  CHECK(p.out == trail{"a", "b", "c"});
  CHECK(!p.m.locked());
}

TEST_CASE("condition: with nobody waiting, a notification does nothing") {
  b::testing::test_loop loop;
  place p;
  p.changed.notify_one();
  p.changed.notify_all();
  loop.run([](place& in) -> b::task<> { CHECK(!co_await b::move_on_after(1s, waits(in, "a"))); }(p));
  CHECK(!p.m.locked());
}

TEST_CASE("condition: a wait that is cancelled takes the mutex again before it unwinds [row 225]") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> waiter = g.spawn(takes, std::ref(p), std::string("waiter"));
    co_await b::yield();
    {
      const b::mutex_guard mine = co_await p.m.lock();
      waiter.cancel();
      waiter.cancel();
      co_await b::sleep_for(2s);
      CHECK(!waiter.done());  // shielded: it waits for the mutex
      CHECK(p.out.empty());
    }
    co_await b::yield();
    CHECK(waiter.done());
    CHECK(p.out == trail{"waiter holds"});
  }));
  CHECK(!p.m.locked());
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("condition: cancelled while the mutex is free, it unwinds at once with the mutex [row 225]") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> waiter = g.spawn(takes, std::ref(p), std::string("waiter"));
    co_await b::yield();
    waiter.cancel();
    CHECK(p.m.locked());
    co_await b::yield();
    CHECK(p.out == trail{"waiter holds"});
  }));
  CHECK(!p.m.locked());
}

TEST_CASE("condition: a wait that times out is a timeout_error, and the caller holds the lock [row 226]") {
  b::testing::test_loop loop;
  place p;
  loop.run([](place& in) -> b::task<> {
    b::mutex_guard mine = co_await in.m.lock();
    try {
      co_await b::with_timeout(1s, in.changed.wait(mine, [&in] { return in.items > 0; }));
      FAIL("no error");
    } catch (const b::timeout_error&) {
      CHECK(static_cast<bool>(mine));
      CHECK(in.m.locked());
    }
    CHECK(!co_await b::move_on_after(1s, in.changed.wait(mine, [&in] { return in.items > 0; })));
    CHECK(static_cast<bool>(mine));
  }(p));
  CHECK(!p.m.locked());
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("condition: cancelled before the wait, the mutex is not given up [row 38]") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::mutex_guard mine = co_await p.m.lock();
    g.spawn(waits, std::ref(p), std::string("other"));
    co_await b::yield();
    g.cancel();
    const holds_still at_end(mine, p, "body");
    co_await p.changed.wait(mine);
  }));
  CHECK(p.out == trail{"body holds"});
  CHECK(!p.m.locked());
}

TEST_CASE(
    "condition: known bug CPython gh-112202, a notification that went to a cancelled waiter goes to the next") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(takes, std::ref(p), std::string("first"));
    g.spawn(takes, std::ref(p), std::string("second"));
    co_await b::yield();
    {
      const b::mutex_guard mine = co_await p.m.lock();
      ++p.items;
      p.changed.notify_one();
      co_await b::yield();
      first.cancel();  // notified, and waiting for the mutex
      CHECK(p.changed.waiting() == 0);
    }
    co_await b::sleep_for(1s);
  }));
  CHECK(p.out == trail{"first holds", "second", "second holds"});
  CHECK(p.items == 0);
}

TEST_CASE("condition: notified, with the mutex in hand again, and cancelled: the notification wins") {
  b::testing::test_loop loop;
  place p;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(takes, std::ref(p), std::string("first"));
    co_await b::yield();
    ++p.items;
    p.changed.notify_one();
    first.cancel();
  }));
  CHECK(p.out == trail{"first", "first holds"});
  CHECK(p.items == 0);
}

TEST_CASE(
    "condition: known bug CPython bpo-32841, a cancel while the mutex is taken again neither spins nor is lost") {
  b::testing::test_loop loop;
  place p;
  bool went_on = false;
  auto notified = [](place& in, bool& after) -> b::task<> {
    b::mutex_guard mine = co_await in.m.lock();
    const holds_still at_end(mine, in, "waiter");
    co_await in.changed.wait(mine);
    after = true;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> waiter = g.spawn(notified, std::ref(p), std::ref(went_on));
    co_await b::yield();
    const b::mutex_guard mine = co_await p.m.lock();
    p.changed.notify_all();
    co_await b::yield();
    waiter.cancel();
    co_await b::sleep_for(1s);
  }));
  CHECK(!went_on);
  CHECK(p.out == trail{"waiter holds"});
  CHECK(!p.m.locked());
}

TEST_CASE("condition: with a guard that holds nothing, is a misuse_error") {
  b::testing::test_loop loop;
  b::condition changed("changed");
  loop.run([](b::condition& c) -> b::task<> {
    b::mutex_guard none;
    try {
      co_await c.wait(none);
      FAIL("no error");
    } catch (const b::misuse_error& e) {
      CHECK(std::string(e.what()).find("condition 'changed': wait()") != std::string::npos);
    }
    CHECK(c.waiting() == 0);
  }(changed));
}
