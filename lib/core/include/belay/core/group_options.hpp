// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a group does about failures, and how many tasks it may have.

#include <cstddef>

namespace belay {

enum class group_policy : unsigned char {
  /// The first failure cancels the other tasks and the body, and comes out of the group with the others attached.
  fail_fast,
  /// A failed task does not touch the others, nor the group: the error is for whoever awaits its handle, and otherwise for the failure
  /// sink, once. (An error of the body does cancel the tasks, and comes out.)
  supervise,
  /// Nothing cancels anything. When all have ended, the first error that nobody looked at through a handle comes out of the group, the
  /// others of that kind attached.
  settle,
};

inline constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

/// For `with_group(group_options, body)`.
struct group_options {
  /// In cancel records and reports: "group 'dashboard'". A literal; empty: none.
  const char* name = "";
  group_policy policy = group_policy::fail_fast;
  /// The most tasks at the same time, from 1. `spawn` throws when there are that many; `try_spawn` says no; `spawn_when_free` and
  /// `start` wait for room.
  std::size_t most_live = no_limit;
};

}  // namespace belay
