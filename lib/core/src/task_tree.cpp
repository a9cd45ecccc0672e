// SPDX-License-Identifier: Apache-2.0
// The tree of scopes, read as a list of tasks.

#include <belay/core/cancel.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/operation.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_tree.hpp>

#include <algorithm>

#include "loop_state.hpp"

namespace belay {

std::string to_text(const awaited& what) {
  std::string text = what.what;
  if (*what.name != '\0') text += std::string(" '") + what.name + "'";
  return text;
}

std::string_view to_string(task_state state) noexcept {
  switch (state) {
    case task_state::not_begun: return "not begun";
    case task_state::ready: return "ready";
    case task_state::running: return "running";
    case task_state::waiting: return "waiting";
    case task_state::joining: return "joining";
    case task_state::stopping: return "stopping";
  }
  return "unknown";
}

namespace {

using detail::node;
using detail::node_state;
using detail::scope;

task_state state_of(const node& task) noexcept {
  switch (task.state) {
    case node_state::fresh: return task_state::not_begun;
    case node_state::ready:
    case node_state::to_unwind: return task_state::ready;
    case node_state::waiting: return task_state::waiting;
    case node_state::joining: return task_state::joining;
    case node_state::aborting: return task_state::stopping;
    case node_state::running:
    case node_state::ended: break;
  }
  return task_state::running;
}

constexpr std::size_t most_frames =
    256;  // of a task that is told of; a runaway recursion must not fill the memory
constexpr std::size_t most_frames_in_text = 40;
constexpr std::size_t most_levels_in_text = 40;
constexpr std::size_t most_text = 1000u * 1000u;

bool is_of(const detail::frame& which, std::string_view function) noexcept {
  return std::string_view(which.site.function_name()).find(function) != std::string_view::npos;
}
bool carries_locals(const detail::frame& outermost) noexcept { return is_of(outermost, "with_bindings"); }
// What a task of another loop's consists of, around the function that it is.
bool carries_call(const detail::frame& outer) noexcept {
  return is_of(outer, "kept_remote_call") || is_of(outer, "detail::main_of_loop");
}

task_info full_info(const node& task, std::size_t depth, std::uint32_t coarse_now) {
  task_info info;
  info.state = state_of(task);
  info.depth = depth;
  info.spawned_at = task.spawned_at();
  if (info.state != task_state::running) {
    const detail::frame* outermost = nullptr;
    for (const detail::frame* walk = task.leaf; walk != nullptr; walk = walk->parent) {
      // A frame that only carries the values of task_locals is not what the task is.
      const bool carries = walk->parent == nullptr && outermost != nullptr && task.current != &task.base &&
                           carries_locals(*walk);
      if (carries || (outermost != nullptr && carries_call(*walk))) break;
      outermost = walk;
      if (info.state == task_state::not_begun || walk->closes_parent) continue;
      if (info.stack.size() < most_frames) {
        info.stack.push_back(walk->site);
      } else {
        ++info.stack_left_out;
      }
    }
    const bool unknown = info.state == task_state::not_begun && outermost != nullptr &&
                         (carries_locals(*outermost) || carries_call(*outermost));
    if (outermost != nullptr && !unknown) {
      info.function = detail::function_text(outermost->site.function_name());
    }
  }
  info.name = detail::name_text(task);
  if (info.name.empty()) info.name = info.function;
  if (task.waits()) {
    info.waits_for = to_text(task.waits_for->waits_for());
    info.waiting =
        duration(static_cast<duration::rep>(static_cast<std::uint32_t>(coarse_now - task.waits_since)) << 20);
  }
  for (const scope* walk = task.current; walk != nullptr; walk = walk->parent) {
    if (walk->has_deadline) {
      info.deadline = std::min(info.deadline, static_cast<const detail::deadline_scope*>(walk)->deadline());
    }
    if (walk->shielded) break;
  }
  if (task.cancel_pending()) info.cancelled_by = describe(detail::effective_record(*task.current));
  return info;
}

// Children are linked newest first; people want them in the order of their spawning.
void add_below(const scope& here, std::size_t depth, std::uint32_t coarse_now, std::vector<task_info>& out) {
  std::vector<std::pair<const scope*, std::size_t>> to_visit{{&here, depth}};
  while (!to_visit.empty()) {
    const auto [walk, level] = to_visit.back();
    to_visit.pop_back();
    std::size_t below = level;
    if (walk->owner != nullptr && &walk->owner->base == walk) {
      out.push_back(full_info(*walk->owner, level, coarse_now));
      ++below;
    }
    for (const scope* child = walk->first_child; child != nullptr; child = child->next) {
      to_visit.emplace_back(child, below);
    }
  }
}

std::string indent(const task_info& one, std::size_t more) {
  return std::string(std::min(one.depth, most_levels_in_text) * 2 + more, ' ');
}

std::string first_words(const task_info& one) {
  std::string text = indent(one, 0);
  if (one.depth > most_levels_in_text) text += "(level " + std::to_string(one.depth) + ") ";
  text += one.name.empty() ? "(" + std::string(to_string(one.state)) + ")" : one.name;
  if (!one.function.empty() && one.function != one.name) text += " = " + one.function;
  if (one.spawned_at.line() != 0) text += ", spawned at " + detail::place_text(one.spawned_at);
  if (!one.waits_for.empty()) {
    text += one.state == task_state::stopping ? ": was asked to stop, still waits for " : ": waits for ";
    text += one.waits_for + " since " + detail::length_text(one.waiting);
  } else if (!one.name.empty()) {
    text += ": " + std::string(to_string(one.state));
  }
  if (one.deadline != time_point::max()) text += ", limit in " + detail::length_text(one.deadline - now());
  if (!one.cancelled_by.empty()) text += ", " + one.cancelled_by;
  return text;
}

}  // namespace

namespace detail {

std::string name_text(const task_label& label) {
  if (label.text == nullptr) return {};
  std::string text(label.text);
  if (label.number != task_label::no_number) text += " " + std::to_string(label.number);
  return text;
}

task_info info_of(const node& task) { return full_info(task, 0, this_runtime->coarse_now); }

}  // namespace detail

std::vector<task_info> live_tasks() {
  std::vector<task_info> all;
  detail::runtime* rt = detail::this_runtime;
  if (rt == nullptr) return all;
  const node* root = rt->loop->internals().root;
  if (root != nullptr) add_below(root->base, 0, detail::coarse_time(rt->time->now()), all);
  return all;
}

std::string describe(const std::vector<task_info>& tasks) {
  std::string text;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const task_info& one = tasks[i];
    std::string lines = first_words(one) + "\n";
    const std::size_t shown = std::min(one.stack.size(), most_frames_in_text);
    for (std::size_t at = 0; at < shown; ++at)
      lines += indent(one, 4) + "at " + detail::frame_text(one.stack[at]) + "\n";
    if (const std::size_t more = one.stack.size() - shown + one.stack_left_out; more != 0)
      lines +=
          indent(one, 4) + "and " + std::to_string(more) + (more == 1 ? " outer frame\n" : " outer frames\n");
    if (text.size() + lines.size() > most_text) {
      const std::size_t left = tasks.size() - i;
      return text + "and " + std::to_string(left) + (left == 1 ? " more task\n" : " more tasks\n");
    }
    text += lines;
  }
  return text;
}

std::string to_json(const std::vector<task_info>& tasks) {
  std::string text = "[";
  for (const task_info& one : tasks) {
    if (text.size() > 1) text += ",";
    text += "{\"name\":" + detail::json_string(one.name) +
            ",\"function\":" + detail::json_string(one.function) +
            ",\"state\":" + detail::json_string(to_string(one.state)) +
            ",\"waits_for\":" + detail::json_string(one.waits_for) +
            ",\"waiting_ns\":" + std::to_string(one.waiting.count());
    text += ",\"stack\":[";
    for (std::size_t i = 0; i < one.stack.size(); ++i)
      text += (i == 0 ? "" : ",") + detail::place_json(one.stack[i]);
    text += "],\"stack_left_out\":" + std::to_string(one.stack_left_out);
    text += ",\"spawned_at\":" +
            (one.spawned_at.line() != 0 ? detail::place_json(one.spawned_at) : std::string("null"));
    text += ",\"deadline_ns\":" + (one.deadline != time_point::max()
                                       ? std::to_string((one.deadline - now()).count())
                                       : std::string("null"));
    text += ",\"cancelled_by\":" +
            (one.cancelled_by.empty() ? std::string("null") : detail::json_string(one.cancelled_by));
    text += ",\"depth\":" + std::to_string(one.depth) + "}";
  }
  return text + "]";
}

}  // namespace belay
