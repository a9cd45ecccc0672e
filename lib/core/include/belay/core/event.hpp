// SPDX-License-Identifier: Apache-2.0
#pragma once
// A flag that tasks can wait for.

#include <belay/core/detail/wait_list.hpp>

namespace belay {

/// Not set at first. Thread: the loop's only.
class event {
 public:
  event() noexcept = default;
  /// With a name for reports: a literal.
  explicit event(const char* name) noexcept : name_(name) {}
  /// Wakes all who wait; later waits return at once. Idempotent.
  void set() noexcept;
  void reset() noexcept { set_ = false; }
  [[nodiscard]] bool is_set() const noexcept { return set_; }

  class awaiter final : public detail::prompt_wait<awaiter> {
   public:
    explicit awaiter(event& on) noexcept : prompt_wait(on.waiters_), on_(&on) {}
    // A cancellation that was requested before acts even if the event is set.
    [[nodiscard]] bool await_ready() const noexcept { return on_->set_ && !cancel_pending(); }
    void await_resume() const noexcept {}
    [[nodiscard]] awaited waits_for() const noexcept override { return {"event", on_->name_}; }
    [[nodiscard]] bool try_now() const noexcept { return on_->set_; }

   private:
    event* on_;
  };
  /// Waits until the event is set. Cancellation: stops waiting; nothing is lost.
  [[nodiscard]] awaiter wait() noexcept { return awaiter(*this); }

 private:
  const char* name_ = "";
  bool set_ = false;
  detail::wait_list waiters_;
};

}  // namespace belay
