// SPDX-License-Identifier: Apache-2.0
// The words of rate limiters: options, events, rejections.

#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>

namespace belay {
namespace detail {

namespace {

constexpr duration longest_per = std::chrono::hours(24 * 365);
constexpr duration shortest_interval(100);
constexpr std::size_t most = 1'000'000'000;

}  // namespace

std::variant<token_bucket, sliding_window> make_rate_machine(const rate_limiter_options& o) {
  if (o.algorithm == rate_algorithm::sliding_window) return sliding_window(o.permits, o.per);
  return token_bucket(token_interval(o), o.burst == 0 ? o.permits : o.burst);
}

void check_rate(const rate_limiter_options& o) {
  const std::string who = title("rate limiter", o.name);
  require_option(o.permits >= 1 && o.permits <= most, who, "permits", std::uint64_t{o.permits},
                 "from 1 to 1000000000");
  require_option(o.per > duration::zero() && o.per <= longest_per, who, "per", o.per,
                 "more than 0, up to 365 days");
  require_option(o.per / static_cast<duration::rep>(o.permits) >= shortest_interval, who, "per", o.per,
                 "at least 100 ns for each permit");
  require_option(o.burst <= most, who, "burst", std::uint64_t{o.burst}, "0 (as permits) to 1000000000");
  require_option(o.burst == 0 || o.algorithm == rate_algorithm::token_bucket, who, "burst",
                 std::uint64_t{o.burst}, "0 for a sliding window");
  require_option(saturating_times(o.burst, token_interval(o)) <= longest_per, who, "burst",
                 std::uint64_t{o.burst}, "so small that the bucket fills within 365 days");
  require_option(o.most_waiting <= most, who, "most_waiting", std::uint64_t{o.most_waiting},
                 "from 0 to 1000000000");
  require_option(o.longest_wait > duration::zero(), who, "longest_wait", o.longest_wait, "more than 0");
}

duration token_interval(const rate_limiter_options& o) noexcept {
  const auto permits = static_cast<duration::rep>(o.permits);
  return (o.per + duration(permits - 1)) / permits;  // rounded up: never more than the rate
}

std::string describe_rate(const rate_limiter_options& o, rate_line line) {
  std::string text =
      title("rate limiter", o.name) + ": " + std::to_string(o.permits) + " in " + duration_text(o.per);
  if (o.algorithm == rate_algorithm::sliding_window) {
    text += ", in any such time";
  } else {
    text += ", bursts of " + std::to_string(o.burst == 0 ? o.permits : o.burst);
  }
  if (o.most_waiting == 0) return text + ", no waiting";
  text +=
      line == rate_line::unbounded ? ", all may wait" : ", " + std::to_string(o.most_waiting) + " may wait";
  if (o.longest_wait != duration::max()) text += ", each up to " + duration_text(o.longest_wait);
  return text;
}

rate_limited_error rate_refusal(const rate_limiter_options& o, duration retry_after, duration waited,
                                std::source_location where) {
  std::string text = title("rate limiter", o.name) + ": more than " + std::to_string(o.permits) + " in " +
                     duration_text(o.per);
  if (waited > duration::zero()) text += ", after waiting for " + duration_text(waited);
  text += "; try again in " + duration_text(retry_after);
  return reject_rate(o, error_kind::overloaded, std::move(text), retry_after, {}, where);
}

rate_limited_error reject_rate(const rate_limiter_options& o, error_kind kind, std::string text,
                               std::optional<duration> retry_after, const failure& cause,
                               std::source_location where) {
  rate_limited_error refused(kind, "rate_limited", std::move(text), retry_after, where);
  if (cause) error_access::set_cause(refused, cause);
  if (o.listener) {
    failure told = failure::of(std::make_exception_ptr(refused));
    told.observe();
    o.listener.tell({.action = policy_action::rejected,
                     .kind = policy_kind::rate_limiter,
                     .policy = o.name,
                     .length = retry_after.value_or(duration::zero()),
                     .what = std::move(told)});
  }
  return refused;
}

void tell_waited(const rate_limiter_options& o, duration waited) noexcept {
  if (!o.listener) return;
  o.listener.tell({.action = policy_action::admitted,
                   .kind = policy_kind::rate_limiter,
                   .policy = o.name,
                   .length = waited});
}

void check_rate_weight(const rate_limiter_options& o, std::size_t weight) {
  const std::size_t capacity =
      o.algorithm == rate_algorithm::token_bucket && o.burst != 0 ? o.burst : o.permits;
  require_option(weight >= 1 && weight <= capacity, title("rate limiter", o.name), "with_weight",
                 std::uint64_t{weight}, "from 1 to " + std::to_string(capacity) + ", or it could never pass");
}

rate_state::rate_state(rate_limiter_options&& options)
    : options_((check_rate(options), std::move(options))),
      gate_(make_rate_machine(options_), {.name = options_.name.c_str(),
                                          .most_waiting = options_.most_waiting,
                                          .longest_wait = options_.longest_wait}) {}

void rate_state::check_weight(std::size_t weight) const { check_rate_weight(options_, weight); }

bool rate_state::entered(const rate_gate::entry& how) noexcept {
  if (how.how != rate_gate::answer::granted) {
    ++rejected_;
    return false;
  }
  ++admitted_;
  if (how.waited > duration::zero()) tell_waited(options_, how.waited);
  return true;
}

rate_limited_error rate_state::refusal(const rate_gate::entry& how, std::source_location where) const {
  return rate_refusal(options_, how.retry_after, how.waited, where);
}

}  // namespace detail

namespace {

rate_limiter_options checked_shared(rate_limiter_options&& options) {
  detail::check_rate(options);
  detail::require_option(options.algorithm == rate_algorithm::token_bucket,
                         detail::title("rate limiter", options.name), "algorithm",
                         static_cast<std::uint64_t>(options.algorithm), "token_bucket (0) when it is shared");
  return std::move(options);
}

}  // namespace

shared_rate_limiter::state::state(rate_limiter_options&& given)
    : options(checked_shared(std::move(given))),
      interval(detail::token_interval(options)),
      depth(detail::saturating_times(options.burst == 0 ? options.permits : options.burst, interval)) {}

}  // namespace belay
