// SPDX-License-Identifier: Apache-2.0
#pragma once
// For errors that know better than their kind whether another try is wrong.

namespace belay {

/// A base, beside `error`, for errors after which the work may have been done already: a payment whose answer got lost.
class retry_judge {
 public:
  /// False: `classify` says not retryable, whatever the kind. True: it says what the kind says.
  [[nodiscard]] virtual bool may_be_tried_again() const noexcept = 0;

 protected:
  retry_judge() noexcept = default;
  retry_judge(const retry_judge&) noexcept = default;
  retry_judge& operator=(const retry_judge&) noexcept = default;
  ~retry_judge() = default;
};

}  // namespace belay
