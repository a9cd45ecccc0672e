// SPDX-License-Identifier: Apache-2.0
#pragma once
// What stopped when, and what did not stop in time.

#include <belay/core/time.hpp>
#include <belay/telemetry/logger.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace belay::service {

struct shutdown_report {
  struct step {
    std::string name;
    duration took{};
    std::string trouble;  ///< empty: it stopped cleanly
  };

  std::string reason;       ///< "SIGTERM", "SIGINT", "failed start", "failure", or what `app::stop` was given
  std::vector<step> steps;  ///< in the order in which they stopped
  std::vector<std::string>
      overran;  ///< the names of what did not stop within its bound, and of abandoned calls that still run
  bool forced = false;            ///< a second SIGINT cut it short
  bool failed = false;            ///< a step failed while closing
  std::vector<std::string> open;  ///< lifespan steps that have not been closed, in the order of opening

  /// The process ends now: what is still open overran.
  void give_up();
  void add(std::string name, duration took, std::string trouble = {});
  [[nodiscard]] bool clean() const noexcept { return overran.empty() && !failed && !forced; }
  /// One record, `shutdown_report`: info when it was clean, error otherwise.
  void write_to(const telemetry::logger& log) const;
};

}  // namespace belay::service
