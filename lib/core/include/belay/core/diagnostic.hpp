// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the runtime noticed that is no error of the program's result: a blocked loop, a dropped task, a slow cleanup, an ignored
// cancellation, a connection that is not given back.

#include <belay/core/time.hpp>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace belay {

enum class diagnostic_kind : unsigned char {
  loop_blocked,    ///< a task, a timer or a posted function keeps the loop from going round
  task_dropped,    ///< a task was destroyed that was never awaited or spawned: its body did not run
  cleanup_slow,    ///< a cleanup has used up half of its limit, and is not done
  cancel_ignored,  ///< what was asked to stop has not ended
  lease_held,      ///< somebody has a connection of a pool for very long
};
/// "loop_blocked", ...
[[nodiscard]] std::string_view to_string(diagnostic_kind kind) noexcept;

/// One observation. The program goes on, and its result is the same with and without it.
struct diagnostic {
  diagnostic_kind kind{};
  /// What was told before has ended; `lasted` is how long it took. (Never for `task_dropped`.)
  bool over = false;
  std::string message;  ///< one sentence with everything below in it
  std::string task;     ///< the task it is about, by its name or its function; empty when it is none
  std::source_location spawned_at;           ///< that task; line 0: the main task, or none
  std::vector<std::source_location> places;  ///< where, innermost first: it resumed, it waits, it was made
  duration lasted{};                         ///< up to now
};

/// For people: the message, and a line for each further place.
[[nodiscard]] std::string describe(const diagnostic& what);
/// A JSON object with the fields of `diagnostic`; times in nanoseconds.
[[nodiscard]] std::string to_json(const diagnostic& what);

/// Gets every diagnostic. What it throws is answered by a line on stderr; the program goes on.
///
/// Thread: the loop's; for `loop_blocked`, which is told while the loop is blocked, that of the watchdog. So it must not touch what
///         tasks use without a lock.
using diagnostic_sink = std::function<void(const diagnostic& what)>;

namespace detail {

// Hands it to `sink`; an empty one writes a line to stderr.
void tell(const diagnostic_sink& sink, const diagnostic& what) noexcept;
// Hands it to the sink of this thread's loop; stderr where there is none.
void tell(const diagnostic& what) noexcept;

}  // namespace detail
}  // namespace belay
