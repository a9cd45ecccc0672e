// SPDX-License-Identifier: Apache-2.0
// Closing a stack of resources.

#include <belay/core/exit_stack.hpp>

#include <cstdio>
#include <cstdlib>

namespace belay {

namespace detail {

managed<unit> deferred(task_function<task<>(exit_status)> cleanup) {
  exit_status how = co_yield unit();
  co_await cleanup(std::move(how));
}

task<void> close_all(exit_stack& stack, outcome_base& how, const std::function<void()>& drop_value,
                     std::source_location where) {
  while (stack.top_ != nullptr) {
    resource_frame& resource = *stack.top_;
    stack.top_ = resource.next_cleanup;
    --stack.size_;
    cleanup_scope shield(where);
    shield.arm();
    outcome<void> closed = co_await close_awaiter(resource, exit_status::of(how), shield);
    shield.disarm();
    merge_cleanup(how, closed, shield, drop_value);
  }
}

}  // namespace detail

exit_stack::~exit_stack() {
  if (entering_ != 0) {
    std::fputs(
        "belay: an exit_stack was closed while another task waits in its enter(); that task must end before\n",
        stderr);
    std::abort();
  }
  if (top_ == nullptr) return;
  std::fputs(
      "belay: an exit_stack was destroyed with open resources; use it through with_exit_stack, or move_to one that is\n",
      stderr);
  std::abort();
}

task<bool> exit_stack::close_one(const void* handed_out, std::source_location where) {
  detail::resource_frame** link = &top_;
  while (*link != nullptr && (*link)->handed_out != handed_out) link = &(*link)->next_cleanup;
  if (*link == nullptr) co_return false;
  detail::resource_frame& resource = **link;
  *link = resource.next_cleanup;
  --size_;
  detail::cleanup_scope shield(where);
  shield.arm();
  outcome<void> closed = co_await detail::close_awaiter(resource, exit_status(), shield);
  shield.disarm();
  if (closed.succeeded()) co_return true;
  outcome<void> how;
  detail::merge_cleanup(how, closed, shield, [] {});
  co_await detail::end_with(how);
  __builtin_unreachable();
}

void exit_stack::push(detail::resource_frame& resource) noexcept {
  resource.next_cleanup = top_;
  top_ = &resource;
  ++size_;
}

void exit_stack::push_deferred(task_function<task<>(exit_status)> cleanup) {
  static_cast<void>(detail::require_runtime("exit_stack::defer"));
  managed<unit> made = detail::deferred(std::move(cleanup));
  detail::resource_frame& resource = made.release();
  // It hands itself out at once, so it can be opened here, without an await.
  static thread_local outcome<unit&> handed_out;
  resource.result = &handed_out;
  resource.state = detail::progress::nested;
  resource.handle.resume();
  push(resource);
}

void exit_stack::move_to(exit_stack& to) noexcept {
  if (top_ == nullptr || &to == this) return;
  detail::resource_frame* oldest = top_;
  while (oldest->next_cleanup != nullptr) oldest = oldest->next_cleanup;
  oldest->next_cleanup = to.top_;
  to.top_ = std::exchange(top_, nullptr);
  to.size_ += std::exchange(size_, 0);
}

}  // namespace belay
