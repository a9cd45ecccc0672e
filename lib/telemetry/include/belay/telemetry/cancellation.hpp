// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cancellations in the log: who asked, why and where.

#include <belay/core/cancel.hpp>
#include <belay/telemetry/value.hpp>

namespace belay::telemetry {

/// The record of a cancellation as a field: `{"reason": "deadline passed", "who": "scope 'dashboard'", "at": "x.cpp:41", "cause":
/// "not_found: user 7"}`; `cause` only when there is a failure behind it. An empty record is null.
///
///     log.warn("upload_stopped", {{"cancelled", telemetry::to_value(belay::current_cancellation())}});
///     log.info("upload_ended", {{"cancelled", telemetry::to_value(how.cancellation())}});     // how: an exit_status or an outcome
///
/// The cause is not observed by that: it still has its own way to go.
[[nodiscard]] value to_value(const cancel_record& what);

}  // namespace belay::telemetry
