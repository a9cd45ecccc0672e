// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several runs of one operation, of which the first good one counts: under hedge.

#include <belay/core/child.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/time.hpp>
#include <belay/resilience/error_filter.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace belay::detail {

// When a second run makes sense: a fixed time, or one that few of the latest calls have needed.
class hedge_delay {
 public:
  hedge_delay(duration fixed, double percentile, std::size_t window, std::size_t minimum_calls);
  void add(duration took) noexcept;
  [[nodiscard]] duration current() const noexcept { return current_; }

 private:
  duration current_;
  double percentile_;
  std::size_t minimum_calls_;
  std::vector<duration> latest_;  // a ring
  std::vector<duration> sorted_;
  std::size_t used_ = 0;
  std::size_t next_ = 0;
  std::size_t since_ = 0;  // added after `current_` was computed
};

// So many hedges for each call in the long run, some of them saved up.
class hedge_budget {
 public:
  hedge_budget(double per_call, double most_saved) noexcept
      : per_call_(per_call), most_saved_(most_saved), saved_(most_saved) {}
  void call() noexcept { saved_ = saved_ + per_call_ < most_saved_ ? saved_ + per_call_ : most_saved_; }
  [[nodiscard]] bool take() noexcept {
    if (saved_ < 1) return false;
    saved_ -= 1;
    return true;
  }

 private:
  double per_call_;
  double most_saved_;
  double saved_;
};

class hedged_runs final : public group_core {
 public:
  explicit hedged_runs(const error_filter& on) noexcept : group_core(&run_left), on_(&on) {}

  void begin(std::source_location where) noexcept {
    open(where, "hedge");
    attach_scope();
  }
  // A run ended with a value, or with an error that another run would not change.
  [[nodiscard]] const outcome_base* decided_by() const noexcept { return decided_by_; }
  [[nodiscard]] time_point decided_at() const noexcept { return decided_at_; }
  // Whose lack of memory decides; a further run without memory is as if there were none.
  void first_is(const outcome_base& how) noexcept { first_ = &how; }
  // No further run shall begin.
  [[nodiscard]] bool over() const noexcept { return decided_by_ != nullptr || being_cancelled(); }

  // Waits until a run ends, or so long. Whoever waits here cannot be cancelled: the runs are, and end.
  class pause final : public operation, private timer_node {
   public:
    pause(hedged_runs& of, duration length) noexcept : of_(&of), length_(length) {}
    [[nodiscard]] bool await_ready() const noexcept { return of_->over() || of_->ended_ != of_->seen_; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
      of_->waiting_ = this;
      suspend_uncancellable(waiting);
      arm();
      return true;
    }
    void await_resume() const noexcept { of_->seen_ = of_->ended_; }
    void run_ended() noexcept {
      if (linked()) this_runtime->timers->remove(*this);
      of_->waiting_ = nullptr;
      complete();
    }
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {"its runs, or the time for another", ""};
    }

   private:
    void start() override {}
    bool abort() noexcept override { return false; }
    void arm() noexcept;
    static void passed(timer_node& timer) noexcept;
    hedged_runs* of_;
    duration length_;
  };
  [[nodiscard]] pause next_run_after(duration length) noexcept { return {*this, length}; }

  // When all have ended and none has a value: what it ends with. `ends` are in the order in which they began.
  void without_value(std::span<outcome_base* const> ends, outcome<unit>& how);

 private:
  static void run_left(group_core& self, node& task) noexcept;

  const error_filter* on_;
  const outcome_base* first_ = nullptr;
  const outcome_base* decided_by_ = nullptr;
  time_point decided_at_{};
  pause* waiting_ = nullptr;
  std::size_t ended_ = 0;
  std::size_t seen_ = 0;
};

}  // namespace belay::detail
