// SPDX-License-Identifier: Apache-2.0
#pragma once
// The line in front of a rate limit: under rate_limiter.

#include <belay/core/detail/timer_wheel.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/detail/rate_machine.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

namespace belay::detail {

struct rate_gate_settings {
  const char* name = "";
  std::size_t most_waiting = 0;
  duration longest_wait = duration::max();
};

// One timer, for the first in line; those behind it come when it has gone. Each waiter has one for its own limit.
class rate_gate : private timer_node {
 public:
  rate_gate(std::variant<token_bucket, sliding_window> machine, const rate_gate_settings& settings) noexcept
      : machine_(std::move(machine)), settings_(settings) {
    fire = &rate_gate::due_now;
  }
  rate_gate(const rate_gate&) = delete;
  rate_gate& operator=(const rate_gate&) = delete;

  enum class answer : unsigned char { granted, refused, waited_too_long };
  struct entry {
    answer how = answer::granted;
    duration waited = duration::zero();
    duration retry_after = duration::zero();
  };

  class awaiter final : public prompt_wait<awaiter> {
   public:
    awaiter(rate_gate& to, std::uint64_t weight) noexcept
        : prompt_wait(to.line_), to_(&to), weight_(weight), limit_{*this} {}
    // Let in, but unwound before it goes on: as if it had not come.
    ~awaiter() {
      if (granted_) to_->give_back(weight_, granted_at_);
    }
    entry await_resume() noexcept {
      granted_ = false;
      if (queued_) entry_.waited = now() - since_;
      return entry_;
    }
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {"rate limiter", to_->settings_.name};
    }
    [[nodiscard]] bool try_now();

   private:
    friend class rate_gate;
    struct limit_timer : timer_node {
      explicit limit_timer(awaiter& waiting) noexcept : of(&waiting) {}
      awaiter* of;
    };
    void grant(time_point at) noexcept;
    void gave_up() noexcept override;
    void stop_timer() noexcept {
      if (limit_.linked()) this_runtime->timers->remove(limit_);
    }
    static void expired(timer_node& timer) noexcept;

    rate_gate* to_;
    std::uint64_t weight_;
    limit_timer limit_;
    entry entry_;
    time_point since_{};
    time_point granted_at_{};
    bool granted_ = false;
    bool queued_ = false;
  };

  [[nodiscard]] awaiter enter(std::uint64_t weight) noexcept { return {*this, weight}; }
  [[nodiscard]] bool try_enter(std::uint64_t weight);
  [[nodiscard]] std::size_t waiting() const noexcept { return line_.size(); }
  [[nodiscard]] const rate_gate_settings& settings() const noexcept { return settings_; }

 private:
  [[nodiscard]] bool take(time_point at, std::uint64_t weight) {
    return std::visit([&](auto& one) { return one.take(at, weight); }, machine_);
  }
  [[nodiscard]] time_point when(time_point from, std::uint64_t weight) noexcept {
    return std::visit([&](auto& one) { return one.when(from, weight); }, machine_);
  }
  void give_back(std::uint64_t weight, time_point at) noexcept;
  void serve() noexcept;
  void arm(time_point at) noexcept;
  static void due_now(timer_node& timer) noexcept { static_cast<rate_gate&>(timer).serve(); }

  std::variant<token_bucket, sliding_window> machine_;
  rate_gate_settings settings_;
  wait_list line_;
  std::uint64_t weight_waiting_ = 0;
  home_thread home_;
};

}  // namespace belay::detail
