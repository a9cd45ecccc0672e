// SPDX-License-Identifier: Apache-2.0
#pragma once
// What all tasks are doing just now. Always there, in release builds too.

#include <belay/core/time.hpp>
#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace belay {

enum class task_state : unsigned char {
  not_begun,
  ready,     ///< its turn comes
  running,   ///< it is the one that asks
  waiting,   ///< for an operation
  joining,   ///< for its own tasks to end
  stopping,  ///< its operation was asked to stop, and has not answered yet
};
[[nodiscard]] std::string_view to_string(task_state state) noexcept;

/// One live task.
struct task_info {
  /// What it was `named`; otherwise its `function`.
  std::string name;
  /// The function of its outermost coroutine: "serve(listener &)". Empty for the running task.
  std::string function;
  task_state state = task_state::not_begun;
  std::string waits_for;  ///< "semaphore 'pool'", "a timer"; empty when it does not wait
  duration waiting{};     ///< for how long; correct to some milliseconds, begins anew after 52 days
  std::vector<std::source_location> stack;  ///< where it waits: one place for each frame, innermost first
  std::size_t stack_left_out = 0;           ///< outer frames beyond the 256 that `stack` holds at the most
  std::source_location spawned_at;
  /// The earliest limit around it; `time_point::max()` without one.
  time_point deadline = time_point::max();
  std::string cancelled_by;  ///< who asked it to stop; empty when nobody did
  std::size_t depth = 0;     ///< 0: the main task; its tasks have 1, theirs 2 ...
};

/// The live tasks of the running loop, each before those that it owns. Empty outside of one.
/// `belay::run` and `app::run` print them on SIGUSR1. Thread: the loop's.
[[nodiscard]] std::vector<task_info> live_tasks();

/// For people: one line for a task, and one for each frame where it waits. However much there is, it stays below 1 MB; what is left out,
/// of the frames of a task or of the tasks, is counted.
[[nodiscard]] std::string describe(const std::vector<task_info>& tasks);
/// A JSON array, one object for a task, with the fields of `task_info`; times in nanoseconds, from now.
[[nodiscard]] std::string to_json(const std::vector<task_info>& tasks);

}  // namespace belay
