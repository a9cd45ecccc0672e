// SPDX-License-Identifier: Apache-2.0
// The part of as_completed that does not depend on the types of the results.

#include <belay/core/child.hpp>
#include <belay/core/detail/completion_core.hpp>
#include <belay/core/error.hpp>
#include <new>

namespace belay::detail {

completion_core::~completion_core() {
  drop_not_begun();
  while (completing* one = ended_.pop_front()) drop_handle(*one);
}

void completion_core::add(completing& task) noexcept {
  task.index = to_come_++;
  task.has_handle = true;  // ours: the result stays until it is handed out
  not_begun_.push_back(task);
}

void completion_core::begin(std::size_t limit, std::source_location where) noexcept {
  open(where, "as_completed");
  attach_scope();
  while (!not_begun_.empty() && live() < limit) adopt(*not_begun_.pop_front());
}

void completion_core::drop_not_begun() noexcept {
  while (completing* one = not_begun_.pop_front()) {
    destroy_quietly(*one->leaf);  // it goes with those that were cancelled
    one->state = node_state::ended;
    drop_handle(*one);
  }
}

void completion_core::leave(const outcome_base& how) noexcept {
  drop_not_begun();
  if (live() == 0) return;
  const bool failed = how.how() == ending::failed;
  request_cancel(failed ? cancel_reason::sibling_failed : cancel_reason::caller, opened_at(),
                 failed ? how.failed_with() : failure());
}

void completion_core::closed(outcome_base& how) noexcept {
  close();
  if (how.how() != ending::failed) return;
  for (completing* one = ended_.front(); one != nullptr; one = one->next) {
    if (one->result->how() != ending::failed) continue;
    try {
      how.failed_with().attach(one->result->failed_with());
    } catch (const std::bad_alloc&) {
      return;  // not attached for want of memory: they go to the sink by themselves
    }
  }
}

completing* completion_core::take() noexcept {
  completing* const one = ended_.pop_front();
  if (one != nullptr) --to_come_;
  return one;
}

void completion_core::put_back(completing& one) noexcept {
  ended_.push_front(one);
  ++to_come_;
  hand_out();
}

void completion_core::hand_out() noexcept {
  while (!takers_.empty() && (!ended_.empty() || to_come_ == 0)) {
    auto& first = *static_cast<taker*>(takers_.front());
    first.taken_ = take();
    first.wake();
  }
}

void completion_core::child_left(group_core& self, node& task) noexcept {
  auto& all = static_cast<completion_core&>(self);
  all.ended_.push_back(static_cast<completing&>(task));
  if (!all.not_begun_.empty()) all.adopt(*all.not_begun_.pop_front());
  all.hand_out();
}

void throw_misuse_as_completed_limit(std::source_location where) {
  throw misuse_error("as_completed with a limit of zero: nothing could ever run; give it one at the least",
                     where);
}

void throw_misuse_as_completed_again(std::source_location where) {
  throw misuse_error("as_completed: these tasks were already given to with or for_each, or moved from",
                     where);
}

}  // namespace belay::detail
