// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes what policies do into the log.

#include <belay/resilience/policy.hpp>
#include <belay/telemetry/logger.hpp>
#include <string>

namespace belay::telemetry {

/// A listener for policies: each event is one record, with `policy` (its name), `kind` and `action`; `detail`, `number` and `length_ms` where
/// the action has them; and `code` and `error` (a message) of the failure, if there is one.
///
///     const policy_listener told = policy_log(log);
///     const retry again({.name = "quotes", .listener = told});
///
/// The level is that of `severity_of(action)`: `debug`, `info` or `warn`, never `error`. The failure itself, with its trace, is for whoever it
/// reaches (`error_log`); here it is only named, and stays unobserved.
/// Errors: none, as `logger`. Thread: any, as the logger; so also for policies whose name says `shared_`.
[[nodiscard]] policy_listener policy_log(logger to, std::string event = "policy");

}  // namespace belay::telemetry
