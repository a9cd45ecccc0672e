// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes what guards tell into the log.

#include <belay/errors/error_observer.hpp>
#include <belay/telemetry/logger.hpp>
#include <string>
#include <utility>

namespace belay::telemetry {

/// For `belay::guard`: each error is one record, with the failure, `operation`, `code`, `retryable` and the guard's context. Expected
/// errors are `info`, warnings `warn`, critical ones `error`. Sensitive values are written as "[redacted]".
///
///     error_log told(log);
///     guard loading(told, {.operation = "load user"});
///
/// Alerts and spans are not its business. Errors: none, as `logger`.
class error_log final : public error_observer {
 public:
  explicit error_log(logger to, std::string event = "error")
      : log_(std::move(to)), event_(std::move(event)) {}

  void record(const error_event& told) override;

 private:
  logger log_;
  std::string event_;
};

}  // namespace belay::telemetry
