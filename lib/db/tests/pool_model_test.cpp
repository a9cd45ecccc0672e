// SPDX-License-Identifier: Apache-2.0
// Random histories of a pool against its rules: never more than max, nobody overtakes, no connection shared, none lost.

#include <random>

#include "fake_connections.hpp"

using namespace pool_tests;

namespace {

constexpr b::time_point not_yet = b::time_point::max();

// One call of acquire.
struct call {
  b::time_point ended = not_yet;  // it waits no more
  bool granted = false;
};

struct history {
  explicit history(unsigned seed) : random(seed) {}

  std::mt19937 random;
  server s;
  std::vector<call> calls;  // in the order of the line
  std::size_t most_there = 0;
  bool patient = false;
  b::duration acquire_timeout{};

  int upto(int most) { return static_cast<int>(random() % static_cast<unsigned>(most + 1)); }
  b::duration some_time(int most_ms) { return b::duration(1ms) * upto(most_ms); }
  bool chance(int percent) { return upto(99) < percent; }

  // The next length of everything that the server does.
  void stir() {
    s.accepts = chance(85);
    s.open_takes = some_time(30);
    s.check_takes = chance(10) ? b::duration(1h) : some_time(5);
    s.reset_takes = chance(10) ? b::duration(1h) : some_time(5);
    s.close_takes = chance(10) ? b::duration(1h) : some_time(10);
    s.fails_checks = chance(20);
    s.fails_resets = chance(20);
    s.fails_closings = chance(20);
  }

  void look(const pool& p) { most_there = std::max(most_there, p.statistics().total()); }
};

struct call_end {
  history& of;
  const std::size_t mine;
  ~call_end() {
    if (of.calls[mine].ended == not_yet) of.calls[mine].ended = b::now();
  }
};

b::task<> use_once(pool p, history& h) {
  co_await b::sleep_for(h.some_time(200));
  const b::time_point began = b::now();
  const std::size_t mine = h.calls.size();
  h.calls.emplace_back();
  const call_end at_end{h, mine};
  lease c;
  try {
    c = co_await p.acquire();
  } catch (const refused&) {
    // Nobody is told of what may pass before the time is over.
    if (h.patient) CHECK(b::now() - began == h.acquire_timeout);
    throw;
  }
  h.calls[mine] = {.ended = b::now(), .granted = true};
  h.look(p);
  const alone here(*c);
  if (h.chance(40)) c->dirty = true;
  co_await b::sleep_for(h.some_time(60));
  if (h.chance(10)) c->alive = false;
  if (h.chance(10)) c.mark_broken();
}

// With errors of the server, limits of its own, and cancellations.
b::task<> user(pool p, history& h) {
  const int times = 1 + h.upto(3);
  for (int i = 0; i < times; ++i) {
    const b::duration limit = h.chance(30) ? h.some_time(300) + 1ms : b::duration::max();
    const auto how = co_await b::as_outcome(b::move_on_after(limit, use_once(p, h)));
    if (const b::failure why = how.failure()) {
      CHECK((why.find<refused>() != nullptr || why.find<db::busy_error>() != nullptr));
    }
    h.look(p);
  }
}

void check_order(const history& h) {
  // Whoever was before another one in the line had stopped waiting when that one got a connection.
  b::time_point others = b::time_point::min();
  for (const call& one : h.calls) {
    if (one.granted) CHECK(others <= one.ended);
    others = std::max(others, one.ended);
  }
}

void run_history(unsigned seed) {
  CAPTURE(seed);
  history h(seed);
  b::testing::test_loop loop({.schedule_seed = seed});
  const auto max = static_cast<std::size_t>(1 + h.upto(4));
  const db::pool_options set{
      .min = h.chance(50) ? 0 : static_cast<std::size_t>(h.upto(static_cast<int>(max))),
      .max = max,
      .acquire_timeout = h.chance(30) ? b::duration(50ms) : b::duration(30s),
      .max_lifetime = h.chance(30) ? b::duration(100ms) : b::duration(30min),
      .idle_timeout = h.chance(30) ? b::duration(20ms) : b::duration(10min),
      .check_after = h.chance(50) ? h.some_time(50) : b::duration(30s),
      .check_limit = 20ms,
      .reset_limit = 20ms,
      .close_limit = 20ms,
      .first_pause = 5ms,
      .longest_pause = 50ms};
  h.acquire_timeout = set.acquire_timeout;
  const bool resets = h.chance(50);
  h.patient = h.chance(50);
  loop.run([](history& h, db::pool_options set, bool resets) -> b::task<> {
    auto functions = resets ? h.s.resetting() : h.s.functions();
    if (h.patient) functions.passes = [](const b::failure&) noexcept { return true; };
    pool& p = co_await b::use(db::open_pool<connection>(set, std::move(functions)));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const int users = 2 + h.upto(10);
      std::vector<b::child<void>> all;
      for (int i = 0; i < users; ++i) all.push_back(g.spawn(user, p, std::ref(h)));
      for (int i = 0; i < 8; ++i) {
        co_await b::sleep_for(h.some_time(60));
        h.stir();
        if (h.chance(30)) all[static_cast<std::size_t>(h.upto(users - 1))].cancel();
      }
    });
    const db::pool_statistics then = p.statistics();
    CHECK(then.in_use == 0);
    CHECK(then.waiting == 0);
    // Nothing is lost: as many as may be there can be had.
    h.s.accepts = true;
    h.s.open_takes = 1ms;
    h.s.fails_checks = false;
    h.s.check_takes = 1ms;
    std::vector<lease> all;
    for (std::size_t i = 0; i < set.max; ++i) {
      const auto how = co_await b::as_outcome([](pool& from, std::vector<lease>& into) -> b::task<> {
        into.push_back(co_await from.acquire());
      }(p, all));
      // The server may still refuse what was asked of it before.
      if (how.failed()) {
        static_cast<void>(how.failure());
        --i;
      }
    }
    CHECK(p.statistics().in_use == set.max);
    h.look(p);
  }(h, set, resets));
  CHECK(h.most_there <= max);
  CHECK(static_cast<std::size_t>(h.s.most_open) <= max);
  CHECK(h.s.open == 0);
  CHECK(h.s.opening == 0);
  check_order(h);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("model: three thousand random histories keep the rules") {
  for (unsigned seed = 1; seed <= 3000; ++seed) run_history(seed);
}
