// SPDX-License-Identifier: Apache-2.0
// The parts of the mixed scenario. A part is chosen by the seed, and has parts inside.

#include "mixed.hpp"

#include <belay/core/all.hpp>
#include <belay/core/channel.hpp>
#include <belay/core/condition.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/map.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/race.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/settle.hpp>
#include <belay/core/shared_mutex.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/core/timeout.hpp>

#include <algorithm>
#include <random>

namespace core_tests {

namespace b = belay;
namespace t = belay::testing;
using namespace std::chrono_literals;

namespace {

struct expected_error : b::error {
  explicit expected_error(const char* words) : error(b::error_kind::unavailable, "expected", words) {}
};

class counted {
 public:
  explicit counted(int& live) noexcept : live_(&live) { ++*live_; }
  counted(counted&& other) noexcept : live_(other.live_) { ++*live_; }
  counted(const counted&) = delete;
  counted& operator=(counted&& other) noexcept {
    ++*other.live_;
    --*std::exchange(live_, other.live_);
    return *this;
  }
  ~counted() { --*live_; }

 private:
  int* live_;
};

struct world {
  explicit world(std::mt19937_64& numbers) : random(&numbers) {}

  std::mt19937_64* random;
  int parts_left = 30;  // so that a run has an end
  int live = 0;         // frames of parts
  int items = 0;        // in channels or on the way
  int open = 0;         // resources
  int owed_cleanups = 0;
  b::mutex m{"m"};
  b::shared_mutex book{"book"};
  b::semaphore permits{2, "permits"};
  int in_m = 0;
  int with_permit = 0;
  int writers = 0;
  long here = 100;  // money
  long there = 100;
  const char* broken = nullptr;

  std::uint64_t below(std::uint64_t count) { return (*random)() % count; }
  // On a grid, so that much happens at the same moment.
  b::duration some_time() { return 250ms * below(9); }
  void require(bool holds, const char* what) noexcept {
    if (!holds && broken == nullptr) broken = what;
  }

  // An error has come out: only such as were made here, by limits, or by the driver.
  void look_at(const b::failure& what) {
    for (const b::failure& one : what.flatten()) {
      one.observe();
      try {
        std::rethrow_exception(one.exception());
      } catch (const expected_error&) {
      } catch (const t::injected_error&) {
      } catch (const b::timeout_error&) {
      } catch (const b::none_succeeded_error&) {
      } catch (const b::channel_closed_error&) {
      } catch (...) {
        require(false, "only expected errors come out");
      }
    }
  }
};

b::task<> part(world& w, unsigned depth);

b::task<> nap(world& w) {
  const counted here(w.live);
  const std::uint64_t kind = w.below(8);
  if (kind == 0) co_await b::yield();
  if (kind == 1) co_await b::checkpoint();
  if (kind > 1) co_await b::sleep_for(w.some_time());
}
b::task<> fails(world& w) {
  const counted here(w.live);
  co_await nap(w);
  if (w.below(2) == 0) co_await b::fail(expected_error("failed"));
  throw expected_error("thrown");
}
// Its errors go no further.
b::task<> settled(world& w, b::task<> op) {
  const counted here(w.live);
  const b::outcome<void> how = co_await b::as_outcome(std::move(op));
  if (how.failed()) w.look_at(how.failure());
}

b::task<> in_group(world& w, unsigned depth) {
  const counted here(w.live);
  const auto policy = w.below(3) == 0 ? b::group_policy::settle : b::group_policy::fail_fast;
  co_await b::with_group({.name = "mixed", .policy = policy}, [&w, depth](b::group& g) -> b::task<> {
    const std::uint64_t children = 1 + w.below(3);
    for (std::uint64_t i = 0; i < children; ++i) g.spawn(part, std::ref(w), depth);
    co_await nap(w);
    if (w.below(3) == 0) g.cancel();
    co_await part(w, depth);
  });
}
b::task<> supervised_group(world& w, unsigned depth) {
  const counted here(w.live);
  co_await b::with_group({.name = "supervised", .policy = b::group_policy::supervise, .most_live = 2},
                         [&w, depth](b::group& g) -> b::task<> {
                           b::child<void> first = g.spawn(settled, std::ref(w), part(w, depth));
                           b::child<void> second = g.spawn(settled, std::ref(w), fails(w));
                           co_await nap(w);
                           if (w.below(2) == 0) second.cancel();
                           const b::outcome<void>& how = co_await b::as_outcome(first);
                           if (how.failed()) w.look_at(how.failure());
                           const b::outcome<void>& other = co_await b::as_outcome(second);
                           if (other.failed()) w.look_at(other.failure());
                         });
}

b::task<> cleans_up(world& w, unsigned depth) {
  const counted here(w.live);
  ++w.owed_cleanups;
  co_await b::finally([&w, depth]() -> b::task<> { co_await part(w, depth); },
                      [&w]() -> b::task<> {
                        --w.owed_cleanups;
                        co_await nap(w);
                        if (w.below(3) == 0) throw expected_error("cleanup");
                      });
}
b::managed<int> opens(world& w) {
  co_await nap(w);
  int value = 1;
  ++w.open;
  const b::exit_status how = co_yield value;
  --w.open;
  if (how.succeeded()) co_await nap(w);
  if (w.below(4) == 0) throw expected_error("closing");
}
b::task<> uses(world& w, unsigned depth) {
  const counted here(w.live);
  int& first = co_await b::use(opens(w));
  int& second = co_await b::use(opens(w));
  w.require(first + second == 2 && w.open >= 2, "a resource is open while it is used");
  co_await part(w, depth);
}
b::task<> with_resource(world& w, unsigned depth) {
  const counted here(w.live);
  co_await b::with(opens(w), [&w, depth](int&) -> b::task<> { co_await part(w, depth); });
}

b::task<> locks(world& w) {
  const counted here(w.live);
  const b::mutex_guard mine = co_await w.m.lock();
  const counted inside(w.in_m);
  w.require(w.in_m == 1, "one at a time");
  // A transfer: the money is on the way while it waits.
  --w.here;
  long& to = w.below(2) == 0 ? w.there : w.here;
  co_await b::finally([&w]() -> b::task<> { co_await nap(w); },
                      [&to]() -> b::task<> {
                        ++to;
                        co_return;
                      });
}
b::task<> reads_and_writes(world& w) {
  const counted here(w.live);
  {
    const b::shared_guard mine = co_await w.book.lock_shared();
    w.require(w.writers == 0, "no writer beside a reader");
    co_await nap(w);
  }
  const b::exclusive_guard mine = co_await w.book.lock();
  const counted writer(w.writers);
  w.require(w.writers == 1 && w.book.readers() == 0, "a writer is alone");
  co_await nap(w);
}
b::task<> takes_permit(world& w) {
  const counted here(w.live);
  const b::permit mine = co_await w.permits.acquire();
  const counted holder(w.with_permit);
  w.require(w.with_permit <= 2, "no more permits than there are");
  co_await nap(w);
}

// Many want the same, and some of them stop wanting it.
b::task<> wants_for(world& w, b::duration limit) {
  const counted here(w.live);
  switch (w.below(3)) {
    case 0: static_cast<void>(co_await b::move_on_after(limit, locks(w))); break;
    case 1: static_cast<void>(co_await b::move_on_after(limit, takes_permit(w))); break;
    default: static_cast<void>(co_await b::move_on_after(limit, reads_and_writes(w)));
  }
}
b::task<> crowds(world& w) {
  const counted here(w.live);
  co_await b::with_group([&w](b::group& g) -> b::task<> {
    for (int i = 0; i < 7; ++i) g.spawn(wants_for, std::ref(w), w.some_time());
    for (int i = 0; i < 2; ++i) {
      b::child<void> leaves = g.spawn(wants_for, std::ref(w), 1h);
      co_await nap(w);
      leaves.cancel();
    }
  });
}

struct item {
  explicit item(int& live) : alive(live) {}
  counted alive;
};
b::task<> produces(world& w, b::sender<item> to, int& sent) {
  const counted here(w.live);
  const std::uint64_t count = 1 + w.below(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    co_await to.send(item(w.items));
    ++sent;
    if (w.below(2) == 0) co_await nap(w);
  }
}
b::task<> consumes(world& w, b::receiver<item> from, int& received) {
  const counted here(w.live);
  while (std::optional<item> one = co_await from.receive()) {
    ++received;
    if (w.below(3) == 0) co_await nap(w);
  }
}
b::task<> talks(world& w) {
  const counted here(w.live);
  b::channel<item> line(w.below(3), "line");
  int sent = 0;
  int received = 0;
  co_await b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(produces, std::ref(w), line.new_sender(), std::ref(sent));
    g.spawn(produces, std::ref(w), line.new_sender(), std::ref(sent));
    g.spawn(consumes, std::ref(w), line.new_receiver(), std::ref(received));
    // These leave in the middle; what they were given goes to the others.
    for (int i = 0; i < 2; ++i) {
      b::child<void> leaves = g.spawn(consumes, std::ref(w), line.new_receiver(), std::ref(received));
      co_await nap(w);
      leaves.cancel();
    }
  });
  w.require(sent == received && line.ended(), "each item is received once");
}

b::task<> contends(world& w, unsigned depth) {
  const counted here(w.live);
  if (w.below(2) == 0) {
    co_await b::race(settled(w, part(w, depth)), settled(w, nap(w)), settled(w, fails(w)));
  } else {
    co_await b::any(settled(w, part(w, depth)), settled(w, locks(w)));
  }
  // Shielded, as below: when any and settle are cancelled, errors that nobody has got yet go to the sink, by design.
  co_await settled(w, b::shielded(1h, b::any(fails(w), fails(w))));
}
b::task<> settles_errors(world& w) {
  const auto [one, two] = co_await b::settle(fails(w), fails(w));
  if (one.failed()) w.look_at(one.failure());
  if (two.failed()) w.look_at(two.failure());
}
b::task<> several(world& w, unsigned depth) {
  const counted here(w.live);
  switch (w.below(3)) {
    case 0: co_await b::all(part(w, depth), locks(w), part(w, depth)); break;
    case 1:
      co_await b::settle(settled(w, part(w, depth)), settled(w, fails(w)));
      co_await settled(w, b::shielded(1h, settles_errors(w)));
      break;
    default:
      co_await b::map(
          std::vector<unsigned>{depth, 0, 0},
          [&w](const unsigned& each) -> b::task<> { co_await part(w, each); }, 1 + w.below(2));
  }
}

b::task<> crashes(b::task_status<>& ready, world& w, int& of_this) {
  const counted here(w.live);
  const counted mine(of_this);
  w.require(of_this == 1, "never two of one worker");
  co_await nap(w);
  ready.started();
  co_await uses(w, 0);
  co_await nap(w);
  throw expected_error("worker");
}
b::task<> supervises(world& w) {
  const counted here(w.live);
  int live_of[] = {0, 0, 0};
  b::supervisor workers({.strategy = static_cast<b::restart_strategy>(w.below(3)),
                         .most_restarts = 1 + w.below(3),
                         .first_delay = 500ms,
                         .on_event = [&w](const b::worker_event& one) {
                           if (one.why) w.look_at(one.why);
                         }});
  b::supervisor inner({.first_delay = 0s, .on_event = [&w](const b::worker_event& one) {
                         if (one.why) w.look_at(one.why);
                       }});
  inner.add({.name = "inmost", .restart = b::restart_policy::transient}, crashes, std::ref(w),
            std::ref(live_of[0]));
  workers.add("first", crashes, std::ref(w), std::ref(live_of[1]));
  workers.add({.name = "inner", .restart = b::restart_policy::temporary}, inner);
  workers.add({.name = "last", .restart = b::restart_policy::transient}, crashes, std::ref(w),
              std::ref(live_of[2]));
  static_cast<void>(co_await b::move_on_after(4 * w.some_time(), workers.run()));
  w.require(live_of[0] + live_of[1] + live_of[2] == 0, "a supervisor leaves nobody");
}
b::task<> repeats(world& w, unsigned depth) {
  const counted here(w.live);
  b::periodic_options how{.pace = static_cast<b::pace>(w.below(2))};
  if (w.below(2) == 0) how.on_error = [&w](const b::failure& why, const b::tick&) { w.look_at(why); };
  static_cast<void>(co_await b::move_on_after(2 * w.some_time(),
                                              b::repeat(b::every(500ms, how), part, std::ref(w), depth)));
}

b::task<> part(world& w, unsigned depth) {
  const counted here(w.live);
  if (depth == 0 || w.parts_left == 0) {
    co_await nap(w);
    co_return;
  }
  --w.parts_left;
  const unsigned inside = depth - 1;
  switch (w.below(18)) {
    case 0: co_await fails(w); break;
    case 1:
    case 2: co_await in_group(w, inside); break;
    case 3: co_await supervised_group(w, inside); break;
    case 4: co_await b::with_timeout(w.some_time(), part(w, inside)); break;
    case 5: static_cast<void>(co_await b::move_on_after(w.some_time(), part(w, inside))); break;
    case 6: co_await b::shielded(2s, part(w, inside)); break;
    case 7: co_await cleans_up(w, inside); break;
    case 8: co_await uses(w, inside); break;
    case 9: co_await with_resource(w, inside); break;
    case 10: co_await locks(w); break;
    case 11:
    case 17: co_await crowds(w); break;
    case 12: co_await talks(w); break;
    case 13: co_await contends(w, inside); break;
    case 14: co_await several(w, inside); break;
    case 15: co_await supervises(w); break;
    default: co_await repeats(w, inside);
  }
}

b::task<> mixed(t::stage& s) {
  auto& w = s.make<world>(s.random());
  s.expect("no frame, item, or resource is left, and no cleanup was left out", [&w](const t::run_end& how) {
    return w.live == 0 && w.items == 0 && (how.failed_in_cleanup || (w.open == 0 && w.owed_cleanups == 0));
  });
  s.expect("locks are free, and nobody waits for one", [&w] {
    return !w.m.locked() && !w.book.locked() && w.book.readers() == 0 && w.permits.free() == 2 &&
           w.m.waiting() + w.book.waiting() + w.permits.waiting() == 0;
  });
  s.expect("no money is made or lost", [&w] { return w.here + w.there == 200; });
  s.expect("what must hold while it runs holds", [&w] {
    if (w.broken != nullptr) throw std::logic_error(w.broken);
    return true;
  });
  co_await settled(w, in_group(w, 4));
  co_await settled(w, part(w, 5));
  co_await settled(w, part(w, 5));
}

}  // namespace

t::report explore_mixed(std::uint64_t from, std::uint64_t seeds) {
  return t::explore(mixed, seeds,
                    {.name = "mixed", .within = 10min, .first_seed = from, .inject_within = 250});
}

}  // namespace core_tests
