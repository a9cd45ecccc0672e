// SPDX-License-Identifier: Apache-2.0
// Names of kinds and actions, and listeners that may throw.

#include <belay/errors/detail/story.hpp>
#include <belay/resilience/policy.hpp>

namespace belay {

std::string_view to_string(policy_kind kind) noexcept {
  switch (kind) {
    case policy_kind::timeout: return "timeout";
    case policy_kind::retry: return "retry";
    case policy_kind::circuit_breaker: return "circuit_breaker";
    case policy_kind::bulkhead: return "bulkhead";
    case policy_kind::rate_limiter: return "rate_limiter";
    case policy_kind::adaptive_limit: return "adaptive_limit";
    case policy_kind::hedge: return "hedge";
    case policy_kind::fallback: return "fallback";
    case policy_kind::cache: return "cache";
    case policy_kind::chaos: return "chaos";
    case policy_kind::other: return "other";
  }
  return "other";
}

std::string_view to_string(policy_action action) noexcept {
  switch (action) {
    case policy_action::retrying: return "retrying";
    case policy_action::recovered: return "recovered";
    case policy_action::gave_up: return "gave_up";
    case policy_action::timed_out: return "timed_out";
    case policy_action::state_changed: return "state_changed";
    case policy_action::rejected: return "rejected";
    case policy_action::queued: return "queued";
    case policy_action::admitted: return "admitted";
    case policy_action::limit_changed: return "limit_changed";
    case policy_action::hedged: return "hedged";
    case policy_action::replaced: return "replaced";
    case policy_action::cached: return "cached";
    case policy_action::injected: return "injected";
  }
  return "unknown";
}

policy_severity severity_of(policy_action action) noexcept {
  switch (action) {
    case policy_action::retrying:
    case policy_action::gave_up:
    case policy_action::timed_out:
    case policy_action::state_changed:
    case policy_action::rejected:
    case policy_action::replaced: return policy_severity::warning;
    case policy_action::recovered:
    case policy_action::limit_changed:
    case policy_action::injected: return policy_severity::info;
    case policy_action::queued:
    case policy_action::admitted:
    case policy_action::hedged:
    case policy_action::cached: return policy_severity::debug;
  }
  return policy_severity::info;
}

void policy_listener::tell(const policy_event& event) const noexcept {
  if (listen_ == nullptr) return;
  try {
    const detail::look_without_handling telling(event.what);
    (*listen_)(event);
  } catch (...) {
    // Without an owner: its last handle reports it.
    static_cast<void>(failure(detail::record_current_exception()));
  }
}

}  // namespace belay
