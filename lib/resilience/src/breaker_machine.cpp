// SPDX-License-Identifier: Apache-2.0
// The transitions of a circuit breaker.

#include <belay/resilience/detail/breaker_machine.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace belay::detail {

breaker_machine::breaker_machine(const breaker_rules& rules)
    : rules_(rules),
      needs_time_(rules.window > duration::zero() || rules.slow_call_rate > 0),
      takes_rates_(rules.failure_rate > 0 || rules.slow_call_rate > 0),
      window_(takes_rates_ ? rules.window_calls : 0, takes_rates_ ? rules.window : duration::zero()) {}

breaker_change breaker_machine::go_to(breaker_state next) noexcept {
  const breaker_change change{state_, next};
  state_ = next;
  ++generation_;
  in_a_row_ = 0;
  window_.clear();
  probes_running_ = 0;
  probes_succeeded_ = 0;
  probes_failed_ = 0;
  return change;
}

duration breaker_machine::open_length() const noexcept {
  if (reopened_ == 0 || rules_.open_growth == 1) return rules_.open_for;
  const double grown = static_cast<double>(rules_.open_for.count()) *
                       std::pow(rules_.open_growth, static_cast<double>(reopened_));
  // Compared as floating point: the product may be far beyond what a duration holds.
  if (grown >= static_cast<double>(rules_.longest_open.count()))
    return std::max(rules_.open_for, rules_.longest_open);
  return duration(static_cast<duration::rep>(grown));
}

breaker_change breaker_machine::trip_open(trip by, time_point now) noexcept {
  trip_ = by;
  ++counters_.opened;
  const breaker_change change = go_to(breaker_state::open);
  open_until_ = saturating_add(now, open_length());
  return change;
}

breaker_state breaker_machine::state(time_point now) const noexcept {
  return state_ == breaker_state::open && now >= open_until_ ? breaker_state::half_open : state_;
}

breaker_machine::admission breaker_machine::admit(time_point now) noexcept {
  admission answer;
  if (state_ == breaker_state::open && now >= open_until_) answer.change = go_to(breaker_state::half_open);
  switch (state_) {
    case breaker_state::closed: answer.admitted = true; break;
    case breaker_state::half_open:
      answer.admitted = probe_wanted();
      if (!answer.admitted && probes_running_ > 0 && saturating_add(last_probe_, rules_.probe_limit) <= now) {
        probes_running_ = 0;  // all that are out are older than that
        ++generation_;
        answer.admitted = probe_wanted();
      }
      if (answer.admitted) {
        ++probes_running_;
        last_probe_ = now;
      }
      break;
    case breaker_state::open:
    case breaker_state::isolated: break;
  }
  answer.generation = generation_;
  if (!answer.admitted) ++counters_.rejected;
  return answer;
}

breaker_change breaker_machine::ended(std::uint64_t generation, call_verdict verdict, duration took,
                                      time_point now, std::exception_ptr& what) {
  if (generation != generation_) {
    ++counters_.stale;
    return {};
  }
  const bool probe = state_ == breaker_state::half_open;
  if (probe) --probes_running_;
  if (verdict == call_verdict::nothing) {
    ++counters_.uncounted;
    return {};
  }
  const bool failed = verdict == call_verdict::failure;
  const bool slow = rules_.slow_call_rate > 0 && took >= rules_.slow_call;
  ++(failed ? counters_.failed : counters_.succeeded);
  if (slow) ++counters_.slow;
  if (failed) std::swap(last_failure_, what);
  if (probe) return probe_ended(!failed && !slow, now);

  in_a_row_ = failed ? in_a_row_ + 1 : 0;
  if (takes_rates_) window_.add(failed, slow, now);
  if (!failed && !slow) return {};  // what is good opens nothing
  const trip met = rule_met(now);
  return met.cause == trip_cause::none ? breaker_change{} : trip_open(met, now);
}

trip breaker_machine::rule_met(time_point now) noexcept {
  if (rules_.consecutive_failures > 0 && in_a_row_ >= rules_.consecutive_failures)
    return {trip_cause::consecutive, in_a_row_, in_a_row_};
  if (!takes_rates_) return {};
  const call_counts& seen = window_.counts(now);
  if (seen.calls < rules_.minimum_calls) return {};
  const auto reached = [&seen](std::uint64_t part, double rate) {
    // 3 of 10 is 0.3 of 10, although 0.3 * 10 is a little more than 3 in binary.
    return rate > 0 && part > 0 && static_cast<double>(part) >= rate * static_cast<double>(seen.calls) - 1e-9;
  };
  if (reached(seen.failures, rules_.failure_rate))
    return {trip_cause::failure_rate, seen.failures, seen.calls};
  if (reached(seen.slow, rules_.slow_call_rate)) return {trip_cause::slow_call_rate, seen.slow, seen.calls};
  return {};
}

breaker_change breaker_machine::probe_ended(bool succeeded, time_point now) noexcept {
  ++(succeeded ? probes_succeeded_ : probes_failed_);
  const std::size_t enough = rules_.probes_to_close == 0 ? rules_.probes : rules_.probes_to_close;
  if (probes_succeeded_ >= enough) return close();
  if (rules_.probes - probes_failed_ >= enough) return {};
  const std::size_t failures = probes_failed_;
  ++reopened_;
  return trip_open({trip_cause::probes, failures, rules_.probes}, now);
}

breaker_change breaker_machine::isolate() noexcept {
  if (state_ == breaker_state::isolated) return {};
  trip_ = {trip_cause::by_hand, 0, 0};
  return go_to(breaker_state::isolated);
}

breaker_change breaker_machine::open(time_point now) noexcept {
  if (state(now) == breaker_state::open) return {};
  return trip_open({trip_cause::by_hand, 0, 0}, now);
}

breaker_change breaker_machine::close() noexcept {
  reopened_ = 0;
  trip_ = {};
  return go_to(breaker_state::closed);
}

bool breaker_machine::half_open(breaker_change& change) noexcept {
  if (state_ == breaker_state::closed) return false;
  change = go_to(breaker_state::half_open);
  return true;
}

}  // namespace belay::detail
