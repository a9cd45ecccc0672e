// SPDX-License-Identifier: Apache-2.0
#pragma once
// A bulkhead that finds out itself how many calls a service can take: sheds load when they become slow.

#include <belay/resilience/bulkhead.hpp>
#include <belay/resilience/detail/limit_algorithm.hpp>
#include <belay/resilience/error_filter.hpp>

namespace belay {

struct adaptive_limiter_options {
  /// In events, errors and descriptions.
  std::string name = "adaptive limiter";
  limit_algorithm algorithm = limit_algorithm::gradient;
  /// The limit: at first, at the least, at the most. 1 <= least_limit <= first_limit <= most_limit <= 1,000,000.
  std::size_t first_limit = 20;
  std::size_t least_limit = 1;
  std::size_t most_limit = 1000;
  /// aimd: a call that takes so long is too slow. More than 0.
  duration too_slow = std::chrono::seconds(1);
  /// What is left of the limit when a call was too slow (aimd) or refused (both): at least 0.1, less than 1.
  double backoff = 0.9;
  /// gradient: how many times the least latency a call may take before the limit falls: 1 to 10.
  double tolerance = 2;
  /// gradient: how much one call counts, more than 0 up to 1; when many are under way, each counts only as its part of them.
  double smoothing = 0.2;
  /// gradient: the least latency is measured anew after so many calls, at least 10; not before 20 times the limit.
  std::size_t probe_after = 1000;
  /// gradient: how many may queue up in the service, at least 1: with none, the limit could not grow. Fewer while it is slow.
  std::size_t queue = 4;
  /// How many may wait here, and how long: as in `bulkhead_options`.
  std::size_t most_waiting = 0;
  duration longest_wait = duration::max();
  /// Errors with which the service says that it has too much to do.
  error_filter refusals = kinds({error_kind::overloaded, error_kind::timed_out});
  /// Is told of changes of the limit (when it has moved by a tenth), waiting, and rejections.
  policy_listener listener = {};
};

namespace detail {

class adaptive_state : public gated {
 public:
  explicit adaptive_state(adaptive_limiter_options&& given);
  void ended(const outcome_base& how, duration took, std::size_t under_way) noexcept;
  [[nodiscard]] const adaptive_limiter_options& options() const noexcept { return options_; }

 private:
  const adaptive_limiter_options options_;
  learned_limit learned_;
  std::size_t told_;
};

}  // namespace detail

/// Lets so many calls run at a time as the service can take without getting slow, and learns that number from each call.
///
///     const adaptive_limiter guarded({.name = "search", .most_limit = 200});
///     auto found = co_await guarded(search, words);
///
/// Result, Errors, Cancellation, Order, Thread: as `bulkhead`; the code of the `overload_error` is `limit_reached`. A cancelled call, and an error that
/// is no refusal, say nothing about the load, and are not learned from: a service that fails quickly is not a quick one.
/// Time:    that of the operation alone, without the waiting here.
class adaptive_limiter : public policy<adaptive_limiter> {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit adaptive_limiter(adaptive_limiter_options options = {})
      : state_(std::make_shared<detail::adaptive_state>(std::move(options))) {}

  /// The same places, entered with another priority; normal is the default.
  [[nodiscard]] adaptive_limiter with_priority(call_priority priority) const {
    adaptive_limiter other = *this;
    other.priority_ = priority;
    return other;
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    detail::adaptive_state& state = *state_;
    state.about_to_enter();
    const detail::admission_gate::entry mine = co_await state.gate().enter(priority_);
    if (!state.entered(mine)) co_await fail(state.refusal(mine, co_await detail::caller_site_awaiter()));
    const time_point began = now();
    const std::size_t under_way = state.gate().inside();
    auto how = co_await detail::attempt(next);
    state.ended(how, now() - began, under_way);
    if (how.succeeded()) [[likely]] {
      if constexpr (std::is_void_v<guarded_result<Next>>) {
        co_return;
      } else {
        co_return how.get_forward();
      }
    }
    co_await detail::end_with(how);
    __builtin_unreachable();
  }

  /// `limit` is the present one.
  [[nodiscard]] bulkhead_statistics statistics() const noexcept { return state_->statistics(); }
  [[nodiscard]] std::string_view name() const noexcept { return state_->name(); }
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::adaptive_limit, .name = state_->name()};
  }

 private:
  std::shared_ptr<detail::adaptive_state> state_;
  call_priority priority_ = call_priority::normal;
};

}  // namespace belay
