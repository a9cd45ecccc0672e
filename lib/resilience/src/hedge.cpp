// SPDX-License-Identifier: Apache-2.0
// What decides a hedged call, when the next run begins, and the options.

#include <belay/errors/detail/story.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/hedge.hpp>

#include <algorithm>
#include <cmath>
#include <new>

namespace belay {
namespace detail {

namespace {

void set_observed(const failure& what, bool observed) noexcept {
  what.record()->observed.store(observed, std::memory_order_relaxed);
}

}  // namespace

hedge_delay::hedge_delay(duration fixed, double percentile, std::size_t window, std::size_t minimum_calls)
    : current_(fixed),
      percentile_(percentile),
      minimum_calls_(minimum_calls),
      latest_(percentile > 0 ? window : 0),
      sorted_(latest_.size()) {}

void hedge_delay::add(duration took) noexcept {
  if (latest_.empty()) return;
  latest_[next_] = took;
  next_ = next_ + 1 == latest_.size() ? 0 : next_ + 1;
  used_ = std::min(used_ + 1, latest_.size());
  // Sorted only now and then: a call more or less hardly moves it.
  if (++since_ < std::max<std::size_t>(1, used_ / 16) || used_ < minimum_calls_) return;
  since_ = 0;
  std::copy_n(latest_.begin(), used_, sorted_.begin());
  // The call with which this share is complete: of ten and 0.9 the ninth. (0.07 * 100 is a little more than 7 in binary.)
  const double share = std::ceil(percentile_ * static_cast<double>(used_) - 1e-9);
  const std::size_t place = std::clamp<std::size_t>(static_cast<std::size_t>(share), 1, used_) - 1;
  const auto at = sorted_.begin() + static_cast<std::ptrdiff_t>(place);
  std::nth_element(sorted_.begin(), at, sorted_.begin() + static_cast<std::ptrdiff_t>(used_));
  current_ = *at + duration(1);  // who takes just as long is not hedged
}

void hedged_runs::pause::arm() noexcept {
  if (length_ == duration::max()) return;
  due = static_cast<std::uint64_t>(saturating_add(now(), length_).time_since_epoch().count());
  fire = &pause::passed;
  this_runtime->timers->insert(*this);
}

void hedged_runs::pause::passed(timer_node& timer) noexcept {
  auto& self = static_cast<pause&>(timer);
  self.of_->waiting_ = nullptr;
  self.complete();
}

void hedged_runs::run_left(group_core& group, node& task) noexcept {
  auto& self = static_cast<hedged_runs&>(group);
  const outcome_base& how = *task.result;
  ++self.ended_;
  const bool failed = how.how() == ending::failed;
  const bool decided = self.decided_by_ != nullptr;
  if (decided && failed) {
    // A run that was told to stop has failed instead. (An error of its cleanup stays in its outcome, and goes to the sink with it.)
    const failure what = how.failed_with();
    if (!arose_in_cleanup(what)) set_observed(what, true);
  } else if (!decided && how.how() != ending::cancelled) {
    bool decides = true;
    failure what;
    if (failed) {
      what = how.failed_with();
      const bool no_memory = exception_as<std::bad_alloc>(what.exception()) != nullptr;
      try {
        decides = !self.on_->matches(what) && !(no_memory && &how != self.first_);
      } catch (...) {
        report_lost(failure::of(std::current_exception()));
      }
      set_observed(what, true);  // handled, unless it comes out in the end
    }
    if (decides) {
      self.decided_by_ = &how;
      self.decided_at_ = now();
      self.request_cancel(cancel_reason::race_lost, self.opened_at(), what);
    }
  }
  if (self.waiting_ != nullptr) self.waiting_->run_ended();
}

void hedged_runs::without_value(std::span<outcome_base* const> ends, outcome<unit>& how) {
  const scope& outside = *this_runtime->current->current;
  how.set_cancelled(effective_record(outside).shared());
  bool cut_short = false;
  for (const outcome_base* one : ends) cut_short |= one->how() == ending::cancelled && decided_by_ == nullptr;
  // Cancelled before it was decided: another run might have succeeded.
  if (!(cut_short && outside.effective())) {
    const auto comes_out = [this](const outcome_base& one) {
      failure what = one.failed_with();
      if (!what) return;
      set_observed(what, false);  // it goes on: somebody else has to look
      add_failure(std::move(what));
    };
    if (decided_by_ != nullptr) comes_out(*decided_by_);
    for (const outcome_base* one : ends) {
      if (one != decided_by_) comes_out(*one);
    }
  }
  static_cast<void>(conclude(how));
}

hedge_state::hedge_state(hedge_options&& given)
    : options([&given]() -> hedge_options&& {
        const hedge_options& o = given;
        const std::string who = title("hedge", o.name);
        require_option(o.delay > duration::zero(), who, "delay", o.delay, "more than 0");
        require_option(o.percentile >= 0 && o.percentile < 1, who, "percentile", o.percentile,
                       "0 (off), or less than 1");
        require_option(o.window >= 1 && o.window <= 100'000, who, "window", std::uint64_t{o.window},
                       "from 1 to 100000");
        require_option(o.minimum_calls >= 1 && (o.percentile == 0 || o.minimum_calls <= o.window), who,
                       "minimum_calls", std::uint64_t{o.minimum_calls}, "from 1 to window");
        require_option(o.most_runs >= 2 && o.most_runs <= 8, who, "most_runs", o.most_runs, "from 2 to 8");
        require_option(o.budget > 0 && o.budget <= 7, who, "budget", o.budget, "more than 0, up to 7");
        require_option(o.budget_saved >= 1 && o.budget_saved <= 1e9, who, "budget_saved", o.budget_saved,
                       "from 1 to 1000000000");
        return std::move(given);
      }()),
      delay(options.delay, options.percentile, options.window, options.minimum_calls),
      budget(options.budget, options.budget_saved) {}

void hedge_state::tell_hedged(unsigned run, duration after) const noexcept {
  if (!options.listener) return;
  options.listener.tell({.action = policy_action::hedged,
                         .kind = policy_kind::hedge,
                         .policy = options.name,
                         .number = run,
                         .length = after});
}

}  // namespace detail

hedge_statistics hedge::statistics() const noexcept {
  hedge_statistics all = state_->counted;
  all.delay = state_->delay.current();
  return all;
}

std::string hedge::describe() const {
  const hedge_options& o = state_->options;
  std::string text = detail::title("hedge", o.name) + ": up to " + std::to_string(o.most_runs) +
                     " runs, each after " + detail::duration_text(o.delay);
  if (o.percentile > 0) {
    text += " (after " + std::to_string(o.minimum_calls) + " calls: what " +
            detail::percent_text(o.percentile) + " of the last " + std::to_string(o.window) + " took)";
  }
  return text + ", at most " + detail::percent_text(o.budget) + " more load";
}

}  // namespace belay
