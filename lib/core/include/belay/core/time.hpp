// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time as Belay sees it: monotonic, in nanoseconds, and injected.

#include <chrono>
#include <concepts>
#include <ratio>
#include <source_location>

namespace belay {

using duration = std::chrono::nanoseconds;
/// Monotonic. Wall-clock jumps have no effect on anything that waits.
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

/// Where a loop takes its time from.
class clock {
 public:
  virtual ~clock() = default;
  /// Never goes back, and never is before zero. Called on the loop's thread only.
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

namespace detail {
[[noreturn]] void throw_misuse_nan(std::source_location where);
}

/// Any std::chrono duration as an argument: `250ms`, `1.5s`, `hours::max()`. What does not fit stops at the ends of the range, so
/// that "for ever" in hours is not "already over" in nanoseconds.
///
/// Errors: `misuse_error` for what is not a number, before anything has begun.
class any_duration {
 public:
  constexpr any_duration(duration length) noexcept
      : length_(length) {}  // NOLINT(google-explicit-constructor)
  template <class Rep, class Period>
  constexpr any_duration(std::chrono::duration<Rep, Period> length,  // NOLINT(google-explicit-constructor)
                         std::source_location where = std::source_location::current())
      : length_(convert(length, where)) {}

  constexpr operator duration() const noexcept { return length_; }  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr duration value() const noexcept { return length_; }

 private:
  template <class Rep, class Period>
  static constexpr duration convert(std::chrono::duration<Rep, Period> length, std::source_location where) {
    using ratio = std::ratio_divide<Period, std::nano>;
    if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
      const auto count = static_cast<long double>(length.count()) * ratio::num / ratio::den;
      if (count != count) detail::throw_misuse_nan(where);
      if (count >= static_cast<long double>(duration::max().count())) return duration::max();
      if (count <= static_cast<long double>(duration::min().count())) return duration::min();
      return duration(static_cast<duration::rep>(count));
    } else if constexpr (std::integral<Rep>) {
      // The product of a count and a ratio always fits. (Units finer than ours are rounded towards zero.)
      __extension__ using wide = __int128;
      const wide count = static_cast<wide>(length.count()) * ratio::num / ratio::den;
      if (count > duration::max().count()) return duration::max();
      if (count < duration::min().count()) return duration::min();
      return duration(static_cast<duration::rep>(count));
    } else {
      return std::chrono::duration_cast<duration>(length);  // a number type of somebody else's
    }
  }

  duration length_;
};

}  // namespace belay
