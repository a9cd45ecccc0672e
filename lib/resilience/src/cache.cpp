// SPDX-License-Identifier: Apache-2.0
// What need not be a template of the cache.

#include <belay/errors/detail/story.hpp>
#include <belay/resilience/cache.hpp>
#include <belay/resilience/detail/options_text.hpp>

namespace belay::detail {

cache_shared::cache_shared(cache_options given) : options(std::move(given)) {
  require_option(options.fresh_for.value() > duration::zero(), "cache", "fresh_for",
                 options.fresh_for.value(), "more than zero");
  require_option(options.stale_for.value() >= duration::zero(), "cache", "stale_for",
                 options.stale_for.value(), "zero or more");
  require_option(options.most >= 1, "cache", "most", std::uint64_t{options.most}, "at least 1");
  if (options.name.empty()) options.name = "cache";
}

void cache_shared::hit(duration age) {
  ++counts.hits;
  if (!options.listener) return;
  options.listener.tell(
      {.action = policy_action::cached, .kind = policy_kind::cache, .policy = options.name, .length = age});
}

bool cache_shared::may_be_given(duration age) const noexcept {
  return age - options.fresh_for.value() < options.stale_for.value();
}

bool cache_shared::gives_stale(const outcome_base& how, duration age) {
  failure why = how.failed_with();
  if (failed_after_cancellation(why)) return false;
  try {
    if (!options.stale_on.matches(why)) return false;
  } catch (...) {
    why.attach(failure(record_current_exception()));
    return false;
  }
  static_cast<void>(why.flatten());
  ++counts.stale;
  if (options.listener) {
    options.listener.tell({.action = policy_action::cached,
                           .kind = policy_kind::cache,
                           .policy = options.name,
                           .detail = "stale",
                           .length = age,
                           .what = std::move(why)});
  }
  return true;
}

std::string cache_shared::describe() const {
  std::string text = title("cache", options.name) + ": fresh for " + duration_text(options.fresh_for);
  if (options.stale_for.value() > duration::zero())
    text.append(", on failure ").append(duration_text(options.stale_for)).append(" longer");
  return text.append(", at most ").append(std::to_string(options.most)).append(" values");
}

}  // namespace belay::detail
