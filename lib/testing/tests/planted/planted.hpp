// SPDX-License-Identifier: Apache-2.0
#pragma once
// A planted bug: what it is, its mended twin, and what the drivers have to say about it.

#include <belay/core/event.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include <source_location>
#include <span>
#include <string>

namespace planted {

namespace b = belay;
using namespace std::chrono_literals;
using b::task;
using b::testing::run_end;
using b::testing::stage;
namespace rules = b::testing::rules;

enum class driver { cancel, fail, explore };

// Where in the source the report has to point to.
enum class found {
  at_mark,      // the nearest `// <- found here` above the bug's definition
  undisturbed,  // nowhere: it happens in a run without an injection
  never_again,  // nowhere, and it cannot be replayed
};

struct bug {
  const char* name;
  const char* looks;  // how it comes about, in a few words, for the table
  task<> (*broken)(stage&);
  task<> (*mended)(stage&);      // the same part, written right: passes both drivers
  driver with = driver::cancel;  // the one that finds it
  const char* rule;              // the promise that is broken
  const char* names = "";        // words that the finding has to contain: what was left, lost or waited for
  found where = found::at_mark;
  bool failures_must_surface = false;
  bool fail_in_cleanup = true;
  std::source_location here = std::source_location::current();
};

// Runs the driver over the bug, replays what it found, and runs both drivers over the mended twin.
void check(const bug& one);

// All of them, in the order of the README.
[[nodiscard]] std::span<const bug* const> lost_items();
[[nodiscard]] std::span<const bug* const> permits();
[[nodiscard]] std::span<const bug* const> cleanups();
[[nodiscard]] std::span<const bug* const> errors();
[[nodiscard]] std::span<const bug* const> operations();
[[nodiscard]] std::span<const bug* const> states();
[[nodiscard]] std::span<const bug* const> coordination();
[[nodiscard]] std::span<const bug* const> scenarios();

}  // namespace planted
