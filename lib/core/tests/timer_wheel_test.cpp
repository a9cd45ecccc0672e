// SPDX-License-Identifier: Apache-2.0
// The timer wheel against a std::multimap.

#include <belay/core/detail/timer_wheel.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <vector>

using belay::detail::timer_node;
using belay::detail::timer_wheel;

namespace {

// Due times, each with its timers in the order of insertion.
using model = std::multimap<std::uint64_t, timer_node*>;

void random_operations(unsigned seed, std::uint64_t longest, int steps) {
  std::mt19937_64 random(seed);
  std::deque<timer_node> timers(300);
  std::vector<timer_node*> idle;
  for (timer_node& one : timers) idle.push_back(&one);
  timer_wheel wheel;
  model expected;
  std::uint64_t now = random() % longest;
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  for (int step = 0; step < steps; ++step) {
    const auto what = below(10);
    if (what < 5 && !idle.empty()) {
      timer_node& timer = *idle.back();
      idle.pop_back();
      // Mostly near, some far, some in the past, some equal to others.
      std::uint64_t due = now + below(longest);
      if (what == 1) due = now + below(64);
      if (what == 2) due = now - std::min(now, below(1000));
      if (what == 3 && !expected.empty()) due = expected.rbegin()->first;
      timer.due = due;
      wheel.insert(timer);
      expected.emplace(timer.due, &timer);
      REQUIRE(timer.due >= std::min(due, now));
    } else if (what < 7 && !expected.empty()) {
      auto victim = expected.begin();
      std::advance(victim, static_cast<std::ptrdiff_t>(below(expected.size())));
      timer_node& timer = *victim->second;
      REQUIRE(timer.linked());
      wheel.remove(timer);
      REQUIRE(!timer.linked());
      expected.erase(victim);
      idle.push_back(&timer);
    } else {
      if (what == 9 && wheel.next_due() != UINT64_MAX) {
        now = std::max(now, wheel.next_due());  // as a virtual clock does
      } else {
        now += below(longest / 4 + 2);
      }
      std::uint64_t last = 0;
      while (timer_node* fired = wheel.pop_due(now)) {
        REQUIRE(!expected.empty());
        REQUIRE(fired->due == expected.begin()->first);
        REQUIRE(fired == expected.begin()->second);  // equal times: in the order of insertion
        REQUIRE(fired->due >= last);
        REQUIRE(!fired->linked());
        last = fired->due;
        expected.erase(expected.begin());
        idle.push_back(fired);
      }
      REQUIRE((expected.empty() || expected.begin()->first > now));
    }
    REQUIRE(wheel.size() == expected.size());
    if (expected.empty()) {
      REQUIRE(wheel.next_due() == UINT64_MAX);
    } else {
      REQUIRE(wheel.next_due() <= expected.begin()->first);
    }
  }
  for (auto& [due, timer] : expected) wheel.remove(*timer);
  CHECK(wheel.size() == 0);
}

}  // namespace

TEST_CASE("timer_wheel: random operations, does what a multimap does") {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    random_operations(seed, 50, 1500);
    random_operations(seed, 5'000, 1500);
    random_operations(seed, 10'000'000'000ULL, 1500);
    random_operations(seed, 1ULL << 60, 1500);
  }
}

TEST_CASE("timer_wheel: empty, nothing is due") {
  timer_wheel wheel;
  CHECK(wheel.next_due() == UINT64_MAX);
  CHECK(wheel.pop_due(UINT64_MAX - 1) == nullptr);
  CHECK(wheel.size() == 0);
}

TEST_CASE("timer_wheel: the ends of the range, are kept apart") {
  timer_wheel wheel;
  timer_node first;
  timer_node last;
  first.due = 0;
  last.due = UINT64_MAX - 1;
  wheel.insert(last);
  wheel.insert(first);
  CHECK(wheel.pop_due(0) == &first);
  CHECK(wheel.pop_due(UINT64_MAX - 2) == nullptr);
  CHECK(wheel.next_due() == UINT64_MAX - 1);
  CHECK(wheel.pop_due(UINT64_MAX - 1) == &last);
}

TEST_CASE("timer_wheel: every single due time up to a few turns, pops at exactly that time") {
  for (std::uint64_t start : {0ULL, 1ULL, 63ULL, 4095ULL, 123'456'789ULL}) {
    timer_wheel wheel;
    std::deque<timer_node> timers(3000);
    CHECK(wheel.pop_due(start) == nullptr);
    for (std::size_t i = 0; i < timers.size(); ++i) {
      timers[i].due = start + i * 7 % 9001;
      wheel.insert(timers[i]);
    }
    std::size_t popped = 0;
    for (std::uint64_t now = start; wheel.size() != 0; ++now) {
      while (timer_node* one = wheel.pop_due(now)) {
        REQUIRE(one->due == now);
        ++popped;
      }
    }
    CHECK(popped == timers.size());
  }
}
