// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts what policies do.

#include <belay/resilience/policy.hpp>
#include <belay/telemetry/metrics.hpp>

namespace belay::telemetry {

/// A listener for policies: each event adds one to `belay_policy_events_total`, by `policy` (its name), `kind` and `action`; a change of
/// state sets `belay_policy_state`, by `policy` and `state`: 1 for the present one, 0 for those before it.
///
///     const circuit_breaker guarded({.name = "quotes", .listener = policy_metrics(app.metrics())});
///
/// Several policies, also with the same name, may share one. Failures stay unobserved.
/// Lifetime: `into` outlives the policies. Thread: the loop's; so not for policies whose name says `shared_`, which tell on any.
[[nodiscard]] policy_listener policy_metrics(metrics& into);

}  // namespace belay::telemetry
