// SPDX-License-Identifier: Apache-2.0
#pragma once
// So many at a time, and a bounded line of those who wait, by priority: under bulkhead and adaptive_limiter.

#include <belay/core/detail/timer_wheel.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/time.hpp>
#include <belay/resilience/detail/sharing.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace belay {

/// Who is let in first among those who wait. Within one priority: first come, first served.
enum class call_priority : unsigned char { low, normal, high };

namespace detail {

struct gate_settings {
  const char* what = "bulkhead";
  const char* name = "";
  std::size_t limit = 1;
  std::size_t most_waiting = 0;
  duration longest_wait = duration::max();
};

class admission_gate {
 public:
  explicit admission_gate(const gate_settings& settings) noexcept : settings_(settings) {}
  admission_gate(const admission_gate&) = delete;
  admission_gate& operator=(const admission_gate&) = delete;

  // A place inside; given back when it is destroyed. Empty: refused.
  class [[nodiscard]] place {
   public:
    place() noexcept = default;
    place(place&& other) noexcept : in_(std::exchange(other.in_, nullptr)) {}
    place& operator=(place&& other) noexcept {
      std::swap(in_, other.in_);
      return *this;
    }
    ~place() { release(); }
    void release() noexcept {
      if (in_ != nullptr) std::exchange(in_, nullptr)->give_back();
    }
    explicit operator bool() const noexcept { return in_ != nullptr; }

   private:
    friend class admission_gate;
    explicit place(admission_gate& in) noexcept : in_(&in) {}
    admission_gate* in_ = nullptr;
  };

  enum class answer : unsigned char { granted, full, waited_too_long };
  struct entry {
    place in;
    answer how = answer::granted;
    duration waited = duration::zero();
  };

  class awaiter final : public prompt_wait<awaiter>, private timer_node {
   public:
    awaiter(admission_gate& to, call_priority priority) noexcept : prompt_wait(to.line(priority)), to_(&to) {}
    // A place that was given to a task which is unwound before it goes on is for the next in line.
    ~awaiter() {
      if (granted_) to_->give_back();
    }
    entry await_resume() noexcept {
      entry got;
      got.how = how_;
      if (queued_) got.waited = now() - since_;
      if (std::exchange(granted_, false)) got.in = place(*to_);
      return got;
    }
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {to_->settings_.what, to_->settings_.name};
    }
    [[nodiscard]] bool try_now();

   private:
    friend class admission_gate;
    void grant() noexcept;
    void gave_up() noexcept override { stop_timer(); }
    void stop_timer() noexcept {
      if (linked()) this_runtime->timers->remove(*this);
    }
    static void expired(timer_node& timer) noexcept;

    admission_gate* to_;
    time_point since_{};
    answer how_ = answer::granted;
    bool granted_ = false;
    bool queued_ = false;
  };

  // Waits for a place as the settings allow. Cancellation: no place was taken.
  [[nodiscard]] awaiter enter(call_priority priority) noexcept { return {*this, priority}; }
  [[nodiscard]] place try_enter() {
    home_.require(settings_.what);
    return take() ? place(*this) : place();
  }
  // Lets in who fits now. Lower: nobody who is inside is disturbed.
  void set_limit(std::size_t limit);

  [[nodiscard]] std::size_t limit() const noexcept { return settings_.limit; }
  [[nodiscard]] std::size_t inside() const noexcept { return inside_; }
  [[nodiscard]] std::size_t waiting() const noexcept {
    return lines_[0].size() + lines_[1].size() + lines_[2].size();
  }
  [[nodiscard]] const gate_settings& settings() const noexcept { return settings_; }

 private:
  [[nodiscard]] wait_list& line(call_priority priority) noexcept {
    return lines_[static_cast<std::size_t>(priority)];
  }
  [[nodiscard]] bool take() noexcept {
    if (inside_ >= settings_.limit) return false;
    ++inside_;
    return true;
  }
  void give_back() noexcept {
    --inside_;
    let_in();
  }
  void let_in() noexcept;

  gate_settings settings_;
  std::size_t inside_ = 0;
  // While somebody waits, there is no room.
  std::array<wait_list, 3> lines_;
  home_thread home_;
};

}  // namespace detail
}  // namespace belay
