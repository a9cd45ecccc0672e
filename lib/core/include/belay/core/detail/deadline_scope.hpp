// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scope that cancels itself at a point in time; under with_timeout, move_on_after and shielded.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/time.hpp>
#include <source_location>
#include <string>

namespace belay::detail {

class deadline_scope : public scope, protected timer_node {
 public:
  // `kind` is the name of the function that set it: it must be a literal. `name` is the user's, or "".
  deadline_scope(const char* kind, duration limit, std::source_location where, const char* name = "") noexcept
      : kind_(kind), name_(name != nullptr ? name : ""), limit_(limit), where_(where) {
    has_deadline = true;
  }
  ~deadline_scope() { disarm(); }

  // Starts the clock: now. A limit that never comes needs no timer.
  void arm() noexcept;
  void disarm() noexcept;
  // Another end for a clock that runs, `limit` after its start. What has expired stays so.
  void move_to(time_point when, duration limit) noexcept;
  // The limit has passed: what the timer does.
  void expire() noexcept;

  // Its own cancellation reached it, and none from outside acts: this is where the unwinding stops.
  [[nodiscard]] bool absorbs() const noexcept { return requested && !cancelled_from_outside(); }
  // "timed out after 250 ms, set by scope 'dashboard' at x.cpp:41, while awaiting posts.cpp:17"; without a name "set by with_timeout".
  [[nodiscard]] std::string message() const;
  [[nodiscard]] std::string who() const;
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
  [[nodiscard]] std::source_location where() const noexcept { return where_; }
  [[nodiscard]] bool expired_on_entry() const noexcept { return limit_ <= duration::zero(); }

 protected:
  static void fired(timer_node& timer) noexcept;
  void set_timer() noexcept;
  [[nodiscard]] duration limit() const noexcept { return limit_; }

 private:
  const char* kind_;
  const char* name_;
  duration limit_;
  std::source_location where_;
  std::source_location awaiting_;
  bool caught_waiting_ = false;
  time_point deadline_ = time_point::max();
};

// The `cleanup_limit` of the running loop.
[[nodiscard]] duration cleanup_limit() noexcept;

// What cleanup runs in: no cancellation from outside reaches it, and it has its own limit.
class cleanup_scope final : public deadline_scope {
 public:
  explicit cleanup_scope(std::source_location where) noexcept
      : deadline_scope("cleanup limit", cleanup_limit(), where) {
    shielded = true;
    for_cleanup = true;
  }
  // At half of the limit the timer first tells that it takes long.
  void arm() noexcept;
  // It was told, and has to be told how it ended.
  [[nodiscard]] bool was_told() const noexcept { return told_; }
  void tell_end(const outcome_base& how) noexcept;

 private:
  static void half_used(timer_node& timer) noexcept;
  void tell_slow() noexcept;
  bool told_ = false;
  time_point began_;
};

// The end of a library frame whose child was cancelled from outside: unwinds on, with the record that acts now.
template <class T>
void refresh_cancellation(outcome<T>& how) noexcept {
  if (how.cancelled()) how.set_cancelled(effective_record(*this_runtime->current->current).shared());
}

}  // namespace belay::detail
