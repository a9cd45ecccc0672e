// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many may pass and when, without tasks or a clock: a token bucket and a sliding window.

#include <belay/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace belay::detail {

// `factor * length`, stopping at the greatest duration.
[[nodiscard]] constexpr duration saturating_times(std::uint64_t factor, duration length) noexcept {
  if (length.count() != 0 && factor > static_cast<std::uint64_t>(duration::max().count()) /
                                          static_cast<std::uint64_t>(length.count()))
    return duration::max();
  return duration(static_cast<duration::rep>(factor) * length.count());
}

// A bucket of `burst` tokens, one more each `interval`. Kept as one number, the time at which it will be full again ("theoretical arrival time"):
// the generic cell rate algorithm, ITU-T I.371, as a virtual scheduling algorithm. A call of weight w may pass if the bucket would then not
// be emptier than empty.
class token_bucket {
 public:
  token_bucket(duration interval, std::uint64_t burst) noexcept
      : interval_(interval), depth_(saturating_times(burst, interval)) {}

  [[nodiscard]] bool take(time_point now, std::uint64_t weight) noexcept {
    const time_point full = after(now, weight);
    if (full - now > depth_) return false;
    full_at_ = full;
    return true;
  }
  // The first time at which `take` of so many succeeds, if nobody comes before. Of more than the bucket holds: one after the other.
  [[nodiscard]] time_point when(time_point now, std::uint64_t weight) const noexcept {
    const time_point full = after(now, weight);
    if (full == time_point::max()) return full;
    return full - now > depth_ ? full - depth_ : now;
  }
  // Of the last one that was let in.
  void give_back(std::uint64_t weight, time_point) noexcept {
    full_at_ -= saturating_times(weight, interval_);
  }

 private:
  [[nodiscard]] time_point after(time_point now, std::uint64_t weight) const noexcept {
    return saturating_add(full_at_ > now ? full_at_ : now, saturating_times(weight, interval_));
  }
  duration interval_;
  duration depth_;
  time_point full_at_{};
};

// Never more than `permits` in any stretch of time of length `per`: remembers when each was let in.
class sliding_window {
 public:
  sliding_window(std::uint64_t permits, duration per) noexcept : permits_(permits), per_(per) {}

  [[nodiscard]] bool take(time_point now, std::uint64_t weight);
  // Of more than `permits`: not later than this.
  [[nodiscard]] time_point when(time_point now, std::uint64_t weight) noexcept;
  // Of one that was let in at `at`.
  void give_back(std::uint64_t weight, time_point at) noexcept;

 private:
  struct entry {
    time_point at;
    std::uint64_t weight;
  };
  void drop_old(time_point now) noexcept;
  [[nodiscard]] entry& nth(std::size_t n) noexcept { return ring_[(first_ + n) % ring_.size()]; }

  std::uint64_t permits_;
  duration per_;
  std::uint64_t used_ = 0;
  std::vector<entry> ring_;  // oldest first, from first_
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace belay::detail
