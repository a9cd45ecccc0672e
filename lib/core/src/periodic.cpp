// SPDX-License-Identifier: Apache-2.0
// Ticks: when the next one is due, and which were missed.

#include <belay/core/error.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/random.hpp>

namespace belay {

schedule every(duration interval, periodic_options options, std::source_location where) {
  if (interval <= duration::zero()) {
    throw misuse_error("every: the interval must be more than zero: it would never give others a turn",
                       where);
  }
  if (options.jitter < duration::zero() || options.jitter >= interval) {
    throw misuse_error("every: the jitter must not be negative, and must be less than the interval", where);
  }
  return {interval, std::move(options)};
}

namespace detail {

ticker::ticker(const schedule& when) noexcept : when_(&when), next_due_(belay::now()) {
  if (when.options().first == first_tick::after_interval) {
    next_due_ = saturating_add(next_due_, when.interval());
  }
}

time_point ticker::next() {
  const periodic_options& how = when_->options();
  now_.skipped = 0;
  if (now_.number != 0) {
    const time_point here = belay::now();
    if (how.pace == pace::fixed_delay) {
      next_due_ = saturating_add(here, when_->interval());
    } else {
      next_due_ = saturating_add(now_.due, when_->interval());
      if (next_due_ < here) {
        // The first one that is not past; those before it are skipped.
        const auto missed = (here - next_due_ + when_->interval() - duration(1)) / when_->interval();
        now_.skipped = static_cast<std::uint64_t>(missed);
        next_due_ = saturating_add(next_due_, when_->interval() * missed);
      }
    }
  }
  ++now_.number;
  now_.due = next_due_;
  return how.jitter > duration::zero() ? saturating_add(next_due_, random_up_to(how.jitter)) : next_due_;
}

void ticker::begin_run() noexcept {
  if (when_->options().pace == pace::fixed_rate) {
    // The loop was busy for longer than an interval: this run is that of the latest tick.
    const auto missed = (belay::now() - now_.due) / when_->interval();
    if (missed > 0) {
      now_.skipped += static_cast<std::uint64_t>(missed);
      now_.due = saturating_add(now_.due, when_->interval() * missed);
    }
  }
  now_.skipped_in_all += now_.skipped;
}

bool ticker::handled(const failure& why) {
  const periodic_options& how = when_->options();
  if (!how.on_error) return false;
  ++now_.failed_in_all;
  why.observe();
  try {
    how.on_error(why, now_);
  } catch (...) {
    current_failure().attach(why);
    throw;
  }
  return true;
}

}  // namespace detail
}  // namespace belay
