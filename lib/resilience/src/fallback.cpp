// SPDX-License-Identifier: Apache-2.0
// What need not be a template of the fallback.

#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/fallback.hpp>

namespace belay::detail {

fallback_shared::fallback_shared(fallback_options given) : options(std::move(given)) {
  if (options.name.empty()) options.name = "fallback";
}

bool fallback_shared::replaces(const outcome_base& how) const {
  failure what = how.failed_with();
  try {
    return options.on.matches(what);
  } catch (...) {
    what.attach(failure(record_current_exception()));
    return false;
  }
}

void fallback_shared::handle(const failure& original) {
  for (const failure& one : original.flatten()) one.observe();
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
