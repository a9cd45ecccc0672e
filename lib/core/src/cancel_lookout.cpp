// SPDX-License-Identifier: Apache-2.0
// Who was asked to stop, and what keeps it.

#include "cancel_lookout.hpp"

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/task_tree.hpp>
#include <algorithm>
#include <cstdio>
#include <new>

#include "loop_state.hpp"

namespace belay::detail {

namespace {

// Later times are larger, across the wrap-around after 52 days.
duration time_between(std::uint32_t from, std::uint32_t to) noexcept {
  return duration(static_cast<duration::rep>(static_cast<std::uint32_t>(to - from)) << 20);
}

// Between two looks at the same.
duration pause(duration limit) noexcept {
  return std::max<duration>(limit / 2, std::chrono::milliseconds(1));
}

// The next scope of the subtree of `top`, in preorder; null at the end.
const scope* after(const scope* walk, const scope& top, bool descend) noexcept {
  if (descend && walk->first_child != nullptr) return walk->first_child;
  while (walk != &top && walk->next == nullptr) walk = walk->parent;
  return walk == &top ? nullptr : walk->next;
}

// What keeps a task that is in `inside` from ending; the innermost shield below `top`, if that is it.
const scope* shield_between(const scope& inside, const scope& top) noexcept {
  const scope* found = nullptr;
  for (const scope* walk = &inside; walk != &top; walk = walk->parent) {
    if (walk->shielded && !walk->requested) found = walk;
  }
  return found;
}

// The tasks under `top` that keep it. One that waits for its own tasks is kept by them; a cleanup has its own limit, and its own report.
std::vector<const node*> who_keeps(const scope& top) {
  std::vector<const node*> found;
  const node* joins = nullptr;
  for (const scope* walk = &top; walk != nullptr; walk = after(walk, top, true)) {
    if (walk->owner == nullptr || walk->owner->current != walk) continue;
    const node& task = *walk->owner;
    const scope* shield = shield_between(*walk, top);
    if (shield != nullptr && shield->for_cleanup) continue;
    if (task.state == node_state::joining) {
      if (shield == nullptr) joins = &task;
      continue;
    }
    found.push_back(&task);
  }
  if (found.empty() && joins != nullptr && top.first_child == nullptr) found.push_back(joins);
  return found;
}

std::string why(const node& task, const scope& top) {
  const std::string waits = task.waits() ? to_text(task.waits_for->waits_for()) : std::string();
  if (const scope* shield = shield_between(*task.current, top); shield != nullptr) {
    std::string text = "is in a shielded section";
    if (shield->has_deadline)
      text += ", set at " + place_text(static_cast<const deadline_scope*>(shield)->where());
    return waits.empty() ? text : text + ", and waits for " + waits;
  }
  if (task.state == node_state::aborting)
    return "waits for " + waits + ", which was asked to stop and has not answered";
  return waits.empty() ? "has not come to wait" : "waits for " + waits;
}

}  // namespace

bool cancel_lookout::known(const cancel_record& asked) noexcept {
  for (late& one : late_) {
    if (one.asked.shared().get() == asked.shared().get()) return one.still_there = true;
  }
  return false;
}

void cancel_lookout::look(loop::state& of, time_point now) noexcept {
  of.rt.coarse_now = coarse_time(now);
  of.rt.look_due = runtime::no_look;
  for (late& one : late_) one.still_there = false;
  time_point next = time_point::max();
  try {
    walk(of, of.rt.coarse_now, next);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: tasks that were asked to stop have not ended\n", stderr);
  }
  for (late& one : late_) {
    if (!one.still_there) tell_over(of, one);
  }
  std::erase_if(late_, [](const late& one) { return !one.still_there; });
  if (!late_.empty()) next = std::min(next, saturating_add(now, pause(of.options.ignored_cancel_limit)));
  if (next != time_point::max()) of.rt.look_due = static_cast<std::uint64_t>(next.time_since_epoch().count());
}

void cancel_lookout::walk(loop::state& of, std::uint32_t now, time_point& next) {
  const duration limit = of.options.ignored_cancel_limit;
  const scope& top = of.root->base;
  bool descend = true;
  for (const scope* at = &top; at != nullptr; at = after(at, top, descend)) {
    descend = true;
    if (!at->requested || !at->record) continue;
    const duration age = time_between(at->record.shared()->asked_at, now);
    if (age < limit) {
      // A coarse time may be short by its unit.
      next = std::min(next, saturating_add(of.rt.time->now(), limit - age + std::chrono::milliseconds(2)));
      continue;
    }
    if (known(at->record)) {
      descend = false;
      continue;
    }
    const std::vector<const node*> who = who_keeps(*at);
    if (who.empty()) {
      next = std::min(next, saturating_add(of.rt.time->now(), pause(limit)));
      continue;
    }
    descend = false;  // requests within it are answered for by this one
    tell_late(of, *at, who, age);
  }
}

void cancel_lookout::tell_late(loop::state& of, const scope& asked, const std::vector<const node*>& who,
                               duration age) {
  const node& first = *who.front();
  late one;
  one.asked = asked.record;
  diagnostic& told = one.told;
  told.kind = diagnostic_kind::cancel_ignored;
  told.lasted = age;
  const task_info info = info_of(first);
  told.task = info.name;
  told.spawned_at = info.spawned_at;
  told.places = info.stack;
  told.message = (told.task.empty() ? "a task" : "task '" + told.task + "'");
  if (told.spawned_at.line() != 0) told.message += " (spawned at " + place_text(told.spawned_at) + ")";
  told.message += " was " + describe(asked.record) + ", " + length_text(age) +
                  " ago, and has not ended: it " + why(first, asked);
  if (!told.places.empty()) told.message += " at " + place_text(told.places.front());
  if (who.size() > 1)
    told.message +=
        "; and " + std::to_string(who.size() - 1) + (who.size() == 2 ? " more task" : " more tasks");
  late_.push_back(std::move(one));
  tell(of.options.on_diagnostic, late_.back().told);
}

void cancel_lookout::tell_over(loop::state& of, late& one) noexcept {
  try {
    one.told.over = true;
    one.told.lasted = time_between(one.asked.shared()->asked_at, coarse_time(of.rt.time->now()));
    const std::string who = one.told.task.empty() ? "a task" : "task '" + one.told.task + "'";
    one.told.message =
        who + ", which was " + describe(one.asked) + ", has ended after " + length_text(one.told.lasted);
    one.told.places.clear();
    tell(of.options.on_diagnostic, one.told);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: a task that was asked to stop has ended late\n", stderr);
  }
}

void cancel_lookout::end(loop::state& of) noexcept {
  for (late& one : late_) tell_over(of, one);
  late_.clear();
  if (of.rt.look_due != runtime::never_look) of.rt.look_due = runtime::no_look;
}

}  // namespace belay::detail
