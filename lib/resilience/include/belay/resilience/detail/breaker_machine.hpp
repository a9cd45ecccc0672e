// SPDX-License-Identifier: Apache-2.0
#pragma once
// The states of a circuit breaker, without tasks, threads or a clock: what happens is told with its time, and the answer says what changed.
//
//   closed     lets all calls through and counts how they end; a rule that is met opens it
//   open       lets none through until its time has passed
//   half_open  lets so many probes through as are set; enough successes close it, and when there cannot be enough any more it opens again.
//              Probes of which nothing is heard for `probe_limit` are lost: others are let through
//   isolated   lets none through until somebody says otherwise
//
// Every change begins a new *generation*, and so does the loss of probes. A call carries the generation that let it in, and how it ends counts
// only there.

#include <belay/core/time.hpp>
#include <belay/resilience/detail/call_window.hpp>
#include <cstddef>
#include <cstdint>
#include <exception>

namespace belay {

enum class breaker_state : unsigned char { closed, open, half_open, isolated };

namespace detail {

struct breaker_rules {
  std::size_t consecutive_failures = 5;
  double failure_rate = 0;
  double slow_call_rate = 0;
  duration slow_call = duration::max();
  std::size_t window_calls = 100;
  duration window = duration::zero();
  std::size_t minimum_calls = 20;
  duration open_for = std::chrono::seconds(30);
  double open_growth = 1;
  duration longest_open = std::chrono::minutes(10);
  std::size_t probes = 1;
  std::size_t probes_to_close = 0;
  duration probe_limit = duration::max();
};

// How a call counts. `nothing`: cancelled, or an error that says nothing about what is called.
enum class call_verdict : unsigned char { success, failure, nothing };

enum class trip_cause : unsigned char { none, consecutive, failure_rate, slow_call_rate, probes, by_hand };

// What opened it, for messages.
struct trip {
  trip_cause cause = trip_cause::none;
  std::uint64_t part = 0;
  std::uint64_t of = 0;
};

struct breaker_counters {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
  std::uint64_t slow = 0;
  std::uint64_t uncounted = 0;
  std::uint64_t stale = 0;
  std::uint64_t rejected = 0;
  std::uint64_t opened = 0;
};

struct breaker_change {
  breaker_state from = breaker_state::closed;
  breaker_state to = breaker_state::closed;
  [[nodiscard]] explicit operator bool() const noexcept { return from != to; }
};

class breaker_machine {
 public:
  explicit breaker_machine(const breaker_rules& rules);

  struct admission {
    bool admitted = false;
    std::uint64_t generation = 0;
    breaker_change change;
  };
  [[nodiscard]] admission admit(time_point now) noexcept;
  // To be called once for each call that was admitted. `what` is kept if it counts as a failure; the one kept before comes back in it.
  breaker_change ended(std::uint64_t generation, call_verdict verdict, duration took, time_point now,
                       std::exception_ptr& what);

  breaker_change isolate() noexcept;
  breaker_change open(time_point now) noexcept;
  // Closed, with nothing counted.
  breaker_change close() noexcept;
  // From any state but closed; from half open: probes that are still out are not waited for. False: it is closed.
  [[nodiscard]] bool half_open(breaker_change& change) noexcept;

  // An open time that has passed is half open, although the next call only makes it so.
  [[nodiscard]] breaker_state state(time_point now) const noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return state_ == breaker_state::closed; }
  [[nodiscard]] breaker_state last_state() const noexcept { return state_; }
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  [[nodiscard]] time_point open_until() const noexcept { return open_until_; }
  [[nodiscard]] duration open_length() const noexcept;
  [[nodiscard]] const trip& tripped_by() const noexcept { return trip_; }
  [[nodiscard]] const std::exception_ptr& last_failure() const noexcept { return last_failure_; }
  [[nodiscard]] const breaker_counters& counters() const noexcept { return counters_; }
  [[nodiscard]] call_counts window_counts(time_point now) noexcept { return window_.counts(now); }
  [[nodiscard]] std::uint64_t failures_in_a_row() const noexcept { return in_a_row_; }
  [[nodiscard]] std::size_t probes_running() const noexcept { return probes_running_; }
  [[nodiscard]] const breaker_rules& rules() const noexcept { return rules_; }
  // Whether the time at which a call ends matters, and how long it took.
  [[nodiscard]] bool needs_time() const noexcept { return needs_time_; }

 private:
  breaker_change go_to(breaker_state next) noexcept;
  breaker_change trip_open(trip by, time_point now) noexcept;
  [[nodiscard]] trip rule_met(time_point now) noexcept;
  breaker_change probe_ended(bool succeeded, time_point now) noexcept;
  [[nodiscard]] bool probe_wanted() const noexcept {
    return probes_running_ + probes_succeeded_ + probes_failed_ < rules_.probes;
  }

  const breaker_rules rules_;
  const bool needs_time_;
  const bool takes_rates_;
  breaker_state state_ = breaker_state::closed;
  std::uint64_t generation_ = 1;
  std::uint64_t in_a_row_ = 0;  // failures
  call_window window_;
  time_point open_until_{};
  unsigned reopened_ = 0;    // times that probes failed since it was closed
  time_point last_probe_{};  // when it was let in
  std::size_t probes_running_ = 0;
  std::size_t probes_succeeded_ = 0;
  std::size_t probes_failed_ = 0;
  trip trip_;
  breaker_counters counters_;
  std::exception_ptr last_failure_;
};

}  // namespace detail
}  // namespace belay
