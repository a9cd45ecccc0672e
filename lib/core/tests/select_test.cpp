// SPDX-License-Identifier: Apache-2.0
// Select: exactly one of several waits happens.

#include <belay/core/barrier.hpp>
#include <belay/core/channel.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/select.hpp>
#include <belay/core/shared_mutex.hpp>

#include "driven.hpp"

using namespace core_tests;

TEST_CASE(
    "select: takes from the channel that has an item, the first of several, and leaves the others alone") {
  b::testing::test_loop loop;
  b::channel<int> one(1);
  b::channel<std::string> two(1);
  loop.run([](b::channel<int>& x, b::channel<std::string>& y) -> b::task<> {
    co_await y.send("text");
    auto got = co_await b::select(x.receive(), y.receive());
    REQUIRE(got.index() == 1);
    CHECK(std::get<1>(got) == "text");
    co_await x.send(1);
    co_await y.send("stays");
    got = co_await b::select(x.receive(), y.receive());
    REQUIRE(got.index() == 0);
    CHECK(std::get<0>(got) == 1);
    CHECK(y.size() == 1);
  }(one, two));
  CHECK(one.waiting_receivers() + two.waiting_receivers() == 0);
}

TEST_CASE("select: waits, and the first that comes happens; it leaves the other lines") {
  b::testing::test_loop loop;
  b::channel<int> one(1);
  b::channel<int> full(0);
  b::event stop;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::channel<int>& to) -> b::task<> {
          co_await b::sleep_for(1s);
          co_await to.send(7);
          co_await to.send(8);
        },
        std::ref(one));
    auto got = co_await b::select(full.send(1), one.receive(), stop.wait());
    REQUIRE(got.index() == 1);
    CHECK(std::get<1>(got) == 7);
    CHECK(full.waiting_senders() == 0);
    CHECK(!full.try_receive());
    co_await b::yield();
    CHECK(one.size() == 1);
  }));
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("select: sends to whoever takes it, once") {
  b::testing::test_loop loop;
  b::channel<int> one(0);
  b::channel<int> two(0);
  int got = 0;
  auto takes = [](b::channel<int>& from, int& count) -> b::task<> {
    if (co_await from.receive()) ++count;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::channel<int>& x, b::channel<int>& y) -> b::task<> {
          auto sent = co_await b::select(x.send(1), y.send(1));
          CHECK(sent.index() == 1);
          x.close();
          y.close();
        },
        std::ref(one), std::ref(two));
    co_await b::yield();
    g.spawn(takes, std::ref(two), std::ref(got));
    g.spawn(takes, std::ref(one), std::ref(got));
  }));
  CHECK(got == 1);
}

TEST_CASE("select: a channel that is closed has ended, or refuses: that happens, too") {
  b::testing::test_loop loop;
  b::channel<int> one(1);
  b::event never;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::channel<int>& c) -> b::task<> {
          co_await b::sleep_for(1s);
          c.close();
        },
        std::ref(one));
    auto got = co_await b::select(never.wait(), one.receive());
    REQUIRE(got.index() == 1);
    CHECK(!std::get<1>(got));
    auto refused = [](b::channel<int>& c, b::event& e) -> b::task<> {
      static_cast<void>(co_await b::select(e.wait(), c.send(1)));
    };
    CHECK_THROWS_AS(co_await refused(one, never), b::channel_closed_error);
  }));
}

TEST_CASE("select: with a limit; the timer goes when something else happens") {
  b::testing::test_loop loop;
  b::channel<int> one(1);
  loop.run([](b::channel<int>& c) -> b::task<> {
    auto late = co_await b::select(c.receive(), b::after(2s));
    CHECK(late.index() == 1);
    co_await c.send(1);
    auto got = co_await b::select(b::after(5s), c.receive());
    CHECK(got.index() == 1);
    CHECK((co_await b::select(c.receive(), b::after(0s))).index() == 1);
    CHECK((co_await b::select(c.receive(), b::after(-1s))).index() == 1);
    co_await b::after(1s);
    CHECK((co_await b::select(b::after(b::duration::max()), b::after(1s))).index() == 1);
  }(one));
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
}

TEST_CASE("select: permits, locks and barriers: what was not chosen is not held") {
  b::testing::test_loop loop;
  b::mutex m;
  b::shared_mutex shared;
  b::semaphore permits(1);
  b::barrier two(2);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    {
      auto got = co_await b::select(m.lock(), permits.acquire());
      CHECK(got.index() == 0);
      CHECK(m.locked());
      CHECK(permits.free() == 1);
      auto other = co_await b::select(two.arrive_and_wait(), permits.acquire());
      CHECK(other.index() == 1);
      CHECK(two.waiting() == 0);
      // Both are taken: who comes first?
      g.spawn(
          [](b::mutex& it, b::semaphore& of, trail out) -> b::task<> {
            auto mine = co_await b::select(it.lock(), of.acquire());
            CHECK(mine.index() == 1);
            CHECK(it.waiting() == 0);
            co_await b::sleep_for(1s);
          },
          std::ref(m), std::ref(permits), trail());
      co_await b::yield();
      std::get<1>(other).release();
    }
    co_await b::sleep_for(500ms);
    CHECK(!m.locked());
    CHECK(permits.free() == 0);
  }));
  CHECK(permits.free() == 1);
}

TEST_CASE("select: a lock that it holds already is a misuse_error, a lock that it chose is its own") {
  b::testing::test_loop loop;
  b::mutex m;
  b::event never;
  auto again = [](b::mutex& it, b::event& e) -> b::task<> {
    static_cast<void>(co_await b::select(e.wait(), it.lock()));
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::mutex& it) -> b::task<> {
          const b::mutex_guard mine = co_await it.lock();
          co_await b::sleep_for(1s);
        },
        std::ref(m));
    co_await b::yield();
    auto got = co_await b::select(never.wait(), m.lock());
    CHECK(got.index() == 1);
    CHECK_THROWS_AS(co_await again(m, never), b::misuse_error);
    CHECK(m.waiting() == 0);
  }));
  CHECK(!m.locked());
}

TEST_CASE("select: two places in one line: what the one gives up does not come to the other") {
  b::testing::test_loop loop;
  b::shared_mutex m;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::exclusive_guard mine = co_await m.lock();
    b::child<void> selects = g.spawn(
        [](b::shared_mutex& it) -> b::task<> {
          auto got = co_await b::select(it.lock(), it.lock_shared());
          CHECK(got.index() == 0);
          CHECK(it.locked());
        },
        std::ref(m));
    co_await b::yield();
    CHECK(m.waiting() == 2);
    mine.unlock();
    co_await selects;
    CHECK(!m.locked());
    CHECK(m.readers() == 0);
    mine = co_await m.lock();
    b::child<void> cancelled = g.spawn(
        [](b::shared_mutex& it) -> b::task<> {
          static_cast<void>(co_await b::select(it.lock(), it.lock_shared()));
          FAIL("it was cancelled");
        },
        std::ref(m));
    co_await b::yield();
    cancelled.cancel();
    co_await b::yield();
    CHECK(m.waiting() == 0);
    CHECK(m.readers() == 0);
    mine.unlock();
    CHECK(!m.locked());
  }));
}

TEST_CASE("select: cancelled before, nothing happens, although it could [row 38]") {
  b::testing::test_loop loop;
  b::channel<int> one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await one.send(1);
    g.cancel();
    static_cast<void>(co_await b::select(one.receive(), one.send(2)));
  }));
  CHECK(one.size() == 1);
}

TEST_CASE("everywhere: select") {
  struct world {
    b::channel<int> left{0, "left"};
    b::channel<int> right{1, "right"};
    b::event stop{"stop"};
    b::semaphore permits{1, "permits"};
    int sent = 0;
    int received = 0;
    bool finished = false;
  };
  drive("select", [](t::stage& s) -> b::task<> {
    auto& w = s.make<world>();
    s.expect("nobody waits", [&w] {
      return w.left.waiting_senders() + w.left.waiting_receivers() + w.right.waiting_senders() +
                 w.right.waiting_receivers() + w.permits.waiting() ==
             0;
    });
    s.expect("no permit is out", [&w] { return w.permits.free() == 1; });
    s.expect("each item is received once, or is there still",
             [&w](const t::run_end&) { return w.sent == w.received + static_cast<int>(w.right.size()); });
    s.expect("undisturbed, all are received", [&w] { return !w.finished || w.received == 6; });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto sends = [](world& in) -> b::task<> {
        for (int i = 0; i < 3; ++i) {
          static_cast<void>(co_await b::select(in.left.send(1), in.right.send(2), in.stop.wait()));
          ++in.sent;
          co_await b::sleep_for(500ms);
        }
      };
      const auto receives = [](world& in) -> b::task<> {
        for (int i = 0; i < 3;) {
          auto got = co_await b::select(in.left.receive(), in.right.receive(), b::after(200ms));
          if (got.index() == 2) continue;
          ++in.received;
          ++i;
          auto permit = co_await b::select(in.permits.acquire(), in.stop.wait());
          co_await b::sleep_for(100ms);
        }
      };
      g.spawn(sends, std::ref(w));
      g.spawn(receives, std::ref(w));
      g.spawn(sends, std::ref(w));
      co_await receives(w);
    });
    w.finished = true;
  });
}
