// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long to wait before the next attempt.

#include <belay/core/time.hpp>
#include <belay/resilience/detail/random.hpp>
#include <string>

namespace belay {

/// What is made of the greatest delay for an attempt. Clients that failed together must not come back together.
enum class jitter : unsigned char {
  full,  ///< anything from zero to it, each as likely
  none,  ///< exactly it: for tests, and where there is one client
};

/// Delays that grow from attempt to attempt, and stop growing. A value.
///
///     retry_options{.delay = backoff::exponential(50ms, 5s)}
///
/// Errors: `misuse_error` for delays below zero (below and at zero where they grow), a limit below the first delay, a factor below 1, and
///         for what is not a number.
class backoff {
 public:
  /// Always the same.
  [[nodiscard]] static backoff constant(any_duration delay, jitter spread = jitter::full);
  /// `step`, 2 `step`, 3 `step` … up to `most`.
  [[nodiscard]] static backoff linear(any_duration step, any_duration most, jitter spread = jitter::full);
  /// `first`, then each `factor` times the one before, up to `most`.
  [[nodiscard]] static backoff exponential(any_duration first, any_duration most, double factor = 2,
                                           jitter spread = jitter::full);
  /// Random between `first` and three times the delay before, up to `most`: depends on the delay that was drawn before, not on the
  /// number of the attempt. (Brooker: Exponential Backoff And Jitter, 2015.)
  [[nodiscard]] static backoff decorrelated(any_duration first, any_duration most);
  /// At once. Only with a budget or a few attempts.
  [[nodiscard]] static backoff none() { return constant(duration::zero(), jitter::none); }

  /// The greatest delay before retry 1, 2, 3 …, without jitter. Never overflows.
  [[nodiscard]] duration greatest(unsigned retry) const noexcept;
  /// One delay: never negative, never above `greatest`. `before` is the delay before it; zero for the first.
  [[nodiscard]] duration draw(unsigned retry, duration before, detail::random_source& random) const noexcept;
  /// "exponential from 100 ms up to 10 s, full jitter"
  [[nodiscard]] std::string describe() const;

 private:
  enum class shape : unsigned char { constant, linear, exponential, decorrelated };
  backoff(shape how, duration first, duration most, double factor, jitter spread) noexcept
      : shape_(how), jitter_(spread), first_(first), most_(most), factor_(factor) {}

  shape shape_;
  jitter jitter_;
  duration first_;
  duration most_;
  double factor_;
};

}  // namespace belay
