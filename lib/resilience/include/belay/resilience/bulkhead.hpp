// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bounds how many calls run at the same time, so that one slow service does not take everything.

#include <belay/resilience/detail/admission_gate.hpp>
#include <belay/resilience/detail/attempt.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/rejected.hpp>
#include <memory>
#include <source_location>
#include <string>

namespace belay {

struct bulkhead_options {
  /// In events, errors and descriptions.
  std::string name = "bulkhead";
  /// How many calls may run at a time, at least 1.
  std::size_t most_running = 16;
  /// How many more may wait for a place. 0: who finds it full is rejected at once.
  std::size_t most_waiting = 0;
  /// How long one waits at the most, more than 0. `duration::max()`: as long as it takes.
  duration longest_wait = duration::max();
  /// Is told of waiting, of what was let in after it, and of rejections.
  policy_listener listener = {};
};

struct bulkhead_statistics {
  std::size_t limit = 0;
  std::size_t running = 0;
  std::size_t waiting = 0;
  std::uint64_t admitted = 0;
  std::uint64_t rejected = 0;  ///< it was full, the line too
  std::uint64_t expired = 0;   ///< waited too long
};

namespace detail {

// What bulkhead and adaptive_limiter have in common: the gate, its counters and its events.
class gated {
 public:
  gated(policy_kind kind, const char* code, const std::string& name, const gate_settings& settings,
        policy_listener listener)
      : kind_(kind), code_(code), name_(name), listener_(std::move(listener)), gate_([&] {
          gate_settings named = settings;
          named.name = name_.c_str();
          return named;
        }()) {}

  [[nodiscard]] admission_gate& gate() noexcept { return gate_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const policy_listener& listener() const noexcept { return listener_; }
  // Before waiting. A task that is cancelled already will not wait.
  void about_to_enter() const noexcept {
    if (listener_ && gate_.inside() >= gate_.limit() && !this_runtime->current->cancel_pending()) [[unlikely]]
      tell_queued();
  }
  [[nodiscard]] admission_gate::place try_enter() {
    admission_gate::place mine = gate_.try_enter();
    ++(mine ? admitted_ : rejected_);
    return mine;
  }
  // After it: counts. False: refused.
  [[nodiscard]] bool entered(const admission_gate::entry& how) noexcept;
  [[nodiscard]] overload_error refusal(const admission_gate::entry& how, std::source_location where);
  [[nodiscard]] bulkhead_statistics statistics() const noexcept {
    return {gate_.limit(), gate_.inside(), gate_.waiting(), admitted_, rejected_, expired_};
  }

 private:
  void tell_queued() const noexcept;

  const policy_kind kind_;
  const char* const code_;
  const std::string name_;
  const policy_listener listener_;
  admission_gate gate_;
  std::uint64_t admitted_ = 0;
  std::uint64_t rejected_ = 0;
  std::uint64_t expired_ = 0;
};

}  // namespace detail

/// Lets so many calls run at a time, and a bounded number wait.
///
///     const bulkhead reports({.name = "reports", .most_running = 2, .most_waiting = 10, .longest_wait = 1s});
///     auto made = co_await reports(make_report, user);
///     auto urgent = co_await reports.with_priority(call_priority::high)(make_report, boss);
///
/// Result:        that of the operation.
/// Errors:        those of the operation. `overload_error` (`bulkhead_full`) if there is no place, none in the line, or the wait took
///                `longest_wait`; the operation is not run. It is never a `timeout_error`.
/// Cancellation:  while it waits: leaves the line. While it runs: the place is taken until the operation has really stopped, its cleanup
///                included; so there are never more than `most_running`.
/// Order:         high priority first, then first come, first served. A place that becomes free belongs to the next at once.
/// Thread:        one loop. Copies share the places.
class bulkhead : public policy<bulkhead> {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit bulkhead(bulkhead_options options = {});

  /// The same places, entered with another priority; normal is the default.
  [[nodiscard]] bulkhead with_priority(call_priority priority) const {
    bulkhead other = *this;
    other.priority_ = priority;
    return other;
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    detail::gated& state = *state_;
    state.about_to_enter();
    const detail::admission_gate::entry mine = co_await state.gate().enter(priority_);
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

  /// A place if one is free; for work that is no single task. Given back when it is destroyed. The bulkhead must outlive it.
  using place = detail::admission_gate::place;
  [[nodiscard]] place try_enter() const { return state_->try_enter(); }

  /// From now on. Lower: what runs goes on, and new calls wait or are rejected until there is room. Errors: `misuse_error` for 0.
  void set_limit(std::size_t most_running) const;

  [[nodiscard]] bulkhead_statistics statistics() const noexcept { return state_->statistics(); }
  [[nodiscard]] std::string_view name() const noexcept { return state_->name(); }
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] policy_facts facts() const { return {.kind = policy_kind::bulkhead, .name = state_->name()}; }

 private:
  std::shared_ptr<detail::gated> state_;
  call_priority priority_ = call_priority::normal;
};

}  // namespace belay
