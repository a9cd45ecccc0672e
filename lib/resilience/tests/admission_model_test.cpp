// SPDX-License-Identifier: Apache-2.0
// The state machines of breakers and rate limiters against simple models, over many random histories.

#include <belay/resilience/detail/breaker_machine.hpp>
#include <belay/resilience/detail/rate_machine.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

namespace d = b::detail;
using b::breaker_state;

constexpr std::uint64_t histories = 100'000;

// xorshift64*: quick, and the same everywhere.
class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u | 1u) {}
  std::uint64_t below(std::uint64_t end) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return (state_ * 0x2545F4914F6CDD1Du >> 33) % end;
  }

 private:
  std::uint64_t state_;
};

// BELAY_SEED=123 runs that history only.
struct seeds {
  std::uint64_t first = 1;
  std::uint64_t end = histories + 1;
};
seeds seeds_to_run() {
  if (const char* one = std::getenv("BELAY_SEED")) {
    const std::uint64_t seed = std::strtoull(one, nullptr, 10);
    return {seed, seed + 1};
  }
  return {};
}

// What a breaker does, written for reading: it keeps all calls that ended in this state, and looks through them each time.
struct breaker_model {
  struct ended_call {
    b::time_point at;
    bool failed;
    bool slow;
  };
  d::breaker_rules rules;
  breaker_state state = breaker_state::closed;
  int period = 0;  // counts the states
  std::deque<ended_call> calls;
  int probes_out = 0;
  b::time_point last_probe{};
  b::time_point opens_again{};
  int reopened = 0;

  void go(breaker_state next) {
    state = next;
    ++period;
    calls.clear();
    probes_out = 0;
  }
  void trip(b::time_point now) {
    go(breaker_state::open);
    b::duration length = rules.open_for;
    for (int i = 0; i < reopened && length < rules.longest_open; ++i)
      length = length * static_cast<int>(rules.open_growth);
    if (reopened > 0 && rules.open_growth > 1)
      length = std::max(rules.open_for, std::min(length, rules.longest_open));
    opens_again = now + length;
  }
  std::optional<int> admit(b::time_point now) {
    if (state == breaker_state::open && now >= opens_again) go(breaker_state::half_open);
    if (state == breaker_state::closed) return period;
    if (state != breaker_state::half_open) return std::nullopt;
    const auto full = [this] { return static_cast<std::size_t>(probes_out) + calls.size() >= rules.probes; };
    if (full() && probes_out > 0 && rules.probe_limit != b::duration::max() &&
        now - last_probe >= rules.probe_limit) {
      ++period;  // they are lost; what others have said stays
      probes_out = 0;
    }
    if (full()) return std::nullopt;
    ++probes_out;
    last_probe = now;
    return period;
  }
  void ended(int in, d::call_verdict verdict, b::duration took, b::time_point now) {
    if (in != period) return;
    if (state == breaker_state::half_open) --probes_out;
    if (verdict == d::call_verdict::nothing) return;
    const bool failed = verdict == d::call_verdict::failure;
    const bool slow = rules.slow_call_rate > 0 && took >= rules.slow_call;
    calls.push_back({now, failed, slow});
    if (state == breaker_state::half_open) return judge_probes(now);
    if (state == breaker_state::closed && (failed || slow)) judge_calls(now);
  }
  void judge_probes(b::time_point now) {
    const std::size_t needed = rules.probes_to_close == 0 ? rules.probes : rules.probes_to_close;
    const auto bad = static_cast<std::size_t>(
        std::count_if(calls.begin(), calls.end(), [](const ended_call& c) { return c.failed || c.slow; }));
    if (calls.size() - bad >= needed) {
      reopened = 0;
      go(breaker_state::closed);
    } else if (bad > rules.probes - needed) {
      ++reopened;
      trip(now);
    }
  }
  void judge_calls(b::time_point now) {
    std::size_t in_a_row = 0;
    for (auto one = calls.rbegin(); one != calls.rend() && one->failed; ++one) ++in_a_row;
    if (rules.consecutive_failures > 0 && in_a_row >= rules.consecutive_failures) return trip(now);
    std::size_t all = 0;
    std::size_t failed = 0;
    std::size_t slow = 0;
    const b::duration tenth = rules.window / 10;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const ended_call& one = calls[i];
      const bool counts = rules.window > 0s
                              ? now.time_since_epoch() / tenth - one.at.time_since_epoch() / tenth < 10
                              : calls.size() - i <= rules.window_calls;
      if (!counts) continue;
      ++all;
      failed += one.failed ? 1 : 0;
      slow += one.slow ? 1 : 0;
    }
    if (all < rules.minimum_calls) return;
    // In whole percent, so that nothing is rounded.
    const auto reached = [all](std::size_t part, double rate) {
      return rate > 0 && 100 * part >= static_cast<std::size_t>(rate * 100 + 0.5) * all;
    };
    if (reached(failed, rules.failure_rate) || reached(slow, rules.slow_call_rate)) trip(now);
  }
};

d::breaker_rules random_rules(dice& roll) {
  d::breaker_rules r;
  r.consecutive_failures = roll.below(4);
  r.failure_rate = static_cast<double>(roll.below(5)) * 0.2;
  r.slow_call_rate = roll.below(3) == 0 ? 0.5 : 0;
  r.slow_call = 3ms;
  r.window_calls = 1 + roll.below(8);
  r.window = roll.below(2) == 0 ? 0ms : 100ms;
  r.minimum_calls = 1 + roll.below(r.window > 0s ? 6 : r.window_calls);
  r.open_for = std::chrono::milliseconds(5 + roll.below(20));
  r.open_growth = roll.below(2) == 0 ? 1 : 2;
  r.longest_open = 60ms;
  r.probes = 1 + roll.below(3);
  r.probes_to_close = roll.below(r.probes + 1);
  if (roll.below(2) == 0) r.probe_limit = std::chrono::milliseconds(1 + roll.below(30));
  return r;
}

// The first step at which machine and model differ; empty: none.
std::string breaker_history(std::uint64_t seed) {
  dice roll(seed);
  breaker_model model;
  model.rules = random_rules(roll);
  d::breaker_machine machine(model.rules);
  struct call {
    int in;
    std::uint64_t generation;
    b::time_point began;
  };
  std::vector<call> under_way;
  b::time_point now(1h);
  const std::uint64_t steps = 20 + roll.below(30);
  const bool mostly_bad = roll.below(2) == 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const std::uint64_t what = roll.below(20);
    if (what < 8) {
      const std::optional<int> in = model.admit(now);
      const auto got = machine.admit(now);
      if (got.admitted != in.has_value()) return "step " + std::to_string(step) + ": admitted";
      if (in) under_way.push_back({*in, got.generation, now});
    } else if (what < 15 && !under_way.empty()) {
      const std::size_t at = roll.below(under_way.size());
      const call one = under_way[at];
      under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(at));
      const std::uint64_t end = roll.below(8);
      const auto verdict = end == 0                       ? d::call_verdict::nothing
                           : end < (mostly_bad ? 6u : 3u) ? d::call_verdict::failure
                                                          : d::call_verdict::success;
      std::exception_ptr none;
      machine.ended(one.generation, verdict, now - one.began, now, none);
      model.ended(one.in, verdict, now - one.began, now);
    } else if (what < 19) {
      now += std::chrono::milliseconds(roll.below(roll.below(4) == 0 ? 60 : 4));
    } else {
      switch (roll.below(8)) {
        case 0:
          machine.isolate();
          if (model.state != breaker_state::isolated) model.go(breaker_state::isolated);
          break;
        case 1:
          if (machine.state(now) != breaker_state::open) model.trip(now);
          machine.open(now);
          break;
        case 2:
          machine.close();
          model.reopened = 0;
          model.go(breaker_state::closed);
          break;
        case 3: {
          d::breaker_change change;
          const bool possible = machine.half_open(change);
          if (possible != (model.state != breaker_state::closed))
            return "step " + std::to_string(step) + ": half_open";
          if (possible) model.go(breaker_state::half_open);
          break;
        }
        default: break;
      }
    }
    if (machine.last_state() != model.state) return "step " + std::to_string(step) + ": state";
    if (machine.is_closed() != (model.state == breaker_state::closed)) return "closed";
    const bool due = model.state == breaker_state::open && now >= model.opens_again;
    if (machine.state(now) != (due ? breaker_state::half_open : model.state)) return "state now";
    if (machine.probes_running() != static_cast<std::size_t>(model.probes_out)) return "probes";
    if (model.state == breaker_state::open && machine.open_until() != model.opens_again)
      return "step " + std::to_string(step) + ": open until";
  }
  return "";
}

// Tokens as a fraction that is filled up step by step; the window as a list of all that passed.
struct bucket_model {
  b::duration interval;
  b::duration depth;  // in time
  b::duration level;
  b::time_point last;
  void fill(b::time_point now) {
    level = std::min(depth, level + (now - last));
    last = now;
  }
  bool take(b::time_point now, std::uint64_t weight) {
    fill(now);
    const b::duration cost = static_cast<std::int64_t>(weight) * interval;
    if (level < cost) return false;
    level -= cost;
    return true;
  }
};
struct window_model {
  std::uint64_t permits;
  b::duration per;
  std::vector<b::time_point> passed;  // one for each permit
  bool take(b::time_point now, std::uint64_t weight) {
    const auto used =
        std::count_if(passed.begin(), passed.end(), [&](b::time_point at) { return at + per > now; });
    if (static_cast<std::uint64_t>(used) + weight > permits) return false;
    passed.insert(passed.end(), weight, now);
    return true;
  }
};

template <class Machine, class Model>
std::string rate_history(dice& roll, Machine& machine, Model& model, std::uint64_t capacity) {
  b::time_point now(1h);
  b::time_point allowed_at = b::time_point::max();
  std::uint64_t allowed_weight = 0;
  for (int step = 0; step < 40; ++step) {
    const std::uint64_t weight =
        1 + roll.below(roll.below(3) == 0 ? capacity : std::min<std::uint64_t>(2, capacity));
    // What was promised for this time must hold, if nobody came in between.
    if (now >= allowed_at && machine.when(now, allowed_weight) != now)
      return "step " + std::to_string(step) + ": a promise was broken";
    const b::time_point when = machine.when(now, weight);
    const bool passes = machine.take(now, weight);
    if (passes != model.take(now, weight)) return "step " + std::to_string(step) + ": take";
    if (passes != (when == now)) return "step " + std::to_string(step) + ": when";
    if (!passes) {
      // Not a moment before.
      Model early = model;
      if (early.take(when - 1ns, weight)) return "step " + std::to_string(step) + ": could be earlier";
      Model in_time = model;
      if (!in_time.take(when, weight)) return "step " + std::to_string(step) + ": too early";
      allowed_at = when;
      allowed_weight = weight;
      now = roll.below(3) == 0 ? when : now + std::chrono::milliseconds(roll.below(30));
    } else {
      if (roll.below(8) == 0) {  // it is cancelled before it goes on
        machine.give_back(weight, now);
        if constexpr (requires { model.level; }) {
          model.level += static_cast<std::int64_t>(weight) * model.interval;
        } else {
          model.passed.resize(model.passed.size() - weight);
        }
      }
      allowed_at = b::time_point::max();
      now += std::chrono::milliseconds(roll.below(roll.below(6) == 0 ? 300 : 12));
    }
  }
  return "";
}
std::string limiter_history(std::uint64_t seed) {
  dice roll(seed);
  const std::uint64_t permits = 1 + roll.below(9);
  if (roll.below(2) == 0) {
    const b::duration interval = std::chrono::microseconds(1000 + roll.below(20'000));
    d::token_bucket machine(interval, permits);
    bucket_model model{interval, static_cast<std::int64_t>(permits) * interval,
                       static_cast<std::int64_t>(permits) * interval, b::time_point(1h)};
    return rate_history(roll, machine, model, permits);
  }
  const b::duration per = std::chrono::milliseconds(10 + roll.below(200));
  d::sliding_window machine(permits, per);
  window_model model{permits, per, {}};
  return rate_history(roll, machine, model, permits);
}

void run_all(std::string (*history)(std::uint64_t)) {
  const seeds these = seeds_to_run();
  std::uint64_t alike = 0;
  for (std::uint64_t seed = these.first; seed < these.end; ++seed) {
    const std::string difference = history(seed);
    if (!difference.empty())
      FAIL("seed " << seed << " (run it alone: BELAY_SEED=" << seed << "), " << difference);
    ++alike;
  }
  CHECK(alike == these.end - these.first);
}

}  // namespace

TEST_CASE("breaker machine: does what a simple model does, in 100,000 random histories") {
  run_all(breaker_history);
}
TEST_CASE("rate machines: do what simple models do, in 100,000 random histories") {
  run_all(limiter_history);
}
