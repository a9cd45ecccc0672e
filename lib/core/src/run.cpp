// SPDX-License-Identifier: Apache-2.0
// belay::run: signals and exit codes around a loop.

#include <belay/core/child.hpp>
#include <belay/core/detail/patient_output.hpp>
#include <belay/core/group.hpp>
#include <belay/core/run.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task_tree.hpp>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace belay {

namespace {

// What a signal does to the program: its scope is cancelled, and the exit code remembers why.
struct program_scope {
  detail::scope scope;
  int ended_by = 0;

  void end(int signal) noexcept {
    if (!scope.requested) ended_by = signal;
    detail::cancel_scope(scope,
                         cancel_record::make(cancel_reason::shutdown, signal == SIGINT ? "SIGINT" : "SIGTERM",
                                             std::source_location::current()));
  }
};

// After a second SIGINT the end comes, whatever hangs.
task<> end_process_after(duration limit) {
  co_await sleep_for(limit);
  const std::string text =
      "belay: cleanup did not end in time after the second SIGINT; leaving at once. The tasks that are left:\n" +
      describe(live_tasks());
  std::fputs(text.c_str(), stderr);
  ::_exit(128 + SIGINT);
}

task<> watch_signals(signal_watch& signals, program_scope& program, duration force_after, group& watchers) {
  child<void> printing;
  for (int interrupts = 0;;) {
    const int number = co_await signals.next();
    if (number == SIGUSR1) {
      if (printing.done())
        printing = watchers.spawn(detail::write_patiently, "belay: tasks\n" + describe(live_tasks()));
      continue;
    }
    program.end(number);
    if (number != SIGINT) continue;
    ++interrupts;
    if (interrupts == 2) watchers.spawn(end_process_after, force_after);
    if (interrupts > 2) ::_exit(128 + SIGINT);
  }
}

int report(const failure& what) {
  const std::string text = "error: " + describe(what) + "\n";
  std::fputs(text.c_str(), stderr);
  return 1;
}

task<int> run_program(task<int> main, program_scope& program) {
  outcome<int> how = co_await detail::intercept_in(program.scope, std::move(main));
  if (how.succeeded()) co_return how.take();
  if (how.failed()) co_return report(how.failure());
  if (program.ended_by == 0) co_await detail::end_with(how);  // from outside: a deadlock
  co_return 128 + program.ended_by;
}

task<int> run_watched(task<int> main, duration force_after) {
  program_scope program;
  signal_watch signals{SIGINT, SIGTERM, SIGUSR1};  // in place before the program's first line
  co_return co_await with_group([&](group& watchers) -> task<int> {
    watchers.spawn(watch_signals, std::ref(signals), std::ref(program), force_after, std::ref(watchers));
    const int code = co_await run_program(std::move(main), program);
    watchers.cancel(cancel_reason::shutdown);
    co_return code;
  });
}

task<int> with_exit_code(task<> main) {
  co_await or_fail(std::move(main));
  co_return 0;
}

}  // namespace

int run(task<int> main, run_options options, std::source_location where) {
  if (!options.loop.blocked_limit) options.loop.blocked_limit = default_blocked_limit;
  loop own(std::move(options.loop));
  try {
    if (options.signals) return own.run(run_watched(std::move(main), options.force_after), where);
    program_scope never_ended;
    return own.run(run_program(std::move(main), never_ended), where);
  } catch (const misuse_error&) {
    throw;
  } catch (const std::exception&) {
    return report(current_failure());
  }
}

int run(task<> main, run_options options, std::source_location where) {
  return run(with_exit_code(std::move(main)), std::move(options), where);
}

}  // namespace belay
