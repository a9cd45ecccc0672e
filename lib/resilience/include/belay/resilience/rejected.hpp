// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the policies throw that did not let a call begin: the operation has not run.

#include <belay/resilience/policy.hpp>

namespace belay {

/// A circuit breaker is open (`circuit_open`, unavailable) or was isolated by hand (`circuit_isolated`). `cause()` is the failure that was
/// counted last; `retry_after()` the rest of the open time, nothing where nobody can know it.
class circuit_open_error : public rejected_error {
 public:
  using rejected_error::rejected_error;
};

/// As many calls run as may (`bulkhead_full`, `limit_reached`; overloaded): there is no place in the line, or the wait took too long.
class overload_error : public rejected_error {
 public:
  using rejected_error::rejected_error;
};

/// More calls than a rate limiter lets through (`rate_limited`, overloaded). `retry_after()` tells when there will be room, if nobody comes before.
class rate_limited_error : public rejected_error {
 public:
  using rejected_error::rejected_error;
};

}  // namespace belay
