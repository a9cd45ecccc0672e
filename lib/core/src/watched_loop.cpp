// SPDX-License-Identifier: Apache-2.0
// The loop's other way to run: in a seeded order, and with a driver that is told of every turn. Kept apart, so that the
// usual way is not slowed by it.

#include <belay/core/detail/remote_call.hpp>
#include <belay/core/detail/watch.hpp>
#include <belay/core/signals.hpp>

#include "loop_state.hpp"

namespace belay {

detail::node* loop::state::take_ready() noexcept {
  if (rt.ready_head == nullptr) return nullptr;
  std::size_t skip = 0;
  if (order && rt.ready_head->next_ready != nullptr) {
    std::size_t ready = 0;
    for (const detail::node* walk = rt.ready_head; walk != nullptr; walk = walk->next_ready) ++ready;
    skip = order->below(ready);
  }
  detail::node* before = nullptr;
  detail::node* taken = rt.ready_head;
  for (; skip != 0; --skip) {
    before = taken;
    taken = taken->next_ready;
  }
  (before != nullptr ? before->next_ready : rt.ready_head) = taken->next_ready;
  if (rt.ready_tail == taken) rt.ready_tail = before;
  return taken;
}

// How fast threads are must not change what the tasks do: each turn sees the calls finished that were begun before it. Those that
// take longer (they may wait for what a task does later) are not waited for again.
void loop::state::await_threads() {
  constexpr auto patience = std::chrono::seconds(2);
  if (work_outside() < slow_jobs) slow_jobs = work_outside();
  const time_point since = steady_clock().now();
  while (work_outside() > slow_jobs) {
    const duration left = patience - (steady_clock().now() - since);
    if (left <= duration::zero()) {
      slow_jobs = work_outside();
      return;
    }
    if (inbox.fall_asleep()) {
      if (dog != nullptr) dog->rests();
      waits->wait(left);
      if (dog != nullptr) dog->wakes();
    }
    inbox.awake();
    collect_signals();
    inbox.run();
  }
}

void loop::state::send_held_calls() noexcept {
  while (!held_calls.empty()) {
    detail::call_wait& first = *held_calls.front();
    held_calls.erase(held_calls.begin());
    first.send_held();
  }
}

void loop::state::run_watched(detail::node& main_node) {
  constexpr unsigned tasks_between_looks = 256;
  unsigned since_look = 0;
  const auto tell_begin = [this](const auto& what) {
    if (dog != nullptr) dog->begins(what);
  };
  while (main_node.state != detail::node_state::ended && !abandoned) {
    if (rt.watcher != nullptr && rt.watcher->gives_up()) {
      abandoned = true;
      return;
    }
    await_threads();
    if (inbox.has_items()) {
      tell_begin(detail::watchdog::in_posted);
      inbox.run();
    }
    if (detail::node* task = take_ready()) {
      tell_begin(*task);
      // A call is begun after the turn that made it, so that a driver that cancels it there always finds it not begun.
      if (rt.watcher != nullptr) {
        pool().hold();
        rt.watcher->before_turn(*task);
      }
      detail::run_node(rt, *task);
      if (rt.watcher != nullptr) {
        rt.watcher->after_turn();
        if (threads->jobs() != 0) threads->let_go();
        send_held_calls();
      }
      if (++since_look < tasks_between_looks) continue;
      since_look = 0;
      tell_begin(detail::watchdog::in_timers);
      if (has_dates()) fire_timers();
      tell_begin(detail::watchdog::in_reactor);
      waits->wait(duration::zero());
      if (signals != nullptr) signals->collect();
      continue;
    }
    since_look = 0;
    tell_begin(detail::watchdog::in_timers);
    if (has_dates()) fire_timers();
    if (rt.ready_head == nullptr && !inbox.has_items()) wait_for_work();
  }
}

}  // namespace belay
