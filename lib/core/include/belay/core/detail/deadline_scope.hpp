// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scope that cancels itself at a point in time; under with_timeout, move_on_after and shielded.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/time.hpp>
#include <source_location>
#include <string>

namespace belay::detail {

class deadline_scope : public scope, private timer_node {
 public:
  // `kind` is the name of the function that set it: it must be a literal.
  deadline_scope(const char* kind, duration limit, std::source_location where) noexcept
      : kind_(kind), limit_(limit), where_(where) {
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
  // "timed out after 250 ms, set by with_timeout at x.cpp:41, while awaiting at posts.cpp:17"
  [[nodiscard]] std::string message() const;
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
  [[nodiscard]] std::source_location where() const noexcept { return where_; }
  [[nodiscard]] bool expired_on_entry() const noexcept { return limit_ <= duration::zero(); }

 private:
  static void fired(timer_node& timer) noexcept;
  void set_timer() noexcept;

  const char* kind_;
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
};

// The end of a library frame whose child was cancelled from outside: unwinds on, with the record that acts now.
template <class T>
void refresh_cancellation(outcome<T>& how) noexcept {
  if (how.cancelled()) how.set_cancelled(effective_record(*this_runtime->current->current).shared());
}

}  // namespace belay::detail
