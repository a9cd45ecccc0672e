// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time that costs nothing: jumps to the next timer when all tasks wait.

#include <belay/core/time.hpp>

namespace belay::testing {

/// A clock for `loop_options::clock`. Starts at one hour, so that times before the start can be expressed.
/// It moves only when the loop has nothing to do (autojump) or by `advance`. Thread: the loop's.
class virtual_clock final : public clock {
 public:
  [[nodiscard]] time_point now() noexcept override { return now_; }
  bool jump_to(time_point next) noexcept override {
    if (next == time_point::max()) return true;  // nothing to jump to
    if (next > now_) now_ = next;
    return true;
  }
  /// Moves forward by `length`, as if a computation had taken that long.
  void advance(duration length) noexcept { now_ = saturating_add(now_, length); }
  [[nodiscard]] duration elapsed() const noexcept { return now_ - start; }

  static constexpr time_point start{std::chrono::hours(1)};

 private:
  time_point now_ = start;
};

}  // namespace belay::testing
