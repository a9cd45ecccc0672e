// SPDX-License-Identifier: Apache-2.0
#pragma once
// What stopped when, and what did not stop in time: as a record of the log, and as text for people.

#include <belay/core/time.hpp>
#include <belay/telemetry/logger.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::service {

/// How a program ended. It is filled in by the `app`; what stopped is a row, in the order in which it stopped:
///
///     accounts: shutdown (SIGTERM) NOT clean, 10.035 s
///       phase       what               began    took      limit
///       requests    listen             0 ms     0 ms      -
///       requests    requests           0 ms     35 ms     10 s
///       background  background tasks   35 ms    0 ms      9.965 s
///       steps       cache              35 ms    10 s      10 s      did not close within 10 s, and was cancelled
///       steps       database           10.035 s 0 ms      10 s
///       overran: cache
///       lost failures: 1
struct shutdown_report {
  struct step {
    std::string name;
    duration took{};
    std::string trouble{};             ///< empty: it stopped cleanly
    std::string_view phase = "steps";  ///< "requests", "background", "workers" or "steps"; a literal
    std::optional<duration> limit{};   ///< its budget; none: it takes no time
    duration began{};                  ///< after the begin of the shutdown; set by `add`
  };

  std::string program;      ///< in the text
  std::string reason;       ///< "SIGTERM", "SIGINT", "failed start", "failure", or what `app::stop` was given
  std::vector<step> steps;  ///< in the order in which they stopped
  std::vector<std::string>
      overran;  ///< the names of what did not stop within its bound, and of abandoned calls that still run
  std::vector<std::string>
      cancelled;  ///< what was cancelled instead of finishing: "2 requests", "background task mail"
  std::size_t abandoned_calls = 0;    ///< calls on threads that were abandoned, and still run
  std::uint64_t lost_failures = 0;    ///< failures of the whole run that nobody looked at
  bool forced = false;                ///< a second SIGINT cut it short
  bool failed = false;                ///< a step failed while closing
  std::vector<std::string> open;      ///< lifespan steps that have not been closed, in the order of opening
  std::optional<time_point> begun{};  ///< when the shutdown began
  duration took{};                    ///< until the last row was added

  /// The clock of the report starts. Later calls do nothing.
  void begin(time_point at) noexcept;
  /// Something has stopped, at `ended`.
  void add(step what, time_point ended);
  /// The process ends now: what is still open overran.
  void give_up();

  [[nodiscard]] bool clean() const noexcept { return overran.empty() && !failed && !forced; }
  /// As above, at most about 40 lines: of many rows, those with trouble and the slowest are kept.
  [[nodiscard]] std::string text() const;
  /// One record, `shutdown_report`: info when it was clean, error otherwise.
  void write_to(const telemetry::logger& log) const;
};

}  // namespace belay::service
