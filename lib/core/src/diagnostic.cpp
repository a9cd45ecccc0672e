// SPDX-License-Identifier: Apache-2.0
// Diagnostics as text and JSON, and their way to the sink; tasks that were dropped.

#include <belay/core/detail/place.hpp>
#include <belay/core/diagnostic.hpp>

#include <cstdio>
#include <exception>
#include <utility>

#include "loop_state.hpp"

namespace belay {

std::string_view to_string(diagnostic_kind kind) noexcept {
  switch (kind) {
    case diagnostic_kind::loop_blocked: return "loop_blocked";
    case diagnostic_kind::task_dropped: return "task_dropped";
    case diagnostic_kind::cleanup_slow: return "cleanup_slow";
    case diagnostic_kind::cancel_ignored: return "cancel_ignored";
    case diagnostic_kind::lease_held: return "lease_held";
  }
  return "unknown";
}

std::string describe(const diagnostic& what) {
  std::string text = what.message;
  // The first place stands in the message.
  for (std::size_t i = 1; i < what.places.size(); ++i)
    text += "\n    at " + detail::frame_text(what.places[i]);
  return text;
}

std::string to_json(const diagnostic& what) {
  std::string text =
      "{\"kind\":" + detail::json_string(to_string(what.kind)) +
      ",\"over\":" + (what.over ? "true" : "false") + ",\"message\":" + detail::json_string(what.message) +
      ",\"task\":" + (what.task.empty() ? "null" : detail::json_string(what.task)) +
      ",\"spawned_at\":" + (what.spawned_at.line() != 0 ? detail::place_json(what.spawned_at) : "null") +
      ",\"places\":[";
  for (std::size_t i = 0; i < what.places.size(); ++i)
    text += (i == 0 ? "" : ",") + detail::place_json(what.places[i]);
  return text + "],\"lasted_ns\":" + std::to_string(what.lasted.count()) + "}";
}

namespace detail {

void tell(const diagnostic_sink& sink, const diagnostic& what) noexcept {
  try {
    if (sink) return sink(what);
    std::fputs(("belay: " + describe(what) + "\n").c_str(), stderr);
  } catch (...) {
    // The last resort: the sink itself failed. Not swallowed: said where it can still be seen.
    std::fputs("belay: the diagnostic sink threw an exception\n", stderr);
  }
}

void tell(const diagnostic& what) noexcept {
  static const diagnostic_sink none;
  belay::loop* here = belay::loop::current();
  tell(here != nullptr ? here->internals().options.on_diagnostic : none, what);
}

namespace {

// The same as `runtime::tearing_down`, outside of a loop.
thread_local unsigned tearing_down_here = 0;

unsigned& tearing_down() noexcept {
  return this_runtime != nullptr ? this_runtime->tearing_down : tearing_down_here;
}

void tell_dropped(const frame& dropped) noexcept {
  try {
    diagnostic what;
    what.kind = diagnostic_kind::task_dropped;
    what.message = "a task of " + function_text(dropped.site.function_name()) + " (" +
                   place_text(dropped.site) +
                   ") was dropped: it was never awaited or spawned, and nothing of it ran";
    what.places.push_back(dropped.site);
    if (const runtime* rt = this_runtime; rt != nullptr && rt->current != nullptr) {
      what.task = name_text(*rt->current);
      what.spawned_at = rt->current->spawned_at();
      if (!what.task.empty()) what.message += "; it was task '" + what.task + "' that dropped it";
      if (what.spawned_at.line() != 0) {
        what.message += what.task.empty() ? "; the task that dropped it was spawned at " : ", spawned at ";
        what.message += place_text(what.spawned_at);
      }
    }
    tell(what);
  } catch (const std::bad_alloc&) {
    std::fputs("belay: a task was dropped that was never awaited or spawned\n", stderr);
  }
}

}  // namespace

void drop_unstarted(frame& dropped) noexcept {
  if (tearing_down() == 0 && std::uncaught_exceptions() == 0) tell_dropped(dropped);
  destroy_quietly(dropped);
}

namespace {

// Tasks that were given to tasks that were given to tasks: each is destroyed in the midst of the one that it was given to, as arguments
// are, but so deep only. What lies deeper is put off until the outermost one has gone.
constexpr unsigned deepest = 64;
constinit thread_local unsigned depth = 0;
constinit thread_local frame* put_off = nullptr;  // linked by `parent`, which such frames do not have

void destroy_nested(frame& gone) noexcept {
  if (depth == deepest) {
    gone.parent = put_off;
    put_off = &gone;
    return;
  }
  ++depth;
  gone.handle.destroy();
  if (depth == 1) {
    while (put_off != nullptr) std::exchange(put_off, put_off->parent)->handle.destroy();
  }
  --depth;
}

}  // namespace

void destroy_quietly(frame& cut_short) noexcept {
  ++tearing_down();  // tasks that were given to it have the same fate
  destroy_nested(cut_short);
  --tearing_down();
}

void destroy_unopened(frame& dropped) noexcept { destroy_nested(dropped); }

}  // namespace detail
}  // namespace belay
