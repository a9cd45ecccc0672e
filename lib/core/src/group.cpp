// SPDX-License-Identifier: Apache-2.0
// Groups with options: policies, limits, and tasks that get started.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/group_base.hpp>
#include <belay/core/error.hpp>
#include <new>

namespace belay::detail {

void group_base::open_with(const group_options& options, std::source_location where) {
  if (options.most_live == 0) {
    throw misuse_error("with_group with most_live = 0: nothing could ever run; give it one at the least",
                       where);
  }
  policy_ = options.policy;
  most_live_ = options.most_live;
  const bool plain = policy_ == group_policy::fail_fast && most_live_ == no_limit && *options.name == '\0';
  if (!plain) treat_ends(&child_left);
  open(where, "with_group", options.name);
}

void group_base::refuse(const char* call, std::source_location where) const {
  if (!is_open()) {
    throw misuse_error(std::string(call) + ": the group has ended, or was not opened by with_group", where);
  }
  if (!is_open_here()) {
    throw misuse_error(std::string(call) + ": called from a thread that is not the group's; use loop::post",
                       where);
  }
  const std::string who = *name() == '\0' ? "the group" : "group '" + std::string(name()) + "'";
  throw error(error_kind::overloaded, "group_full",
              std::string(call) + ": " + who + " has " + std::to_string(live() + promised_) +
                  " tasks, as many as it may (most_live); use try_spawn, or wait with spawn_when_free",
              where);
}

void group_base::child_left(group_core& self, node& task) noexcept {
  auto& in = static_cast<group_base&>(self);
  if (task.result->how() == ending::failed) {
    failure what = task.result->failed_with();
    try {
      if (*in.name() != '\0') what.note("in group '" + std::string(in.name()) + "'");
    } catch (const std::bad_alloc&) {
      what = task.result->failed_with();  // without memory the story gets shorter; the error itself is kept
    }
    switch (in.policy_) {
      case group_policy::fail_fast: in.add_failure(std::move(what)); break;
      case group_policy::supervise: break;  // it stays in the outcome: for the handle, or for the sink
      case group_policy::settle: in.collect(std::move(what)); break;
    }
  }
  in.let_in();
}

void group_base::collect(failure what) noexcept {
  try {
    collected_.push_back(std::move(what));
  } catch (const std::bad_alloc&) {
    return;  // not kept for want of memory: reported to the sink, unless somebody looks at it through a handle
  }
}

void group_base::take_collected() noexcept {
  for (failure& one : collected_) {
    if (!one.observed()) add_failure(std::move(one));
  }
  collected_.clear();
}

void group_base::leave(bool granted) noexcept {
  if (granted) --promised_;
  let_in();
  let_go();
}

void group_base::let_in() noexcept {
  while (!line_.empty() && has_room()) static_cast<place::awaiter*>(line_.front())->grant();
}

// ---- starting

starting::starting(group_core& into, std::source_location where) noexcept
    : group_core(&child_left), into_(&into) {
  open(where, "group::start");
  inner_scope().attach_to(&into.inner_scope());
}

starting::~starting() { inner_scope().detach(); }

bool starting::awaiter::abort() noexcept {
  of_->given_up_ = true;
  cancel_scope(of_->inner_scope(), effective_record(*task()->current));
  return false;
}

void starting::child_left(group_core& self, node& task) noexcept {
  auto& at = static_cast<starting&>(self);
  awaiter& starter = *at.waiting_;
  if (at.given_up_ && task.result->how() != ending::failed) {
    starter.complete_cancelled();
  } else {
    starter.complete();
  }
}

void starting::hand_over() noexcept {
  if (given_up_ || live() == 0) return;
  into_->take_over(*inner_scope().first_child->owner);
  handed_over_ = true;
  waiting_->complete();
}

void starting::ended_as(const outcome_base& end, outcome<unit>& how) const {
  const scope& outside = *this_runtime->current->current;
  switch (end.how()) {
    case ending::failed: how.set_failed(end.failed_with().take_record()); return;
    case ending::cancelled:
      if (outside.effective()) {
        how.set_cancelled(effective_record(outside).shared());
        return;
      }
      throw child_cancelled(
          "group::start: the task was " + describe(end.cancelled_by()) + " before it was ready", opened_at());
    case ending::value:
    case ending::pending: break;
  }
  throw misuse_error("group::start: the task ended without having called started() on its task_status",
                     opened_at());
}

void throw_misuse_started(std::source_location where) {
  throw misuse_error("task_status::started was called a second time, or after the task had ended", where);
}

}  // namespace belay::detail
