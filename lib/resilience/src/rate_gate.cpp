// SPDX-License-Identifier: Apache-2.0
// Letting through at the computed times, first come, first served.

#include <belay/resilience/detail/rate_gate.hpp>

namespace belay::detail {

bool rate_gate::try_enter(std::uint64_t weight) {
  home_.require("rate_limiter");
  return line_.empty() && take(now(), weight);
}

bool rate_gate::awaiter::try_now() {
  rate_gate& gate = *to_;
  gate.home_.require("rate_limiter");
  const time_point here = now();
  if (gate.line_.empty() && gate.take(here, weight_)) {
    granted_ = true;
    granted_at_ = here;
    return true;
  }
  const time_point start = gate.when(here, gate.weight_waiting_ + weight_);
  const rate_gate_settings& set = gate.settings_;
  if (gate.line_.size() >= set.most_waiting || start - here > set.longest_wait) {
    entry_ = {.how = answer::refused, .retry_after = start - here};
    return true;
  }
  queued_ = true;
  since_ = here;
  gate.weight_waiting_ += weight_;
  if (set.longest_wait != duration::max()) {
    limit_.due =
        static_cast<std::uint64_t>(saturating_add(here, set.longest_wait).time_since_epoch().count());
    limit_.fire = &awaiter::expired;
    this_runtime->timers->insert(limit_);
  }
  if (gate.line_.empty()) gate.arm(start);
  return false;
}

void rate_gate::awaiter::expired(timer_node& timer) noexcept {
  awaiter& self = *static_cast<limit_timer&>(timer).of;
  rate_gate& gate = *self.to_;
  // A timer of the gate may be due at the same time: whoever may pass now, passes.
  gate.serve();
  if (self.granted_) return;
  const time_point here = now();
  self.entry_ = {.how = answer::waited_too_long, .retry_after = gate.when(here, gate.weight_waiting_) - here};
  gate.weight_waiting_ -= self.weight_;
  self.wake();
  gate.serve();
}

void rate_gate::awaiter::grant(time_point at) noexcept {
  stop_timer();
  granted_ = true;
  granted_at_ = at;
  to_->weight_waiting_ -= weight_;
  wake();
}

void rate_gate::awaiter::gave_up() noexcept {
  stop_timer();
  to_->weight_waiting_ -= weight_;
  to_->serve();
}

void rate_gate::give_back(std::uint64_t weight, time_point at) noexcept {
  std::visit([&](auto& one) { one.give_back(weight, at); }, machine_);
  serve();
}

void rate_gate::serve() noexcept {
  while (!line_.empty()) {
    auto* first = static_cast<awaiter*>(line_.front());
    const time_point here = now();
    bool passes = false;
    try {
      passes = take(here, first->weight_);
    } catch (...) {
      return arm(saturating_add(here, std::chrono::milliseconds(1)));  // no memory for the window: again soon
    }
    if (!passes) return arm(when(here, first->weight_));
    first->grant(here);
  }
  if (linked()) this_runtime->timers->remove(*this);
}

void rate_gate::arm(time_point at) noexcept {
  if (linked()) this_runtime->timers->remove(*this);
  if (at == time_point::max()) return;
  due = static_cast<std::uint64_t>(at.time_since_epoch().count());
  this_runtime->timers->insert(*this);
}

}  // namespace belay::detail
