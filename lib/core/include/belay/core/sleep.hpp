// SPDX-License-Identifier: Apache-2.0
#pragma once
// Waiting for time, and giving others a turn.

#include <belay/core/operation.hpp>
#include <belay/core/time.hpp>

namespace belay {

/// The time of the running loop's clock. Outside of a loop: that of the machine's monotonic clock.
[[nodiscard]] time_point now() noexcept;

namespace detail {

class sleep_awaiter final : public operation, private timer_node {
 public:
  explicit sleep_awaiter(time_point until) noexcept {
    const auto ticks = until.time_since_epoch().count();
    due = ticks < 0 ? 0 : static_cast<std::uint64_t>(ticks);
    fire = &sleep_awaiter::fired;
  }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) {
    if (begin_at(waiting.promise())) insert();
    return true;
  }
  void await_resume() const noexcept {}
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a timer", ""}; }

 private:
  void start() override;
  bool abort() noexcept override;
  void insert() noexcept {
    if (due != never) this_runtime->timers->insert(*this);
  }
  static void fired(timer_node& timer) noexcept;

  // A sleep until the end of time has no timer: it only waits to be cancelled.
  static constexpr auto never = static_cast<std::uint64_t>(time_point::max().time_since_epoch().count());
};

class yield_awaiter {
 public:
  using belay_awaiter_tag = void;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> waiting) const noexcept {
    runtime& rt = *this_runtime;
    frame& leaf = waiting.promise();
    if (rt.current->current->at_gate != gate_open) [[unlikely]]
      return at_gate(rt, leaf);
    give_way(rt, leaf);
  }
  void await_resume() const noexcept {}

 private:
  static void give_way(runtime& rt, frame& leaf) noexcept {
    node& task = *rt.current;
    task.leaf = &leaf;
    task.state = node_state::ready;
    rt.push_ready(task);
  }
  static void at_gate(runtime& rt, frame& leaf) noexcept;
};

class checkpoint_awaiter {
 public:
  using belay_awaiter_tag = void;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) const noexcept {
    return stops(waiting.promise());
  }
  void await_resume() const noexcept {}

 private:
  // Fires timers that are due first, so that a deadline that passed during a computation acts here.
  static bool stops(frame& here) noexcept;
};

}  // namespace detail

/// Waits at least `length` on the loop's clock; zero or less: gives others a turn. Not a number: `misuse_error`.
/// Cancellation: wakes at once; the timer is gone.
[[nodiscard]] inline detail::sleep_awaiter sleep_for(any_duration length) noexcept {
  return detail::sleep_awaiter(saturating_add(now(), length));
}

/// Waits until the loop's clock shows `when` or later. In the past: gives others a turn.
[[nodiscard]] inline detail::sleep_awaiter sleep_until(time_point when) noexcept {
  return detail::sleep_awaiter(when);
}

/// Lets every other task that is ready run once. Cancellation: acts here when it was requested before.
[[nodiscard]] inline detail::yield_awaiter yield() noexcept { return {}; }

/// A place where a cancellation or a passed deadline acts, for long computations. Does not give up the turn.
[[nodiscard]] inline detail::checkpoint_awaiter checkpoint() noexcept { return {}; }

/// Is a cancellation waiting to act on this task at its next await? For long computations without awaits.
[[nodiscard]] bool cancel_requested() noexcept;

}  // namespace belay
