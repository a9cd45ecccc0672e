// SPDX-License-Identifier: Apache-2.0
// Locks and meeting points, cancelled, failed and disturbed at every await.

#include <belay/core/condition.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/shared_mutex.hpp>

#include "driven.hpp"

using namespace core_tests;

namespace {

struct locks {
  b::mutex m{"m"};
  b::mutex other{"other"};
  b::shared_mutex shared{"shared"};
  b::condition changed{"changed"};
  b::semaphore permits{2, "permits"};
  int inside = 0;
  int most_inside = 0;
  int items = 0;
  int taken = 0;
  bool balanced = true;
  bool finished = false;
};

b::task<> inside(locks& w, b::duration length) {
  const b::mutex_guard mine = co_await w.m.lock();
  const counted here(w.inside);
  w.most_inside = std::max(w.most_inside, w.inside);
  co_await b::sleep_for(length);
}
b::task<> inside_both(locks& w) {
  const b::mutex_guard mine = co_await w.m.lock();
  const b::mutex_guard second = co_await w.other.lock();
  co_await b::yield();
}
b::task<> reads(locks& w, b::duration length) {
  const b::shared_guard mine = co_await w.shared.lock_shared();
  if (w.shared.locked()) w.balanced = false;
  co_await b::sleep_for(length);
}
b::task<> writes(locks& w, b::duration length) {
  const b::exclusive_guard mine = co_await w.shared.lock();
  const counted here(w.inside);
  w.most_inside = std::max(w.most_inside, w.inside);
  if (w.shared.readers() != 0) w.balanced = false;
  co_await b::sleep_for(length);
}
b::task<> takes(locks& w) {
  b::mutex_guard mine = co_await w.m.lock();
  co_await b::finally(
      [&]() -> b::task<> {
        co_await w.changed.wait(mine, [&w] { return w.items > 0; });
        --w.items;
        ++w.taken;
      },
      [&]() -> b::task<> {
        if (!mine || !w.m.locked()) w.balanced = false;
        co_await b::yield();
      });
}
b::task<> gives(locks& w, int how_many) {
  for (int i = 0; i < how_many; ++i) {
    co_await b::sleep_for(500ms);
    const b::mutex_guard mine = co_await w.m.lock();
    ++w.items;
    w.changed.notify_one();
    co_await b::yield();
  }
}

locks& make_locks(t::stage& s) {
  auto& w = s.make<locks>();
  s.expect("all is unlocked, and nobody waits", [&w] {
    return !w.m.locked() && !w.other.locked() && !w.shared.locked() && w.shared.readers() == 0 &&
           w.m.waiting() + w.other.waiting() + w.shared.waiting() + w.changed.waiting() == 0;
  });
  s.expect("one at a time", [&w] { return w.most_inside <= 1 && w.inside == 0; });
  s.expect("the locks are what they say", [&w] { return w.balanced; });
  s.afterwards([&w]() -> b::task<> {
    co_await b::with_timeout(1s, inside_both(w));
    co_await b::with_timeout(1s, writes(w, 0s));
  });
  return w;
}

}  // namespace

TEST_CASE("everywhere: mutex") {
  drive("mutex", [](t::stage& s) -> b::task<> {
    locks& w = make_locks(s);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 3; ++i) g.spawn(inside, std::ref(w), 1s);
      g.spawn(inside_both, std::ref(w));
      g.spawn(
          [](locks& in) -> b::task<> { static_cast<void>(co_await b::move_on_after(1s, inside(in, 1s))); },
          std::ref(w));
      co_await inside(w, 1s);
    });
  });
}

TEST_CASE("everywhere: shared_mutex") {
  drive("shared_mutex", [](t::stage& s) -> b::task<> {
    locks& w = make_locks(s);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(reads, std::ref(w), 1s);
      g.spawn(writes, std::ref(w), 1s);
      g.spawn(reads, std::ref(w), 1s);
      g.spawn(reads, std::ref(w), 1s);
      g.spawn(
          [](locks& in) -> b::task<> { static_cast<void>(co_await b::move_on_after(1s, writes(in, 1s))); },
          std::ref(w));
      co_await reads(w, 1s);
      co_await writes(w, 1s);
    });
  });
}

TEST_CASE("everywhere: condition") {
  drive("condition", [](t::stage& s) -> b::task<> {
    locks& w = make_locks(s);
    s.expect("every item is taken", [&w] { return !w.finished || w.taken == 3; });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 3; ++i) g.spawn(takes, std::ref(w));
      co_await gives(w, 3);
    });
    w.finished = true;
  });
}
