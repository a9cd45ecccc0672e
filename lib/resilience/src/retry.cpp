// SPDX-License-Identifier: Apache-2.0
// What need not be a template of the retry: its decisions, its history, its words.

#include <belay/core/random.hpp>
#include <belay/core/timeout.hpp>
#include <belay/errors/detail/story.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/retry.hpp>
#include <algorithm>

namespace belay {

retry::retry(retry_options options) {
  using detail::require_option;
  require_option(options.max_attempts >= 1, "retry", "max_attempts", options.max_attempts, "at least 1");
  require_option(options.max_elapsed.value() > duration::zero(), "retry", "max_elapsed",
                 options.max_elapsed.value(), "more than zero");
  require_option(options.most_retry_after.value() >= duration::zero(), "retry", "most_retry_after",
                 options.most_retry_after.value(), "zero or more");
  if (options.name.empty()) options.name = "retry";
  const detail::random_source seeded(options.seed.value_or(0));
  shared_ = std::make_shared<detail::retry_shared>(std::move(options), seeded);
}

std::string_view retry::name() const noexcept { return shared_->options.name; }

std::string retry::describe() const {
  const retry_options& set = shared_->options;
  std::string text = detail::title("retry", set.name) + ": " + std::to_string(set.max_attempts) +
                     (set.max_attempts == 1 ? " attempt" : " attempts");
  if (set.max_elapsed.value() != duration::max())
    text.append(" within ").append(detail::duration_text(set.max_elapsed));
  text.append(", ").append(set.delay.describe());
  if (set.delay_for) text.append(", or as delay_for says");
  if (set.budget) text.append(", budget ").append(set.budget->describe());
  return text;
}

policy_facts retry::facts() const {
  const retry_options& set = shared_->options;
  return {.kind = policy_kind::retry, .name = set.name, .attempts = set.max_attempts};
}

retry_statistics retry::statistics() const noexcept { return shared_->counts; }

namespace detail {

retry_course::retry_course(retry_shared& shared) : shared_(&shared) {
  shared.home.require("retry");
  ++shared.counts.calls;
  if (shared.options.budget) shared.options.budget->deposit();
  if (shared.options.max_elapsed.value() != duration::max()) began_ = now();
}

std::optional<duration> retry_course::after_failure(outcome_base& how, bool may_run_again) {
  failure what = how.failed_with();
  if (failed_after_cancellation(what)) {
    add_history(std::move(what), {});
    return {};
  }
  try {
    if (!shared_->options.on.matches(what)) {
      add_history(std::move(what), "this error is not one to try again");
      return {};
    }
    why_not_ = may_run_again ? std::string_view() : "the operation must not be run again";
    const std::optional<duration> delay = decide(what);
    if (delay) {
      static_cast<void>(what.flatten());  // handled: by what comes next
      remember(std::move(what), *delay);
      return delay;
    }
  } catch (...) {
    what.attach(failure(record_current_exception()));
    why_not_ = "a function of its options failed";
  }
  gave_up(what, why_not_);
  add_history(std::move(what), why_not_);
  return {};
}

std::optional<duration> retry_course::after_value(bool may_run_again) {
  why_not_ = may_run_again ? std::string_view() : "the operation must not be run again";
  const std::optional<duration> delay = decide({});
  if (delay) {
    remember({}, *delay);
  } else {
    gave_up({}, why_not_);
  }
  return delay;
}

bool retry_course::unwanted_value_fails() const noexcept {
  return shared_->options.last_value == exhausted_value::fails;
}

ref<failure_record> retry_course::unwanted_value() const {
  std::string text = title("retry", shared_->options.name) + ": attempt " + std::to_string(number_) + " of " +
                     std::to_string(shared_->options.max_attempts) + " gave a value that is not wanted: ";
  text.append(why_not_);
  return failure::of(
             std::make_exception_ptr(error(error_kind::unavailable, "unwanted_value", std::move(text))))
      .take_record();
}

// The budget last: what it gives is spent.
std::optional<duration> retry_course::decide(const failure& what) {
  const retry_options& set = shared_->options;
  const auto no = [this](std::string_view why) -> std::optional<duration> {
    why_not_ = why;
    return {};
  };
  if (!why_not_.empty()) return {};
  if (number_ >= set.max_attempts) return no("no attempts left");
  if (cancel_requested()) return duration::zero();  // acts on the waiting
  random_source of_the_loop(set.seed ? 0 : random_bits());
  drawn_ = set.delay.draw(number_, drawn_, set.seed ? shared_->seeded : of_the_loop);
  duration delay = drawn_;
  if (set.delay_for) {
    const std::optional<duration> other = set.delay_for({.number = number_, .what = what, .delay = delay});
    if (other && *other >= duration::zero()) delay = *other;
  }
  if (what) {
    if (const std::optional<duration> asked = retry_after_of(what)) {
      if (*asked > set.most_retry_after.value())
        return no("it asks to be left alone for longer than most_retry_after");
      delay = std::max(delay, *asked);
    }
  }
  const time_point next = saturating_add(now(), delay);
  if (set.max_elapsed.value() != duration::max() && next > saturating_add(began_, set.max_elapsed))
    return no("max_elapsed would have passed");
  if (next == time_point::max()) return no("the delay would never end");
  if (next >= current_deadline()) return no("the deadline would have passed");
  if (set.budget) {
    if (!set.budget->try_spend()) return no("the retry budget is used up");
    reserved_ = true;
  }
  return delay;
}

void retry_course::next_attempt() noexcept {
  reserved_ = false;
  ++number_;
  ++shared_->counts.retries;
}

void retry_course::give_back() noexcept { shared_->options.budget->give_back(); }

void retry_course::remember(failure what, duration delay) {
  if (cancel_requested()) return;  // there will be no further attempt
  const retry_options& set = shared_->options;
  if (set.listener) {
    set.listener.tell({.action = policy_action::retrying,
                       .kind = policy_kind::retry,
                       .policy = set.name,
                       .detail = what ? "" : "a value that is not wanted",
                       .number = number_,
                       .length = delay,
                       .what = what});
  }
  if (history_.size() == most_kept) {
    history_.erase(history_.begin() + most_kept / 2);
    ++dropped_;
  }
  history_.push_back({number_, std::move(what), delay});
}

void retry_course::recovered() {
  ++shared_->counts.recovered;
  const retry_options& set = shared_->options;
  if (set.listener) {
    set.listener.tell({.action = policy_action::recovered,
                       .kind = policy_kind::retry,
                       .policy = set.name,
                       .number = number_});
  }
}

void retry_course::gave_up(const failure& what, std::string_view why) {
  ++shared_->counts.gave_up;
  const retry_options& set = shared_->options;
  if (set.listener) {
    set.listener.tell({.action = policy_action::gave_up,
                       .kind = policy_kind::retry,
                       .policy = set.name,
                       .detail = why,
                       .number = number_,
                       .what = what});
  }
}

// An error that came out at once for being none to try again is left as it is.
void retry_course::add_history(failure last, std::string_view why) {
  const std::string of = title("retry", shared_->options.name);
  if (history_.empty() && (why.empty() || why_not_.empty())) return;
  const std::string_view shown_before_gap = dropped_ > 0 ? "..." : "";
  std::size_t shown = 0;
  for (past& one : history_) {
    if (dropped_ > 0 && shown++ == most_kept / 2)
      last.note(of + ": " + std::string(shown_before_gap) + " and " + std::to_string(dropped_) + " more");
    std::string line = of + ": attempt " + std::to_string(one.number);
    line.append(one.what ? " failed: " + one.what.type_name() + ": " + one.what.message()
                         : " gave a value that is not wanted");
    line.append("; waited ").append(duration_text(one.delay));
    last.note(std::move(line));
    if (one.what) last.attach(std::move(one.what));
  }
  history_.clear();
  if (!why.empty()) {
    last.note(of + ": gave up after attempt " + std::to_string(number_) + " of " +
              std::to_string(shared_->options.max_attempts) + ": " + std::string(why));
  }
}

}  // namespace detail
}  // namespace belay
