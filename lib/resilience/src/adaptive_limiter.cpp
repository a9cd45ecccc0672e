// SPDX-License-Identifier: Apache-2.0
// What an adaptive limiter learns from, and its options.

#include <belay/errors/detail/story.hpp>
#include <belay/resilience/adaptive_limiter.hpp>
#include <belay/resilience/detail/options_text.hpp>

#include <algorithm>

namespace belay {
namespace detail {

namespace {

const adaptive_limiter_options& checked(const adaptive_limiter_options& o) {
  const std::string who = title("adaptive limiter", o.name);
  const auto limit = [&who](const char* field, std::size_t value, std::size_t least, std::size_t most) {
    require_option(value >= least && value <= most, who, field, std::uint64_t{value},
                   "from " + std::to_string(least) + " to " + std::to_string(most));
  };
  limit("most_limit", o.most_limit, 1, 1'000'000);
  limit("least_limit", o.least_limit, 1, o.most_limit);
  limit("first_limit", o.first_limit, o.least_limit, o.most_limit);
  limit("probe_after", o.probe_after, 10, 1'000'000'000);
  limit("queue", o.queue, 1, 1'000'000);
  limit("most_waiting", o.most_waiting, 0, 1'000'000'000);
  require_option(o.too_slow > duration::zero(), who, "too_slow", o.too_slow, "more than 0");
  require_option(o.longest_wait > duration::zero(), who, "longest_wait", o.longest_wait, "more than 0");
  require_option(o.backoff >= 0.1 && o.backoff < 1, who, "backoff", o.backoff,
                 "at least 0.1 and less than 1");
  require_option(o.tolerance >= 1 && o.tolerance <= 10, who, "tolerance", o.tolerance, "from 1 to 10");
  require_option(o.smoothing > 0 && o.smoothing <= 1, who, "smoothing", o.smoothing, "more than 0, up to 1");
  return o;
}

limit_rules rules_of(const adaptive_limiter_options& o) {
  return {.algorithm = o.algorithm,
          .first = o.first_limit,
          .least = o.least_limit,
          .most = o.most_limit,
          .too_slow = o.too_slow,
          .backoff = o.backoff,
          .tolerance = o.tolerance,
          .smoothing = o.smoothing,
          .probe_after = o.probe_after,
          .queue = o.queue};
}

}  // namespace

adaptive_state::adaptive_state(adaptive_limiter_options&& given)
    : gated(policy_kind::adaptive_limit, "limit_reached", checked(given).name,
            {.what = "adaptive_limiter",
             .limit = given.first_limit,
             .most_waiting = given.most_waiting,
             .longest_wait = given.longest_wait},
            given.listener),
      options_(std::move(given)),
      learned_(rules_of(options_)),
      told_(options_.first_limit) {}

void adaptive_state::ended(const outcome_base& how, duration took, std::size_t under_way) noexcept {
  bool refused = false;
  if (how.how() == ending::failed) {
    try {
      const failure what = how.failed_with();
      refused = !failed_after_cancellation(what) && options_.refusals.matches(what);
    } catch (...) {
      report_lost(failure::of(std::current_exception()));
    }
    if (!refused) return;
  }
  learned_.ended(took, under_way, refused);
  const std::size_t limit = learned_.limit();
  if (limit == gate().limit()) return;
  gate().set_limit(limit);
  const std::size_t moved = limit > told_ ? limit - told_ : told_ - limit;
  if (moved * 10 < told_) return;
  told_ = limit;
  if (listener()) {
    listener().tell({.action = policy_action::limit_changed,
                     .kind = policy_kind::adaptive_limit,
                     .policy = name(),
                     .number = limit,
                     .length = took});
  }
}

}  // namespace detail

std::string adaptive_limiter::describe() const {
  const adaptive_limiter_options& o = state_->options();
  return detail::title("adaptive limiter", o.name) + ": " + std::to_string(o.least_limit) + " to " +
         std::to_string(o.most_limit) + " at a time, by " +
         (o.algorithm == limit_algorithm::gradient
              ? "latency above " + detail::number_text(o.tolerance) + " times the least"
              : "calls of " + detail::duration_text(o.too_slow) + " or more") +
         ", " + std::to_string(state_->gate().limit()) + " just now";
}

}  // namespace belay
