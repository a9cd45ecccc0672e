// SPDX-License-Identifier: Apache-2.0
// The two ways of learning a limit.

#include <belay/resilience/detail/limit_algorithm.hpp>

#include <algorithm>
#include <cmath>

namespace belay::detail {

void learned_limit::set(double estimate) noexcept {
  estimate_ = std::clamp(estimate, static_cast<double>(rules_.least), static_cast<double>(rules_.most));
}

// Once for the calls that were under way together: what they all saw is one overload, not as many as there are calls.
void learned_limit::less() noexcept {
  good_ = 0;
  if (since_less_ < limit()) return;
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

void learned_limit::measure(duration took, std::size_t under_way) noexcept {
  if (probe_calls_ > 0) {
    least_in_probe_ = std::min(least_in_probe_, took);
    if (--probe_calls_ > 0) return;
    least_took_ = least_in_probe_;
    since_probe_ = 0;
    return;
  }
  least_took_ = std::min(least_took_, took);
  ++since_probe_;
  if (!needed(under_way)) return;
  if (since_probe_ >= rules_.probe_after) {
    least_in_probe_ = duration::max();
    probe_calls_ = 2 * limit();  // those under way, which have seen the queue, and as many again
    return;
  }
  // 1 while it took at most `tolerance` times the least; never less than half, so that one slow call is no catastrophe.
  const double least = static_cast<double>(least_took_.count());
  const double gradient = std::clamp(rules_.tolerance * least / static_cast<double>(took.count()), 0.5, 1.0);
  const double next = estimate_ * gradient + static_cast<double>(rules_.queue);
  set(estimate_ * (1 - rules_.smoothing) + next * rules_.smoothing);
}

}  // namespace belay::detail
