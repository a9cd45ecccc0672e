// SPDX-License-Identifier: Apache-2.0
// What need not be a template of the timeout policy.

#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/timeout.hpp>

namespace belay {

timeout::timeout(timeout_policy_options options, std::source_location where) {
  detail::require_option(options.limit.value() > duration::zero(), "timeout", "limit", options.limit.value(),
                         "more than zero");
  if (options.name.empty()) options.name = "timeout";
  set_ = std::make_shared<const settings>(std::move(options), where);
}

std::string timeout::describe() const {
  return detail::title("timeout", name()) + ": " + detail::duration_text(limit());
}

failure timeout::settings::expired(const detail::deadline_scope& bounds) const {
  std::string text = bounds.message();
  if (options.name != "timeout") text.insert(0, detail::title("timeout", options.name) + ": ");
  failure what = failure::of(std::make_exception_ptr(timeout_error(std::move(text), where)));
  tell(what);
  return what;
}

void timeout::settings::tell(failure what) const {
  if (!options.listener) return;
  options.listener.tell({.action = policy_action::timed_out,
                         .kind = policy_kind::timeout,
                         .policy = options.name,
                         .length = options.limit,
                         .what = std::move(what)});
}

}  // namespace belay
