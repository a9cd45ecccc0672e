// SPDX-License-Identifier: Apache-2.0
// What decides race and any, what comes out of any when none succeeded, and the misuse of the combinators.

#include <belay/core/detail/gathering.hpp>
#include <belay/core/map.hpp>
#include <belay/core/race.hpp>

namespace belay::detail {

namespace {

void set_observed(const failure& what, bool observed) noexcept {
  what.record()->observed.store(observed, std::memory_order_relaxed);
}

failure none_succeeded(std::span<outcome_base* const> ends, std::source_location where) {
  std::vector<failure> each;
  for (outcome_base* one : ends) {
    if (one->how() == ending::failed) each.push_back(one->failed_with());
  }
  const auto kind_of = [](const failure& what) {
    const auto* typed = exception_as<error>(what.exception());
    return typed != nullptr ? typed->kind() : error_kind::internal;
  };
  error_kind kind = kind_of(each.front());
  for (const failure& one : each) {
    if (kind_of(one) != kind) kind = error_kind::unavailable;
  }
  const std::string text = "any: none of " + std::to_string(ends.size()) + " succeeded; the first of them: ";
  failure all =
      failure::of(std::make_exception_ptr(none_succeeded_error(kind, text + each.front().message(), where)));
  for (failure& one : each) {
    set_observed(one, false);  // it goes on: somebody else has to look
    all.attach(std::move(one));
  }
  return all;
}

}  // namespace

void contest::child_left(group_core& self, node& task) noexcept {
  auto& all = static_cast<contest&>(self);
  const outcome_base& how = *task.result;
  if (how.how() == ending::cancelled) return;
  const bool failed = how.how() == ending::failed;
  if (failed && all.by_ == contest_rule::first_to_succeed) {
    // After the winner: stays in its outcome, which nobody looks at, and so goes to the sink.
    if (all.winner_ != nullptr) return;
    set_observed(how.failed_with(), true);  // handled, if another one succeeds
    return;
  }
  if (all.winner_ == nullptr) {
    all.winner_ = &how;
    all.request_cancel(cancel_reason::race_lost, all.opened_at(), failed ? how.failed_with() : failure());
    if (failed) all.add_failure(how.failed_with());
  } else if (failed && all.first_failure()) {
    all.add_failure(how.failed_with());
  }
}

void contest::without_value(std::span<outcome_base* const> ends, outcome<unit>& how) {
  const scope& outside = *this_runtime->current->current;
  if (by_ == contest_rule::first_to_succeed) {
    bool failures = false;
    bool cut_short = false;
    for (outcome_base* one : ends) {
      failures |= one->how() == ending::failed;
      cut_short |= one->how() == ending::cancelled && outside.effective();
    }
    if (failures && !cut_short) {
      add_failure(none_succeeded(ends, opened_at()));
    } else {
      // Cancelled before it was decided: what had failed is not handled, but reported.
      for (outcome_base* one : ends) {
        if (one->how() == ending::failed) set_observed(one->failed_with(), false);
      }
    }
  }
  how.set_cancelled(effective_record(outside).shared());
  static_cast<void>(conclude(how));
}

void throw_misuse_no_tasks(contest_rule by, std::source_location where) {
  throw misuse_error(std::string(by == contest_rule::first_to_end ? "race" : "any") +
                         " of no tasks: there is nothing that could end it; give it one at the least",
                     where);
}

void throw_misuse_map_limit(std::source_location where) {
  throw misuse_error("map with a limit of zero: nothing could ever run; give it one at the least", where);
}

}  // namespace belay::detail
