// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tasks that other threads have in a loop.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/remote_call.hpp>

namespace belay::detail {

// A group beside the main task of a run. Each of its tasks has an owner elsewhere, who gets what it ends with.
class visitors final : public group_core {
 public:
  visitors() noexcept : group_core(&visitor_left) {}

  void open(scope& under, std::source_location where) noexcept;
  // The thread of the loop. Refused, or without memory: the call is answered with that.
  void let_in(remote_call& call) noexcept;
  // A call that was let in has had its last word.
  void gone() noexcept { let_go(); }
  // No more are let in; those that are here go below another task.
  void refuse_more() noexcept { open_ = false; }
  void move_under(scope& other) noexcept;
  // The loop goes, and its tasks do not end: whoever waits for one that it asked to stop is told.
  void leave() noexcept;
  void cancel_all() noexcept { request_cancel(cancel_reason::shutdown, opened_at()); }

 private:
  struct visitor : child_node<void> {
    remote_call* call = nullptr;
  };
  static void visitor_left(group_core& self, node& task) noexcept;

  scope* under_ = nullptr;
  bool attached_ = false;
  bool open_ = false;
};

}  // namespace belay::detail
