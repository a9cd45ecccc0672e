// SPDX-License-Identifier: Apache-2.0
// Which errors a policy is about.

#include <belay/errors/classify.hpp>
#include <belay/errors/detail/error_index.hpp>
#include <belay/resilience/error_filter.hpp>
#include <belay/resilience/policy.hpp>
#include <algorithm>
#include <unordered_set>
#include <vector>

namespace belay {

error_filter::error_filter(predicate matches_one) {
  if (!matches_one) throw misuse_error("error_filter: made with an empty function");
  matches_one_ = std::make_shared<const predicate>(std::move(matches_one));
}

bool error_filter::matches(const failure& what) const {
  if (!what || !(*matches_one_)(what)) return false;
  if (what.record()->attached.empty()) return true;
  // What was replaced is not asked: whoever replaced it has decided what it is.
  std::vector<failure> open(what.record()->attached.begin(), what.record()->attached.end());
  std::unordered_set<const void*> seen{what.record().get()};
  while (!open.empty()) {
    const failure one = std::move(open.back());
    open.pop_back();
    if (!seen.insert(one.record().get()).second) continue;
    if (!(*matches_one_)(one)) return false;
    open.insert(open.end(), one.record()->attached.begin(), one.record()->attached.end());
  }
  return true;
}

error_filter operator||(const error_filter& a, const error_filter& b) {
  return error_filter(
      [a = a.matches_one_, b = b.matches_one_](const failure& what) { return (*a)(what) || (*b)(what); });
}
error_filter operator&&(const error_filter& a, const error_filter& b) {
  return error_filter(
      [a = a.matches_one_, b = b.matches_one_](const failure& what) { return (*a)(what) && (*b)(what); });
}
error_filter operator!(const error_filter& a) {
  return error_filter([a = a.matches_one_](const failure& what) { return !(*a)(what); });
}

error_filter transient_errors() {
  static const error_filter transient([](const failure& what) {
    const auto* rejected = detail::exception_as<rejected_error>(what.exception());
    return rejected != nullptr ? rejected->retry_after().has_value() : is_retryable(what);
  });
  return transient;
}

error_filter kinds(std::initializer_list<error_kind> wanted) {
  if (wanted.size() == 0) throw misuse_error("kinds: the list is empty, so nothing would ever match");
  return error_filter([list = std::vector<error_kind>(wanted)](const failure& what) {
    return std::find(list.begin(), list.end(), classify(what).kind) != list.end();
  });
}

error_filter any_error() {
  static const error_filter any([](const failure&) { return true; });
  return any;
}
error_filter no_error() {
  static const error_filter none([](const failure&) { return false; });
  return none;
}

std::optional<duration> retry_after_of(const failure& what) {
  std::optional<duration> longest;
  for (const failure& one : detail::itself_and_attached(what)) {
    const std::optional<duration> asked = classify(one).retry_after;
    if (asked && (!longest || *asked > *longest)) longest = asked;
  }
  return longest;
}

}  // namespace belay
