// SPDX-License-Identifier: Apache-2.0
// Channel: order, limits, closing, and every item received once or not at all, whoever is cancelled.

#include <belay/core/channel.hpp>
#include <doctest/doctest.h>
#include <memory>

#include "support.hpp"

using namespace core_tests;

namespace {

using ints = std::vector<int>;

b::task<> sends(b::channel<int>& to, int from, int last) {
  for (int i = from; i <= last; ++i) co_await to.send(i);
}
b::task<> receives(b::channel<int>& from, ints& out) {
  while (std::optional<int> item = co_await from.receive()) out.push_back(*item);
}
b::task<> receives_one(b::channel<int>& from, ints& out) {
  if (std::optional<int> item = co_await from.receive()) out.push_back(*item);
}

}  // namespace

TEST_CASE("channel: first in first out, and whoever sends waits for a place") {
  b::testing::test_loop loop;
  b::channel<int> c(2, "c");
  ints out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::channel<int>& to) -> b::task<> {
          co_await sends(to, 1, 5);
          to.close();
        },
        std::ref(c));
    co_await b::sleep_for(1s);
    CHECK(c.size() == 2);
    CHECK(c.waiting_senders() == 1);
    co_await receives(c, out);
  }));
  CHECK(out == ints{1, 2, 3, 4, 5});
  CHECK(c.ended());
}

TEST_CASE("channel: of capacity 0, items go from hand to hand") {
  b::testing::test_loop loop;
  b::channel<int> c(0);
  ints out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    bool sent = false;
    g.spawn(
        [](b::channel<int>& to, bool& done) -> b::task<> {
          co_await to.send(1);
          done = true;
          co_await to.send(2);
        },
        std::ref(c), std::ref(sent));
    co_await b::sleep_for(1s);
    CHECK(!sent);
    CHECK(c.size() == 0);
    CHECK(!c.try_send(9));
    CHECK(c.try_receive() == 1);
    co_await b::yield();
    CHECK(sent);
    co_await receives_one(c, out);
    g.spawn(receives_one, std::ref(c), std::ref(out));
    co_await b::yield();
    CHECK(c.try_send(3));
    co_await b::yield();
  }));
  CHECK(out == ints{2, 3});
}

TEST_CASE("channel: several senders and receivers are served in the order in which they came") {
  b::testing::test_loop loop;
  b::channel<int> c(1);
  std::array<ints, 3> out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (ints& one : out) g.spawn(receives, std::ref(c), std::ref(one));
    for (int i = 0; i < 3; ++i) g.spawn(sends, std::ref(c), 10 * i, 10 * i + 2);
    co_await b::sleep_for(1s);
    c.close();
  }));
  ints all;
  for (const ints& one : out) {
    CHECK(one.size() >= 1);
    all.insert(all.end(), one.begin(), one.end());
  }
  std::sort(all.begin(), all.end());
  CHECK(all == ints{0, 1, 2, 10, 11, 12, 20, 21, 22});
}

TEST_CASE("channel: items may be move-only, and what is left is destroyed with the channel") {
  b::testing::test_loop loop;
  int live = 0;
  {
    b::channel<std::unique_ptr<counted>> c(100);
    loop.run([](auto& to, int& count) -> b::task<> {
      for (int i = 0; i < 20; ++i) co_await to.send(std::make_unique<counted>(count));
      for (int i = 0; i < 10; ++i) CHECK(co_await to.receive());
      for (int i = 0; i < 10; ++i) {
        auto item = std::make_unique<counted>(count);
        CHECK(to.try_send(std::move(item)));
        CHECK(item == nullptr);  // NOLINT(bugprone-use-after-move)
      }
    }(c, live));
    CHECK(live == 20);
  }
  CHECK(live == 0);
}

TEST_CASE(
    "channel: a sender that is cancelled in the turn in which a place was freed sent once, or not at all [row 228]") {
  for (const bool cancel_first : {true, false}) {
    for (const std::size_t capacity : {0u, 1u}) {
      b::testing::test_loop loop;
      b::channel<int> c(capacity);
      ints out;
      bool sent = false;
      loop.run(b::with_group([&](b::group& g) -> b::task<> {
        if (capacity == 1) co_await c.send(0);
        b::child<void> blocked = g.spawn(
            [](b::channel<int>& to, bool& done) -> b::task<> {
              co_await to.send(1);
              done = true;
            },
            std::ref(c), std::ref(sent));
        co_await b::yield();
        CHECK(c.waiting_senders() == 1);
        if (cancel_first) blocked.cancel();
        if (std::optional<int> item = c.try_receive()) out.push_back(*item);
        blocked.cancel();
        co_await b::yield();
        if (!sent) CHECK(c.try_send(1) == (capacity == 1));  // the retry
        while (std::optional<int> item = c.try_receive()) out.push_back(*item);
      }));
      CHECK(sent == !cancel_first);
      CHECK(std::count(out.begin(), out.end(), 1) == (capacity == 1 || !cancel_first ? 1 : 0));
      CHECK(c.waiting_senders() == 0);
    }
  }
}

TEST_CASE(
    "channel: a receiver is cancelled around a send, another one gets the item, or the item stays [row 229]") {
  for (unsigned before = 0; before < 8; ++before) {
    for (unsigned after = 0; after < 8; ++after) {
      b::testing::test_loop loop;
      b::channel<int> c(4);
      ints out;
      loop.run(b::with_group([&](b::group& g) -> b::task<> {
        std::vector<b::child<void>> receivers;
        for (int i = 0; i < 3; ++i) receivers.push_back(g.spawn(receives_one, std::ref(c), std::ref(out)));
        co_await b::yield();
        for (unsigned i = 0; i < 3; ++i)
          if ((before >> i & 1) != 0) receivers[i].cancel();
        CHECK(c.try_send(1));
        for (unsigned i = 0; i < 3; ++i)
          if ((after >> i & 1) != 0) receivers[i].cancel();
        CHECK(c.try_send(2));
        co_await b::yield();
        while (std::optional<int> item = c.try_receive()) out.push_back(*item);
        c.close();
      }));
      CHECK(out == ints{1, 2});
      CHECK(c.waiting_receivers() == 0);
    }
  }
}

TEST_CASE(
    "channel: cancelled before, nothing is sent and nothing is taken, although it could be [row 38] [row 53]") {
  b::testing::test_loop loop;
  b::channel<int> c(2);
  ints out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await c.send(1);
    g.spawn(receives, std::ref(c), std::ref(out));
    g.spawn(sends, std::ref(c), 2, 2);
    g.cancel();
    co_await receives(c, out);
  }));
  CHECK(out.empty());
  CHECK(c.size() == 1);
  CHECK(c.waiting_receivers() == 0);
}

TEST_CASE("channel: closed, those who wait to send fail, what is there is received, then it ends [row 230]") {
  b::testing::test_loop loop;
  b::channel<int> c(2, "orders");
  ints out;
  trail said;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await sends(c, 1, 2);
    g.spawn(
        [](b::channel<int>& to, trail& words) -> b::task<> {
          try {
            co_await to.send(3);
          } catch (const b::channel_closed_error& e) {
            words.push_back(e.what());
          }
        },
        std::ref(c), std::ref(said));
    co_await b::yield();
    c.close();
    c.close();
    CHECK(c.closed());
    CHECK(!c.ended());
    co_await b::yield();
    CHECK(said == trail{"channel 'orders': send after it was closed"});
    CHECK_THROWS_AS(static_cast<void>(c.try_send(4)), b::channel_closed_error);
    CHECK_THROWS_AS(co_await sends(c, 5, 5), b::channel_closed_error);
    co_await receives(c, out);
    CHECK(!c.try_receive());
    CHECK(!co_await c.receive());
  }));
  CHECK(out == ints{1, 2});
  CHECK(c.ended());
}

TEST_CASE("channel: those who wait to receive from an empty one that is closed get nothing [row 230]") {
  b::testing::test_loop loop;
  b::channel<int> c(2);
  ints out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 3; ++i) g.spawn(receives, std::ref(c), std::ref(out));
    co_await b::yield();
    CHECK(c.waiting_receivers() == 3);
    c.close();
  }));
  CHECK(out.empty());
}

TEST_CASE("channel: aborted, what is there is destroyed, and those who wait go on [row 231]") {
  using boxed = std::unique_ptr<counted>;
  b::testing::test_loop loop;
  int live = 0;
  b::channel<boxed> c(2);
  int refused = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 2; ++i) co_await c.send(std::make_unique<counted>(live));
    g.spawn(
        [](b::channel<boxed>& to, int& count, int& no) -> b::task<> {
          try {
            co_await to.send(std::make_unique<counted>(count));
          } catch (const b::channel_closed_error&) {
            ++no;
          }
        },
        std::ref(c), std::ref(live), std::ref(refused));
    co_await b::yield();
    CHECK(live == 3);
    c.abort();
    c.abort();
    co_await b::yield();
    CHECK(live == 0);
    CHECK(c.ended());
    CHECK(!co_await c.receive());
  }));
  CHECK(refused == 1);
}

TEST_CASE("channel: closed with a failure, receivers get the remaining items, then the failure [row 232]") {
  b::testing::test_loop loop;
  b::channel<int> c(4);
  ints out;
  int failed = 0;
  auto reads = [](b::channel<int>& from, ints& to, int& count) -> b::task<> {
    try {
      co_await receives(from, to);
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "no more pages");
      ++count;
    }
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await sends(c, 1, 2);
    try {
      throw boom("no more pages");
    } catch (const boom&) {
      c.close(b::current_failure());
    }
    CHECK_THROWS_AS(co_await sends(c, 3, 3), b::channel_closed_error);
    g.spawn(reads, std::ref(c), std::ref(out), std::ref(failed));
    co_await reads(c, out, failed);
    CHECK_THROWS_AS(static_cast<void>(c.try_receive()), boom);
  }));
  CHECK(out == ints{1, 2});
  CHECK(failed == 2);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("channel: a failure that it was closed with, and that nobody gets to see, is reported") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::channel<int> c(1);
    c.close(b::failure::of(std::make_exception_ptr(boom("unseen"))));
    co_return;
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("unseen") != std::string::npos);
}

TEST_CASE("channel: is closed when its last sender goes, whichever way") {
  for (const bool fail : {false, true}) {
    b::testing::test_loop loop;
    b::channel<int> c(1);
    ints out;
    auto produces = [](b::sender<int> to, int from, bool fails) -> b::task<> {
      for (int i = from; i < from + 3; ++i) {
        co_await to.send(i);
        co_await b::sleep_for(1s);
      }
      if (fails) throw boom("producer");
    };
    auto handled = [](auto& call, b::sender<int> to, int from, bool fails) -> b::task<> {
      auto done = co_await b::as_outcome(call(std::move(to), from, fails));
      static_cast<void>(done.failure());
    };
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      {
        b::sender<int> first = c.new_sender();
        g.spawn_at(std::source_location(), handled, std::ref(produces), first, 10, fail);
        g.spawn_at(std::source_location(), handled, std::ref(produces), std::move(first), 20, fail);
        CHECK(!first);  // NOLINT(bugprone-use-after-move)
      }
      co_await receives(c, out);
      CHECK(c.closed());
    }));
    CHECK(out.size() == 6);
  }
}

TEST_CASE("channel: when the last receiver goes, senders learn that nobody listens") {
  b::testing::test_loop loop;
  b::channel<int> c(1);
  int got = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::receiver<int> from, int& to) -> b::task<> {
          const b::receiver<int> second = from;
          to = (co_await from.receive()).value();
        },
        c.new_receiver(), std::ref(got));
    CHECK_THROWS_AS(co_await sends(c, 1, 9), b::channel_closed_error);
  }));
  CHECK(got == 1);
  CHECK(c.ended());
}

TEST_CASE("channel: handles that were closed or moved from, and negative capacities, are misuse_errors") {
  b::channel<int> c(1);
  b::sender<int> to = c.new_sender();
  CHECK(to.try_send(1));
  CHECK(to.try_send(1) == false);
  b::receiver<int> from = c.new_receiver();
  CHECK(from.try_receive() == 1);
  to.close();
  to.close();
  CHECK(c.closed());
  CHECK_THROWS_AS(static_cast<void>(to.try_send(1)), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(to.send(1)), b::misuse_error);
  b::receiver<int> other = std::move(from);
  CHECK_THROWS_AS(static_cast<void>(from.try_receive()), b::misuse_error);  // NOLINT(bugprone-use-after-move)
  CHECK_THROWS_AS(static_cast<void>(from.receive()), b::misuse_error);
  CHECK(!other.try_receive());
  CHECK_THROWS_AS(b::channel<int>(static_cast<std::size_t>(-1)), b::misuse_error);
}

TEST_CASE("channel: a queue that grows, wraps around and shrinks keeps its order") {
  b::channel<int> c(1000);
  int in = 0;
  int out = 0;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 7; ++i) CHECK(c.try_send(in++));
    for (int i = 0; i < (round % 20 == 19 ? 40 : 5); ++i) {
      if (std::optional<int> item = c.try_receive()) CHECK(*item == out++);
    }
  }
  while (std::optional<int> item = c.try_receive()) CHECK(*item == out++);
  CHECK(in == out);
}
