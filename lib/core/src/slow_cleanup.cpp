// SPDX-License-Identifier: Apache-2.0
// Cleanups that take long: told while they hang, and when they have ended.

#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/diagnostic.hpp>
#include <belay/core/operation.hpp>
#include <belay/core/sleep.hpp>
#include <cstdio>
#include <new>

#include "loop_state.hpp"

namespace belay::detail {

void cleanup_scope::arm() noexcept {
  deadline_scope::arm();
  if (!linked()) return;  // no limit
  runtime& rt = *this_runtime;
  began_ = deadline() - limit();
  rt.timers->remove(*this);
  due = static_cast<std::uint64_t>((began_ + limit() / 2).time_since_epoch().count());
  fire = &cleanup_scope::half_used;
  rt.timers->insert(*this);
}

void cleanup_scope::half_used(timer_node& timer) noexcept {
  auto& self = static_cast<cleanup_scope&>(timer);
  self.due = static_cast<std::uint64_t>(self.deadline().time_since_epoch().count());
  self.fire = &deadline_scope::fired;
  this_runtime->timers->insert(self);
  self.tell_slow();
}

void cleanup_scope::tell_slow() noexcept {
  told_ = true;
  try {
    diagnostic what;
    what.kind = diagnostic_kind::cleanup_slow;
    what.lasted = belay::now() - began_;
    what.message = "the cleanup of " + place_text(where()) + " takes long: " + length_text(what.lasted) +
                   " by now, and it may take " + length_text(limit());
    if (owner != nullptr) {
      const task_info info = info_of(*owner);
      what.task = info.name;
      what.spawned_at = info.spawned_at;
      what.places = info.stack;
      if (!what.task.empty()) what.message += "; task '" + what.task + "'";
      if (!info.waits_for.empty()) what.message += " waits for " + info.waits_for;
      if (!what.places.empty()) what.message += " at " + place_text(what.places.front());
    }
    detail::tell(what);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: a cleanup takes long\n", stderr);
  }
}

void cleanup_scope::tell_end(const outcome_base& how) noexcept {
  told_ = false;
  try {
    diagnostic what;
    what.kind = diagnostic_kind::cleanup_slow;
    what.over = true;
    what.lasted = belay::now() - began_;
    what.places.push_back(where());
    what.message = "the cleanup of " + place_text(where()) + " has ended after " + length_text(what.lasted);
    if (requested) what.message += ", over its limit of " + length_text(limit());
    switch (how.how()) {
      case ending::failed: what.message += ", with an error: " + how.failed_with().message(); break;
      case ending::cancelled: what.message += ", cut short"; break;
      case ending::value: what.message += ", completely"; break;
      case ending::pending: break;
    }
    if (owner != nullptr) {
      what.task = name_text(*owner);
      what.spawned_at = owner->spawned_at();
    }
    detail::tell(what);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: a cleanup has ended late\n", stderr);
  }
}

}  // namespace belay::detail
