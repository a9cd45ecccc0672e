// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a supervisor does when a worker ends, and what it tells of it.

#include <belay/core/error.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/time.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

namespace belay {

/// Is a worker that ended started again?
enum class restart_policy : unsigned char {
  permanent,  ///< always
  transient,  ///< only when it failed; one that ended with its value has done its work, until it goes with others that are restarted
  temporary,  ///< never; its failure is told, and the others go on
};

/// Who else is started again with a worker that is? All but temporary ones; a transient one that had ended with its value, too: what it
/// did may be what the others need.
enum class restart_strategy : unsigned char {
  one_for_one,   ///< nobody
  one_for_all,   ///< all: they depend on each other. Stopped last first, started in order
  rest_for_one,  ///< those that were added after it: they depend on it
};

/// The name of a worker, with the place that gave it.
struct worker_name {
  template <std::convertible_to<std::string> S>
  worker_name(S&& name,  // NOLINT(google-explicit-constructor)
              std::source_location here = std::source_location::current())
      : text(std::forward<S>(name)), where(here) {}
  std::string text;
  std::source_location where;
};

struct worker_options {
  /// In events and errors; not empty.
  std::string name = {};
  restart_policy restart = restart_policy::permanent;
  /// How long its end is waited for before the next one is stopped, more than zero. (Not for ever less than the loop's `cleanup_limit`: a
  /// cleanup has that long.) One that overruns is told, and still waited for at the end: no task is left behind.
  duration stop_limit = std::chrono::seconds(15);
  /// Where it was added, for errors and the task tree: here, unless you say otherwise.
  std::source_location where = std::source_location::current();
};

/// What a supervisor tells, as it happens.
struct worker_event {
  enum class happening : unsigned char {
    restarted,  ///< it ended, and is started again after `delay`
    given_up,  ///< it failed and is not started again: a temporary one, or the supervisor has been told to stop
    failed_in_stop,  ///< it failed while it was being stopped because of another one, or at the same time as that one
    overran,  ///< it has not stopped within its `stop_limit`; `why` is a `timeout_error`
  };
  happening what = happening::restarted;
  std::string supervisor;  ///< the path of names: "app / workers"
  std::size_t level = 1;   ///< of supervision: 1, below another supervisor 2, ...
  std::string worker;
  belay::failure why;        ///< none when it ended with its value
  std::size_t restarts = 0;  ///< of the supervisor within its window, with this one
  duration delay{};
};

/// For `supervisor`. Values out of range: `misuse_error`.
struct supervisor_options {
  std::string name = "supervisor";
  restart_strategy strategy = restart_strategy::one_for_one;
  /// The supervisor gives up at the next end of a worker after so many restarts within `window`. Zero: at the first.
  std::size_t most_restarts = 5;
  /// More than zero.
  duration window = std::chrono::minutes(1);
  /// A restart waits for a random time up to this; up to twice that the second time within `window`, four times the third. Zero: at
  /// once.
  duration first_delay = std::chrono::milliseconds(100);
  /// ... but never longer; not less than `first_delay`.
  duration longest_delay = std::chrono::seconds(10);
  /// Gets every event, and with it the failure, which then counts as handled. Empty: each failure goes to the failure sink, with a note that
  /// says what became of the worker. What it throws goes to the sink, attached to the failure that it did not handle.
  std::function<void(const worker_event&)> on_event = {};
};

enum class worker_state : unsigned char {
  idle,      ///< not started yet, or the supervisor does not run
  starting,  ///< has not said yet that it is ready
  running,
  waiting,   ///< for its restart
  finished,  ///< ended, and not to be started again by itself
};

struct worker_statistics {
  std::string name;
  worker_state state = worker_state::idle;
  std::uint64_t restarts = 0;  ///< since the supervisor was made
};

struct supervisor_statistics {
  std::vector<worker_statistics> workers;  ///< in the order in which they were added
  std::uint64_t restarts = 0;              ///< since it was made
  std::size_t restarts_in_window = 0;      ///< up to now, while it runs
  std::size_t level = 0;                   ///< 0: it does not run
  /// How often a worker may be restarted before all supervisors around it have given up, each within its window: the product.
  std::size_t restarts_of_all_levels = 0;
};

/// A worker of a supervisor ended with its value more often than it may be restarted. (Where it failed, its own error comes out instead.)
class restart_limit_error : public error {
 public:
  explicit restart_limit_error(std::string message,
                               std::source_location where = std::source_location::current())
      : error(error_kind::unavailable, "restart_limit", std::move(message), where) {}
};

}  // namespace belay
