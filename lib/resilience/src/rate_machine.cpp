// SPDX-License-Identifier: Apache-2.0
// The sliding window.

#include <belay/resilience/detail/rate_machine.hpp>

#include <algorithm>

namespace belay::detail {

void sliding_window::drop_old(time_point now) noexcept {
  while (size_ > 0 && saturating_add(nth(0).at, per_) <= now) {
    used_ -= nth(0).weight;
    first_ = (first_ + 1) % ring_.size();
    --size_;
  }
}

bool sliding_window::take(time_point now, std::uint64_t weight) {
  drop_old(now);
  if (weight > permits_ - used_) return false;
  if (size_ > 0 && nth(size_ - 1).at >= now) {
    nth(size_ - 1).weight += weight;
  } else {
    if (size_ == ring_.size()) {
      std::vector<entry> larger(std::max<std::size_t>(8, 2 * size_));
      for (std::size_t n = 0; n < size_; ++n) larger[n] = nth(n);
      ring_.swap(larger);
      first_ = 0;
    }
    nth(size_++) = {now, weight};
  }
  used_ += weight;
  return true;
}

time_point sliding_window::when(time_point now, std::uint64_t weight) noexcept {
  drop_old(now);
  const std::uint64_t rounds = (weight - 1) / permits_;
  std::uint64_t left = used_;
  time_point start = now;
  for (std::size_t n = 0; n < size_ && weight - rounds * permits_ > permits_ - left; ++n) {
    left -= nth(n).weight;
    start = saturating_add(nth(n).at, per_);
  }
  return saturating_add(start, saturating_times(rounds, per_));
}

void sliding_window::give_back(std::uint64_t weight, time_point at) noexcept {
  for (std::size_t n = size_; n > 0; --n) {
    entry& one = nth(n - 1);
    if (one.at != at || one.weight < weight) continue;
    one.weight -= weight;
    used_ -= weight;
    return;
  }
}

}  // namespace belay::detail
