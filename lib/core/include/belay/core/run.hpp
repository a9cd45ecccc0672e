// SPDX-License-Identifier: Apache-2.0
#pragma once
// The outermost call of a program: loop, signals, exit code.

#include <belay/core/loop.hpp>
#include <belay/core/task.hpp>
#include <source_location>

namespace belay {

struct run_options {
  loop_options loop = {};
  /// SIGINT and SIGTERM cancel the main task; a second SIGINT bounds the cleanup by `force_after`, a third ends the
  /// process at once. Repeated SIGTERM does not force. SIGUSR1 prints the live tasks (`live_tasks`) to stderr.
  /// False: signals are left alone.
  bool signals = true;
  /// After a second SIGINT: how long until the live tasks are printed and the process is ended with 128 + SIGINT, whatever hangs.
  duration force_after = std::chrono::seconds(2);
};

/// Runs the main task of a program: `int main() { return belay::run(serve()); }`
///
/// Result:        what the task returns (0 for void). An error is described on stderr (message, async trace, attached), and
///                gives 1. Ended by a signal: 128 + its number, after all cleanup.
/// Thread:        the calling one; it must not run a loop already (`misuse_error`).
int run(task<int> main, run_options options = {},
        std::source_location where = std::source_location::current());
int run(task<> main, run_options options = {}, std::source_location where = std::source_location::current());

}  // namespace belay
