// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the latest calls ended: the last so many of them, or those of the last so many seconds.

#include <belay/core/time.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace belay::detail {

struct call_counts {
  std::uint64_t calls = 0;
  std::uint64_t failures = 0;
  std::uint64_t slow = 0;
  void add(const call_counts& other) noexcept {
    calls += other.calls;
    failures += other.failures;
    slow += other.slow;
  }
  void subtract(const call_counts& other) noexcept {
    calls -= other.calls;
    failures -= other.failures;
    slow -= other.slow;
  }
};

class call_window {
 public:
  // By time if `length` is more than zero; otherwise the last `calls`.
  call_window(std::size_t calls, duration length);

  void add(bool failed, bool slow, time_point now);
  // Of the window that ends now.
  [[nodiscard]] const call_counts& counts(time_point now) noexcept {
    if (by_time_) drop_old(now);
    return total_;
  }
  void clear() noexcept;
  [[nodiscard]] bool by_time() const noexcept { return by_time_; }

 private:
  // By time: each bucket holds the calls that ended in one tenth of the window. A bucket goes as a whole when its first moment leaves the window,
  // so that no call counts longer than the window, and each for nine tenths of it at the least.
  static constexpr std::int64_t bucket_count = 10;
  void drop_old(time_point now) noexcept;

  bool by_time_;
  std::int64_t bucket_length_ = 1;
  std::int64_t newest_ =
      INT64_MIN;  // the number of the newest bucket: its time divided by the length of a bucket
  std::array<call_counts, bucket_count> buckets_{};

  std::vector<unsigned char> last_;  // by count: a ring; bit 0: failed, bit 1: slow
  std::size_t used_ = 0;
  std::size_t next_ = 0;

  call_counts total_;
};

}  // namespace belay::detail
