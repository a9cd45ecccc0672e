// SPDX-License-Identifier: Apache-2.0
// The two ways of learning a limit.

#include <belay/resilience/detail/limit_algorithm.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace belay::detail {

void learned_limit::set(double estimate) noexcept {
  estimate_ = std::clamp(estimate, static_cast<double>(rules_.least), static_cast<double>(rules_.most));
}

// Once for the calls that were under way together: what they all saw is one overload, not as many as there are calls.
void learned_limit::less() noexcept {
  if (since_less_ < limit()) return;
  good_ = 0;
  since_less_ = 0;
  set(std::floor(estimate_ * rules_.backoff));
}

void learned_limit::ended(duration took, std::size_t under_way, bool refused) noexcept {
  ++since_less_;
  if (calls_ == 0) since_less_ = limit();
  ++calls_;
  if (refused) return less();
  if (rules_.algorithm == limit_algorithm::gradient) return measure(std::max(took, duration(1)), under_way);
  if (took >= rules_.too_slow) return less();
  // Unused room says nothing about what the service can take.
  if (!needed(under_way) || ++good_ < limit()) return;
  good_ = 0;
  set(estimate_ + 1);
}

void learned_limit::probe_at(std::size_t limit) noexcept {
  constexpr std::size_t enough = 10;  // calls, for one of them to be a quick one
  least_before_ = std::exchange(least_in_probe_, duration::max());
  probe_limit_ = limit;
  probe_calls_ = std::max(limit, enough);
}

void learned_limit::probed(duration took, std::size_t under_way) noexcept {
  if (under_way > probe_limit_) return;  // it began before, and has seen a longer queue
  least_in_probe_ = std::min(least_in_probe_, took);
  if (--probe_calls_ > 0) return;
  // Quicker than with twice as many: that was a queue, and this may be one, too.
  const bool quicker =
      static_cast<double>(least_in_probe_.count()) < 0.9 * static_cast<double>(least_before_.count());
  const std::size_t half = std::max(probe_limit_ / 2, rules_.least);
  if (quicker && half < probe_limit_) return probe_at(half);
  least_took_ = std::min(least_in_probe_, least_before_);
  since_probe_ = 0;
}

void learned_limit::measure(duration took, std::size_t under_way) noexcept {
  if (probe_calls_ > 0) return probed(took, under_way);
  least_took_ = std::min(least_took_, took);
  ++since_probe_;
  if (!needed(under_way)) return;
  // A probe takes some limits' worth of calls: with a high limit it comes later.
  if (since_probe_ >= std::max<std::uint64_t>(rules_.probe_after, 20 * limit())) {
    least_in_probe_ = duration::max();
    return probe_at(std::max(limit() / 2, rules_.least));
  }
  // 1 while it took at most `tolerance` times the least; never less than half, so that one slow call is no catastrophe.
  const double least = static_cast<double>(least_took_.count());
  const double gradient = std::clamp(rules_.tolerance * least / static_cast<double>(took.count()), 0.5, 1.0);
  // The slower, the less room for a queue: with all of it, the limit could not go below twice that room.
  const double room = static_cast<double>(rules_.queue) * (2 * gradient - 1);
  // Those under way together have seen the same queue: what they say counts as much as one that is alone. Otherwise a high limit swings.
  const double part = std::min(rules_.smoothing, 1 / estimate_);
  set(estimate_ + part * (estimate_ * gradient + room - estimate_));
}

}  // namespace belay::detail
