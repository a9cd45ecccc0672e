// SPDX-License-Identifier: Apache-2.0
#pragma once
// Lets so many calls begin in a time; the others wait their turn or are rejected.

#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/detail/rate_gate.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/rejected.hpp>
#include <memory>
#include <source_location>
#include <string>

namespace belay {

enum class rate_algorithm : unsigned char {
  /// Tokens come in evenly, up to `burst`. Costs one number. After a pause `burst` may pass at once, and so up to
  /// `permits + burst` in one `per`.
  token_bucket,
  /// Never more than `permits` in any stretch of time of length `per`. Remembers up to `permits` times.
  sliding_window,
};

struct rate_limiter_options {
  /// In events, errors and descriptions.
  std::string name = "rate limiter";
  /// How many may begin …, 1 to 1,000,000,000
  std::size_t permits = 100;
  /// … in this time: up to 365 days, and at least 100 ns for each permit. A token bucket takes whole nanoseconds for each permit, rounded up: at
  /// millions in a second that makes up to 1 % less.
  duration per = std::chrono::seconds(1);
  /// How many tokens the bucket holds, 0: as many as `permits`. Only for token_bucket.
  std::size_t burst = 0;
  rate_algorithm algorithm = rate_algorithm::token_bucket;
  /// How many may wait. 0: who comes too early is rejected.
  std::size_t most_waiting = 0;
  /// Who would have to wait longer is rejected at once (in a sliding window with weights of more than 1, where that cannot be told for sure: or
  /// when it has waited so long). More than 0; `duration::max()`: as long as it takes.
  duration longest_wait = duration::max();
  /// Is told of waiting, of what was let through after it, and of rejections.
  policy_listener listener = {};
};

struct rate_limiter_statistics {
  std::size_t waiting = 0;
  std::uint64_t admitted = 0;
  std::uint64_t rejected = 0;
};

namespace detail {

class rate_state {
 public:
  explicit rate_state(rate_limiter_options&& options);

  [[nodiscard]] rate_gate& gate() noexcept { return gate_; }
  [[nodiscard]] const rate_limiter_options& options() const noexcept { return options_; }
  // After waiting: counts. False: refused.
  [[nodiscard]] bool entered(const rate_gate::entry& how) noexcept;
  [[nodiscard]] rate_limited_error refusal(const rate_gate::entry& how, std::source_location where) const;
  [[nodiscard]] rate_limiter_statistics statistics() const noexcept {
    return {gate_.waiting(), admitted_, rejected_};
  }
  void check_weight(std::size_t weight) const;
  [[nodiscard]] bool try_enter(std::uint64_t weight) {
    const bool passes = gate_.try_enter(weight);
    ++(passes ? admitted_ : rejected_);
    return passes;
  }

 private:
  const rate_limiter_options options_;
  rate_gate gate_;
  std::uint64_t admitted_ = 0;
  std::uint64_t rejected_ = 0;
};

// For the limiter of all loops, and that of a store, too.
void check_rate(const rate_limiter_options& options);
[[nodiscard]] std::variant<token_bucket, sliding_window> make_rate_machine(
    const rate_limiter_options& options);
[[nodiscard]] duration token_interval(const rate_limiter_options& options) noexcept;
// In a line as the options say, or with a reservation each.
enum class rate_line : unsigned char { bounded, unbounded };
[[nodiscard]] std::string describe_rate(const rate_limiter_options& options,
                                        rate_line line = rate_line::bounded);
// Makes the error, and tells the listener. `cause`: what kept the limiter from asking for a permit.
[[nodiscard]] rate_limited_error reject_rate(const rate_limiter_options& options, error_kind kind,
                                             std::string text, std::optional<duration> retry_after,
                                             const failure& cause, std::source_location where);
[[nodiscard]] rate_limited_error rate_refusal(const rate_limiter_options& options, duration retry_after,
                                              duration waited, std::source_location where);
void tell_waited(const rate_limiter_options& options, duration waited) noexcept;
void check_rate_weight(const rate_limiter_options& options, std::size_t weight);

}  // namespace detail

/// Lets `permits` calls begin in each `per`, and a bounded number wait for their turn.
///
///     const rate_limiter politely({.name = "mail", .permits = 10, .per = 1s, .most_waiting = 100});
///     co_await politely(send, mail);
///     co_await politely.with_weight(5)(send, large_mail);
///
/// Result:        that of the operation.
/// Errors:        those of the operation. `rate_limited_error` (`rate_limited`) if it comes too early and may not wait, or not so long; it
///                tells when there will be room. The operation is not run.
/// Cancellation:  while it waits: leaves the line, and those behind move up. Later: the permit is used.
/// Time:          on the loop's clock; first come, first served, at the first time that the rate allows, whatever the weights.
/// Thread:        one loop. `shared_rate_limiter` is for several. Copies share the rate.
class rate_limiter : public policy<rate_limiter> {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit rate_limiter(rate_limiter_options options = {})
      : state_(std::make_shared<detail::rate_state>(std::move(options))) {}

  /// The same rate, of which each call takes so many permits. Errors: `misuse_error` for 0, and for more than can ever be there.
  [[nodiscard]] rate_limiter with_weight(std::size_t weight) const {
    state_->check_weight(weight);
    rate_limiter other = *this;
    other.weight_ = weight;
    return other;
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    detail::rate_state& state = *state_;
    const detail::rate_gate::entry mine = co_await state.gate().enter(weight_);
    if (!state.entered(mine)) co_await fail(state.refusal(mine, co_await detail::caller_site_awaiter()));
    auto how = co_await detail::attempt(next);
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

  /// Takes the permits if that needs no waiting; for work that is no single task.
  [[nodiscard]] bool try_enter() const { return state_->try_enter(weight_); }

  [[nodiscard]] rate_limiter_statistics statistics() const noexcept { return state_->statistics(); }
  [[nodiscard]] std::string_view name() const noexcept { return state_->options().name; }
  [[nodiscard]] std::string describe() const { return detail::describe_rate(state_->options()); }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::rate_limiter, .name = state_->options().name};
  }

 private:
  std::shared_ptr<detail::rate_state> state_;
  std::uint64_t weight_ = 1;
};

}  // namespace belay
