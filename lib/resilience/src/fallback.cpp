// SPDX-License-Identifier: Apache-2.0
// What need not be a template of the fallback.

#include <belay/errors/detail/story.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/fallback.hpp>

namespace belay::detail {

fallback_shared::fallback_shared(fallback_options given) : options(std::move(given)) {
  if (options.name.empty()) options.name = "fallback";
}

bool fallback_shared::replaces(const outcome_base& how) const {
  failure what = how.failed_with();
  if (failed_after_cancellation(what)) return false;
  try {
    return options.on.matches(what);
  } catch (...) {
    what.attach(failure(record_current_exception()));
    return false;
  }
}

void fallback_shared::replaced(failure what) {
  ++counts.replaced;
  if (options.listener) {
    options.listener.tell({.action = policy_action::replaced,
                           .kind = policy_kind::fallback,
                           .policy = options.name,
                           .what = what});
  }
  counts.last = std::move(what);
}

void fallback_shared::cancelled(const failure& what) noexcept {
  ++counts.cancelled;
  if (options.listener) {
    options.listener.tell({.action = policy_action::gave_up,
                           .kind = policy_kind::fallback,
                           .policy = options.name,
                           .detail = "the fallback was cancelled",
                           .what = what});
  }
}

replacement::replacement(fallback_shared& by, failure original) : by_(&by), original_(std::move(original)) {
  static_cast<void>(original_.flatten());  // the fallback is the answer to all of it
}

void replacement::ended(outcome_base& how) {
  fallback_shared& by = *std::exchange(by_, nullptr);
  if (how.how() == ending::value) {
    by.replaced(original_);
  } else {
    by.failed(how, original_);
  }
}

void fallback_shared::failed(outcome_base& how, failure original) const {
  failure what = how.failed_with();
  what.note(title("fallback", options.name) + ": failed itself, after " + original.type_name() + ": " +
            original.message());
  what.attach(std::move(original));
}

std::string fallback_shared::describe(std::string_view what) const {
  return title("fallback", options.name).append(": ").append(what);
}

}  // namespace belay::detail
