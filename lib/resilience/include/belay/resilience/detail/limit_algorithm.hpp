// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many calls at a time a service can take, learned from how long they take: under adaptive_limiter.

#include <belay/core/time.hpp>
#include <cstddef>
#include <cstdint>

namespace belay {

enum class limit_algorithm : unsigned char {
  /// Compares each latency with the least one, and leaves room for a short queue. For services whose good latency is not known. The least latency
  /// is measured anew now and then, with half of the limit, and half of that, as long as calls get quicker by it: so a queue that stays
  /// does not pass for it. (The gradient controller of Envoy's adaptive concurrency filter; probing as in BBR: Cardwell et al., ACM Queue
  /// 14/5, 2016.)
  gradient,
  /// One more for each limit's worth of good calls, a tenth less at a call that is too slow or is refused. For services whose good
  /// latency is known. (Chiu, Jain: Analysis of the increase and decrease algorithms, 1989.)
  aimd,
};

namespace detail {

struct limit_rules {
  limit_algorithm algorithm = limit_algorithm::gradient;
  std::size_t first = 20;
  std::size_t least = 1;
  std::size_t most = 1000;
  duration too_slow = std::chrono::seconds(1);  // aimd
  double backoff = 0.9;                         // aimd, and refusals
  double tolerance = 2;                         // gradient
  double smoothing = 0.2;                       // gradient
  std::size_t probe_after = 1000;               // gradient
  std::size_t queue = 4;                        // gradient
};

class learned_limit {
 public:
  explicit learned_limit(const limit_rules& rules) noexcept
      : rules_(rules), estimate_(static_cast<double>(rules.first)) {}

  // A call took so long while so many (itself included) were under way when it began. `refused`: the service said that it is overloaded, or did
  // not answer in time.
  void ended(duration took, std::size_t under_way, bool refused) noexcept;

  // Less than what was learned while the least latency is measured.
  [[nodiscard]] std::size_t limit() const noexcept {
    const auto learned = static_cast<std::size_t>(estimate_);
    return probe_calls_ > 0 && probe_limit_ < learned ? probe_limit_ : learned;
  }

 private:
  void set(double estimate) noexcept;
  void less() noexcept;
  void measure(duration took, std::size_t under_way) noexcept;
  void probed(duration took, std::size_t under_way) noexcept;
  void probe_at(std::size_t limit) noexcept;
  [[nodiscard]] bool needed(std::size_t under_way) const noexcept {
    return static_cast<double>(under_way) >= estimate_ / 2;
  }

  const limit_rules rules_;
  double estimate_;
  duration least_took_ = duration::max();
  duration least_in_probe_ = duration::max();
  duration least_before_ = duration::max();  // at twice the limit of this probe
  std::size_t probe_limit_ = 0;
  std::uint64_t probe_calls_ = 0;  // left
  std::uint64_t since_probe_ = 0;  // calls
  std::uint64_t calls_ = 0;
  std::uint64_t good_ = 0;        // aimd: since the limit changed
  std::uint64_t since_less_ = 0;  // calls since it was lowered because of a refusal
};

}  // namespace detail
}  // namespace belay
