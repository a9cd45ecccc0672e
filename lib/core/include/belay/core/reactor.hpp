// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a loop waits in when it has nothing to run; the I/O layer puts its own in.

#include <belay/core/time.hpp>

namespace belay {

class reactor {
 public:
  virtual ~reactor() = default;

  /// Handles I/O that is ready; if none is, waits for it, but returns after `limit` at the latest (zero: does not
  /// wait; `duration::max()`: no limit) and whenever `wake_fd` is readable.
  virtual void wait(duration limit) = 0;
};

}  // namespace belay
