// SPDX-License-Identifier: Apache-2.0
// Places and words of awaits.

#include "await_point.hpp"

#include <string_view>

namespace belay::testing {

namespace {

// Frames of with_timeout, with_group ... stand between the user's frames.
bool in_library(const std::source_location& where) noexcept {
  const std::string_view file = where.file_name();
  if (file.find("include/belay/") != std::string_view::npos) return true;
  constexpr std::string_view here = __FILE__;
  constexpr std::string_view library =
      here.substr(0, here.size() - std::string_view("testing/src/await_point.cpp").size());
  return file.starts_with(library) && file.find("/src/", library.size()) != std::string_view::npos;
}

// While a task runs, its leaf is the frame where it waited last, which may be gone.
bool rests(const detail::node& task) noexcept {
  return task.leaf != nullptr && task.state != detail::node_state::running &&
         task.state != detail::node_state::ended;
}

}  // namespace

std::vector<std::source_location> stack_of(const detail::frame& innermost, const detail::node& task,
                                           const detail::scope& outermost) {
  std::vector<std::source_location> stack;
  const auto add = [&stack](const std::source_location& place) {
    if (place.line() != 0) stack.push_back(place);
  };
  const detail::node* in = &task;
  const detail::frame* walk = &innermost;
  while (in != nullptr) {
    for (; walk != nullptr; walk = walk->parent) {
      // The driver that closes resources awaits on behalf of the frame that is ending.
      if (!walk->closes_parent) add(walk->site);
    }
    add(in->spawned_at());
    if (&in->base == &outermost || in->base.parent == nullptr) break;
    in = in->base.parent->owner;
    if (in == nullptr || !rests(*in) || &in->base == outermost.parent) break;
    walk = in->leaf;
    if (stack.size() > 64) break;
  }
  return stack;
}

std::source_location users_place(const std::vector<std::source_location>& stack) {
  for (const std::source_location& place : stack) {
    if (!in_library(place)) return place;
  }
  return stack.empty() ? std::source_location() : stack.front();
}

bool in_cleanup(const detail::scope& here) noexcept {
  for (const detail::scope* walk = &here; walk != nullptr; walk = walk->parent) {
    if (walk->for_cleanup) return true;
  }
  return false;
}

detail::deadline_scope* limit_around(detail::scope& here, std::size_t inside) noexcept {
  for (detail::scope* walk = &here; walk != nullptr && walk->watched(); walk = walk->parent) {
    if (walk->has_deadline && !walk->for_cleanup && inside-- == 0) {
      return static_cast<detail::deadline_scope*>(walk);
    }
    if (walk->shielded) break;
  }
  return nullptr;
}

bool same_place(const std::source_location& a, const std::source_location& b) noexcept {
  return a.line() == b.line() && a.column() == b.column() && std::string_view(a.file_name()) == b.file_name();
}

std::string to_text(const await_point& point) { return to_text(awaited{point.what, point.name.c_str()}); }

std::vector<std::string> waiting_tasks(const detail::scope& root) {
  std::vector<std::string> all;
  const detail::scope* walk = &root;
  while (walk != nullptr) {
    const detail::node* task = walk->owner;
    if (task != nullptr && &task->base == walk && rests(*task)) {
      const auto stack = stack_of(*task->leaf, *task, *walk);
      std::string text =
          task->waits() ? "a task waits for " + to_text(task->waits_for->waits_for()) : "a task is ready";
      text += " at " + place_text(users_place(stack));
      if (task->state == detail::node_state::aborting)
        text += ", which was asked to stop and has not answered";
      if (task->spawned_at().line() != 0) text += ", spawned at " + place_text(task->spawned_at());
      all.push_back(std::move(text));
    }
    if (walk->first_child != nullptr) {
      walk = walk->first_child;
      continue;
    }
    while (walk != &root && walk->next == nullptr) walk = walk->parent;
    walk = walk == &root ? nullptr : walk->next;
  }
  return all;
}

}  // namespace belay::testing
