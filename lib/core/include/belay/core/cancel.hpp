// SPDX-License-Identifier: Apache-2.0
#pragma once
// The record of a cancellation: who asked, why, where, and the failure behind it.

#include <belay/core/detail/ref.hpp>
#include <belay/core/failure.hpp>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>

namespace belay {

enum class cancel_reason : unsigned char {
  caller,          ///< somebody called cancel()
  deadline,        ///< the deadline of a scope passed
  sibling_failed,  ///< another task of the group failed
  race_lost,       ///< another task was first
  shutdown,        ///< the program ends
  disconnect,      ///< the client went away
  overload,        ///< work is being shed
};

[[nodiscard]] std::string_view to_string(cancel_reason reason) noexcept;

/// Who cancelled, why and where. A cheap handle; the first request of a scope is the one that stays.
class cancel_record {
 public:
  struct data : detail::refcounted {
    cancel_reason reason = cancel_reason::caller;
    std::string who;  // the name of the scope or of its kind ("with_timeout", "group")
    std::source_location where;
    failure cause;
    std::uint32_t asked_at = 0;  // a coarse_time; set with the first scope that was cancelled with it
  };

  cancel_record() noexcept = default;
  explicit cancel_record(detail::ref<data> shared) noexcept : data_(std::move(shared)) {}
  static cancel_record make(cancel_reason reason, std::string who, std::source_location where,
                            failure cause = {});

  explicit operator bool() const noexcept { return static_cast<bool>(data_); }
  [[nodiscard]] cancel_reason reason() const noexcept { return data_->reason; }
  [[nodiscard]] std::string_view who() const noexcept { return data_->who; }
  [[nodiscard]] std::source_location where() const noexcept { return data_->where; }
  /// The failure behind the cancellation (of the sibling that failed), if any.
  [[nodiscard]] const failure& cause() const noexcept { return data_->cause; }

  [[nodiscard]] const detail::ref<data>& shared() const noexcept { return data_; }

 private:
  detail::ref<data> data_;
};

/// Who asked the running task to stop, and why, once a cancellation acts on it: also in its destructors while it is unwound, and in its
/// cleanup until that is shielded. Empty when nobody did, and outside of tasks. For logs.
[[nodiscard]] cancel_record current_cancellation() noexcept;

/// One line: "cancelled by group at x.cpp:12: sibling failed (not_found: user 7)".
[[nodiscard]] std::string describe(const cancel_record& what);

}  // namespace belay
