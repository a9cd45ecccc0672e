// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which errors a policy is about: transient ones, kinds, types, or what a predicate says.

#include <belay/core/error.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/time.hpp>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

namespace belay {

/// A cheap, immutable value: `retry_options{.on = kinds({error_kind::unavailable}) || types<db::busy_error>()}`.
///
/// It is asked about a failure with all that is attached to it, and matches only if each of these matches: a group of which one task
/// failed for a reason that will not go away is not tried again because another one timed out.
/// What a predicate throws comes out of `matches`.
class error_filter {
 public:
  /// One error, without what is attached to it.
  using predicate = std::function<bool(const failure&)>;

  /// Matches what `matches_one` says. Errors: `misuse_error` when it is empty.
  explicit error_filter(predicate matches_one);

  [[nodiscard]] bool matches(const failure& what) const;

  friend error_filter operator||(const error_filter& a, const error_filter& b);
  friend error_filter operator&&(const error_filter& a, const error_filter& b);
  friend error_filter operator!(const error_filter& a);

 private:
  std::shared_ptr<const predicate> matches_one_;
};

/// Errors that may be gone the next time: what `is_retryable` says, so kinds unavailable, overloaded and timed_out, errors of the
/// system and of libraries that mean the same, and what the `error_classifier` in effect knows. A `rejected_error` only if it knows
/// when to ask again.
[[nodiscard]] error_filter transient_errors();
/// Errors of one of these kinds: what `belay::error` says itself, and what `classify` says of foreign exceptions.
[[nodiscard]] error_filter kinds(std::initializer_list<error_kind> wanted);
/// Every error.
[[nodiscard]] error_filter any_error();
[[nodiscard]] error_filter no_error();
/// Errors of one of these types, or derived from one.
template <class... E>
[[nodiscard]] error_filter types() {
  return error_filter(
      [](const failure& what) { return ((detail::exception_as<E>(what.exception()) != nullptr) || ...); });
}

/// How long the error asks to be left alone, if it does: `classify(what).retry_after`, or that of what is attached to it: the longest one.
[[nodiscard]] std::optional<duration> retry_after_of(const failure& what);

}  // namespace belay
