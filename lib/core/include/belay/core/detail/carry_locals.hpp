// SPDX-License-Identifier: Apache-2.0
#pragma once
// A task inherits from its spawner, which may be another one than the owner of the group.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/locals.hpp>
#include <belay/core/task.hpp>
#include <utility>

namespace belay::detail {

template <class T>
task<T> with_bindings(ref<binding> all, task<T> op) {
  local_scope inside(std::move(all));
  outcome<T> how = co_await intercept_in(inside, std::move(op));
  if (!how.succeeded()) {
    refresh_cancellation(how);
    co_await end_with(how);
  }
  if constexpr (std::is_void_v<T>) {
    co_return;
  } else {
    co_return how.get_forward();
  }
}

template <class T>
[[gnu::noinline]] void carry_present_locals(const scope& owner, task<T>& work) {
  binding* mine = current_bindings();
  if (mine != bindings_of(owner)) work = with_bindings(ref<binding>::share(mine), std::move(work));
}

// Gives `work`, which is to be a task below `owner`, the values of the running task.
template <class T>
void carry_locals(const scope& owner, task<T>& work) {
  if (any_locals.load(std::memory_order_relaxed)) [[unlikely]]
    carry_present_locals(owner, work);
}

}  // namespace belay::detail
