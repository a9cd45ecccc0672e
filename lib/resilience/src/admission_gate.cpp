// SPDX-License-Identifier: Apache-2.0
// Letting in, in order.

#include <belay/resilience/detail/admission_gate.hpp>

namespace belay::detail {

bool admission_gate::awaiter::try_now() {
  to_->home_.require(to_->settings_.what);
  if (to_->take()) {
    granted_ = true;
    return true;
  }
  const gate_settings& set = to_->settings_;
  if (to_->waiting() >= set.most_waiting || set.longest_wait <= duration::zero()) {
    how_ = answer::full;
    return true;
  }
  queued_ = true;
  since_ = now();
  if (set.longest_wait != duration::max()) {
    due = static_cast<std::uint64_t>(saturating_add(since_, set.longest_wait).time_since_epoch().count());
    fire = &awaiter::expired;
    this_runtime->timers->insert(*this);
  }
  return false;
}

void admission_gate::awaiter::expired(timer_node& timer) noexcept {
  auto& self = static_cast<awaiter&>(timer);
  self.how_ = answer::waited_too_long;
  self.wake();
}

void admission_gate::awaiter::grant() noexcept {
  stop_timer();
  granted_ = true;
  wake();
}

void admission_gate::let_in() noexcept {
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
    while (!line->empty()) {
      if (!take()) return;
      static_cast<awaiter*>(line->front())->grant();
    }
  }
}

void admission_gate::set_limit(std::size_t limit) {
  home_.require(settings_.what);
  settings_.limit = limit;
  let_in();
}

}  // namespace belay::detail
