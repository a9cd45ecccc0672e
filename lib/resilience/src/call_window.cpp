// SPDX-License-Identifier: Apache-2.0
// The windows over which rates are taken.

#include <belay/resilience/detail/call_window.hpp>

#include <algorithm>

namespace belay::detail {

call_window::call_window(std::size_t calls, duration length)
    : by_time_(length > duration::zero()),
      bucket_length_(std::max<std::int64_t>(
          1, length.count() / bucket_count + (length.count() % bucket_count > 0 ? 1 : 0))),
      last_(by_time_ ? 0 : calls) {}

void call_window::drop_old(time_point now) noexcept {
  const std::int64_t current = now.time_since_epoch().count() / bucket_length_;
  if (current <= newest_) return;  // also when another loop's clock is a little behind
  if (newest_ == INT64_MIN || current - newest_ >= bucket_count) {
    buckets_.fill({});
    total_ = {};
  } else {
    for (std::int64_t n = newest_ + 1; n <= current; ++n) {
      call_counts& bucket = buckets_[static_cast<std::size_t>(n % bucket_count)];
      total_.subtract(bucket);
      bucket = {};
    }
  }
  newest_ = current;
}

void call_window::add(bool failed, bool slow, time_point now) {
  const call_counts one{1, failed ? 1u : 0u, slow ? 1u : 0u};
  if (by_time_) {
    drop_old(now);
    buckets_[static_cast<std::size_t>(newest_ % bucket_count)].add(one);
    total_.add(one);
    return;
  }
  if (last_.empty()) return;
  unsigned char& slot = last_[next_];
  if (used_ == last_.size()) {
    total_.subtract({1, (slot & 1u) != 0 ? 1u : 0u, (slot & 2u) != 0 ? 1u : 0u});
  } else {
    ++used_;
  }
  slot = static_cast<unsigned char>((failed ? 1u : 0u) | (slow ? 2u : 0u));
  total_.add(one);
  next_ = next_ + 1 == last_.size() ? 0 : next_ + 1;
}

void call_window::clear() noexcept {
  newest_ = INT64_MIN;
  buckets_.fill({});
  used_ = 0;
  next_ = 0;
  total_ = {};
}

}  // namespace belay::detail
