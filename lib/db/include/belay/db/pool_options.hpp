// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a pool of connections behaves, and what it tells about itself.

#include <belay/core/group_options.hpp>
#include <belay/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

namespace belay::db {

/// Durations of `duration::max()` mean: never.
struct pool_options {
  std::string name = "pool";  ///< in errors and reports
  std::size_t min = 0;        ///< connections that are kept open, also without work
  std::size_t max = 10;       ///< the most connections, those being opened and closed included
  /// How long `acquire` waits. Zero: it takes what is there, or fails.
  duration acquire_timeout = std::chrono::seconds(5);
  std::size_t max_waiting = no_limit;  ///< the most who may wait at the same time
  /// How old a connection may get; then it is replaced, when nobody uses it.
  duration max_lifetime = std::chrono::minutes(30);
  /// Each connection's life is shorter by up to this part (0 to 1), at random, so that not all end together.
  double lifetime_jitter = 0.1;
  duration idle_timeout = std::chrono::minutes(10);  ///< beyond `min`, what was idle so long is closed
  /// What was idle so long is checked before it is handed out. Zero: always. A check that overruns `check_limit` ends the others, too, that
  /// were idle as long: after a silent loss of all, a new connection is sooner there.
  duration check_after = std::chrono::seconds(30);
  duration open_limit = std::chrono::seconds(10);
  duration check_limit = std::chrono::seconds(5);
  duration reset_limit = std::chrono::seconds(5);
  duration close_limit = std::chrono::seconds(5);
  /// The pause after an opening that failed: doubled each time, up to `longest_pause`; half of it is random.
  duration first_pause = std::chrono::milliseconds(100);
  duration longest_pause = std::chrono::seconds(10);
  /// A connection held for so long is told of, once, as a diagnostic (`lease_held`).
  duration leak_after = std::chrono::minutes(1);
  /// How long the closing waits for leases. Zero: nine tenths of the time that the cleanup has.
  duration drain_limit = duration::zero();
};

struct pool_statistics {
  std::size_t in_use = 0;   ///< somebody has them
  std::size_t idle = 0;     ///< open and free
  std::size_t opening = 0;  ///< being opened
  std::size_t tending = 0;  ///< being checked, reset or closed
  std::size_t waiting = 0;  ///< tasks in line
  // Since the start:
  std::uint64_t acquired = 0;
  std::uint64_t opened = 0;
  std::uint64_t closed = 0;
  std::uint64_t replaced = 0;  ///< ... of these, because they were broken, or failed a check or a reset
  std::uint64_t expired = 0;   ///< ... of these, because they were older than `max_lifetime`
  std::uint64_t failed_openings = 0;  ///< attempts to open one
  std::uint64_t timeouts = 0;         ///< `acquire` that gave up after `acquire_timeout`
  std::uint64_t leaks = 0;            ///< leases that were held longer than `leak_after`
  duration longest_wait{};            ///< of those who got one

  /// All connections: open, being opened, being closed.
  [[nodiscard]] std::size_t total() const noexcept { return in_use + idle + opening + tending; }
};

/// One lease.
struct pool_holder {
  std::string
      task;  ///< "task 'purge'"; without a name, where it was spawned; "the main task"; "code outside of tasks"
  std::source_location taken_at;    ///< the call of `acquire`
  std::source_location spawned_at;  ///< its task; line 0: not known, or the main task
  duration held{};                  ///< for how long
};

/// "task 'purge' for 12 s, taken at purge.cpp:41".
[[nodiscard]] std::string describe(const pool_holder& who);

}  // namespace belay::db
