// SPDX-License-Identifier: Apache-2.0
#pragma once
// One rate for the loops of all threads.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <algorithm>
#include <atomic>

namespace belay {

/// As `rate_limiter` with a token bucket, for any number of loops. Whoever waits has a reservation: the time at which it may go on is known when
/// it comes. So who gives up makes no room for those who wait already: his permits are used up, except when nobody has come after him. That
/// permits do not go to those who have left, a call whose own limit (`with_timeout` outside) would pass before its turn is rejected at once.
///
/// `most_waiting` says only whether waiting is allowed (0: no); `longest_wait` bounds it.
///
/// Thread:  any; without locks: the whole state is one number.
/// Time:    taken from the caller's loop: give all loops the same clock.
/// Copies share the rate.
class shared_rate_limiter : public policy<shared_rate_limiter> {
 public:
  /// Errors: `misuse_error` for options out of range, and for another algorithm than token_bucket.
  explicit shared_rate_limiter(rate_limiter_options options = {})
      : state_(std::make_shared<state>(std::move(options))) {}

  /// As `rate_limiter::with_weight`.
  [[nodiscard]] shared_rate_limiter with_weight(std::size_t weight) const {
    detail::check_rate_weight(state_->options, weight);
    shared_rate_limiter other = *this;
    other.weight_ = weight;
    return other;
  }

  template <guarded_operation Next>
  task<guarded_result<Next>> run(Next next) const {
    state& shared = *state_;
    const time_point here = now();
    turn mine = shared.reserve(here, weight_, duration::zero());
    if (!mine.taken) mine = shared.reserve(here, weight_, patience(here));
    if (!mine.taken) {
      shared.rejected.fetch_add(1, std::memory_order_relaxed);
      co_await fail(detail::rate_refusal(shared.options, mine.wait, duration::zero(),
                                         co_await detail::caller_site_awaiter()));
    }
    if (mine.wait > duration::zero()) {
      reservation held(shared, mine);
      co_await sleep_until(saturating_add(here, mine.wait));
      held.use();
      detail::tell_waited(shared.options, mine.wait);
    }
    shared.admitted.fetch_add(1, std::memory_order_relaxed);
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

  /// Takes the permits if that needs no waiting.
  [[nodiscard]] bool try_enter() const noexcept {
    const bool passes = state_->reserve(now(), weight_, duration::zero()).taken;
    (passes ? state_->admitted : state_->rejected).fetch_add(1, std::memory_order_relaxed);
    return passes;
  }

  [[nodiscard]] rate_limiter_statistics statistics() const noexcept {
    return {.waiting = state_->waiting.load(std::memory_order_relaxed),
            .admitted = state_->admitted.load(std::memory_order_relaxed),
            .rejected = state_->rejected.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] std::string_view name() const noexcept { return state_->options.name; }
  [[nodiscard]] std::string describe() const {
    return "shared " + detail::describe_rate(state_->options, detail::rate_line::unbounded);
  }
  [[nodiscard]] policy_facts facts() const {
    return {.kind = policy_kind::rate_limiter, .name = state_->options.name};
  }

 private:
  struct turn {
    duration wait;
    duration cost;
    std::int64_t full_at;  // the state that the reservation has left behind
    bool taken;
  };
  struct state {
    explicit state(rate_limiter_options&& given);
    // The time until its turn, reserved if it is not longer than `most`. See token_bucket.
    [[nodiscard]] turn reserve(time_point here, std::uint64_t weight, duration most) noexcept {
      const duration cost = detail::saturating_times(weight, interval);
      const std::int64_t from = here.time_since_epoch().count();
      std::int64_t full = full_at.load(std::memory_order_relaxed);
      while (true) {
        const time_point next = saturating_add(time_point(duration(full > from ? full : from)), cost);
        const duration wait = (next - here) - depth;
        const turn got{wait, cost, next.time_since_epoch().count(), wait <= most};
        // Nothing but the number itself is handed over, so its own order is enough.
        if (!got.taken || full_at.compare_exchange_weak(full, got.full_at, std::memory_order_relaxed))
          return got;
      }
    }
    // Only of the newest reservation: behind an older one others have been given their time, and whoever came next would get the last of
    // those times once more.
    void give_back(const turn& unused) noexcept {
      std::int64_t newest = unused.full_at;
      full_at.compare_exchange_strong(newest, unused.full_at - unused.cost.count(),
                                      std::memory_order_relaxed);
    }

    const rate_limiter_options options;
    const duration interval;
    const duration depth;
    std::atomic<std::int64_t> full_at{0};
    std::atomic<std::size_t> waiting{0};
    std::atomic<std::uint64_t> admitted{0};
    std::atomic<std::uint64_t> rejected{0};
  };
  // Given back, if it can be, when its owner is cancelled while it waits.
  class reservation {
   public:
    reservation(state& of, const turn& mine) noexcept : of_(&of), mine_(mine) {
      of.waiting.fetch_add(1, std::memory_order_relaxed);
    }
    reservation(const reservation&) = delete;
    reservation& operator=(const reservation&) = delete;
    ~reservation() {
      of_->waiting.fetch_sub(1, std::memory_order_relaxed);
      if (!used_) of_->give_back(mine_);
    }
    void use() noexcept { used_ = true; }

   private:
    state* of_;
    turn mine_;
    bool used_ = false;
  };

  // How long this call can wait.
  [[nodiscard]] duration patience(time_point here) const noexcept {
    if (state_->options.most_waiting == 0) return duration::zero();
    const time_point limit = current_deadline();
    // (Cancelled already: it will not wait.)
    if (limit <= here || limit == time_point::max()) return state_->options.longest_wait;
    return std::min(state_->options.longest_wait, limit - here - duration(1));
  }

  std::shared_ptr<state> state_;
  std::uint64_t weight_ = 1;
};

}  // namespace belay
