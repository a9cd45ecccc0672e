// SPDX-License-Identifier: Apache-2.0
// A token bucket that calls fill and retries empty.

#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <belay/resilience/retry_budget.hpp>
#include <algorithm>
#include <cmath>

namespace belay {

struct retry_budget::bucket {
  // Whole numbers, so that ten times a tenth is one.
  static constexpr std::int64_t retry = 1'000'000;
  retry_budget_options options;
  std::int64_t each_call;
  std::int64_t most;
  std::int64_t tokens;
  retry_budget_statistics counts = {};
  detail::home_thread home = {};
};

retry_budget::retry_budget(retry_budget_options options) {
  detail::require_option(options.ratio >= 0 && options.ratio <= 1, "retry_budget", "ratio", options.ratio,
                         "from 0 to 1");
  detail::require_option(options.reserve >= 1, "retry_budget", "reserve", options.reserve, "at least 1");
  if (options.name.empty()) options.name = "budget";
  const auto each_call = std::llround(options.ratio * static_cast<double>(bucket::retry));
  const std::int64_t most = std::int64_t{options.reserve} * bucket::retry;
  bucket_ = std::make_shared<bucket>(std::move(options), each_call, most, most);
}

void retry_budget::deposit() const {
  bucket& of = *bucket_;
  of.home.require("retry_budget");
  ++of.counts.calls;
  of.tokens = std::min(of.most, of.tokens + of.each_call);
}

bool retry_budget::try_spend() const noexcept {
  bucket& of = *bucket_;
  if (of.tokens < bucket::retry) {
    ++of.counts.refused;
    return false;
  }
  of.tokens -= bucket::retry;
  ++of.counts.spent;
  return true;
}

void retry_budget::give_back() const noexcept {
  bucket& of = *bucket_;
  of.tokens = std::min(of.most, of.tokens + bucket::retry);
  if (of.counts.spent > 0) --of.counts.spent;
}

retry_budget_statistics retry_budget::statistics() const noexcept {
  retry_budget_statistics now = bucket_->counts;
  now.available = static_cast<double>(bucket_->tokens) / static_cast<double>(bucket::retry);
  return now;
}

const std::string& retry_budget::name() const noexcept { return bucket_->options.name; }

std::string retry_budget::describe() const {
  return detail::percent_text(bucket_->options.ratio) + " of the calls, reserve " +
         std::to_string(bucket_->options.reserve);
}

}  // namespace belay
