// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time as Belay sees it: monotonic, in nanoseconds, and injected.

#include <chrono>

namespace belay {

using duration = std::chrono::nanoseconds;
/// Monotonic. Wall-clock jumps have no effect on anything that waits.
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

/// Where a loop takes its time from.
class clock {
 public:
  virtual ~clock() = default;
  /// Never goes back. Called on the loop's thread only.
  [[nodiscard]] virtual time_point now() noexcept = 0;
  /// The loop has nothing to do before `next`. A virtual clock moves there and says true; a real one says false, and
  /// the loop sleeps.
  virtual bool jump_to(time_point next) noexcept {
    (void)next;
    return false;
  }
};

/// The machine's monotonic clock; one object for all.
[[nodiscard]] clock& steady_clock() noexcept;

/// `start + length` that stops at the ends of the range and never overflows.
[[nodiscard]] constexpr time_point saturating_add(time_point start, duration length) noexcept {
  // The room up to an end of the range is only asked for on that side of zero, where it cannot overflow itself.
  const bool after_zero = start.time_since_epoch() >= duration::zero();
  if (length >= duration::zero()) {
    return after_zero && time_point::max() - start < length ? time_point::max() : start + length;
  }
  return !after_zero && time_point::min() - start > length ? time_point::min() : start + length;
}

}  // namespace belay
