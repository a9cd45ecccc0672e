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

  std::string reason;             ///< "SIGTERM", "SIGINT"
  std::vector<step> steps;        ///< in the order in which they stopped
  std::vector<std::string> overran;  ///< the names of what did not stop within its bound
  bool forced = false;            ///< a second SIGINT cut it short
  bool failed = false;            ///< a step failed while closing

  void add(std::string name, duration took, std::string trouble = {});
  [[nodiscard]] bool clean() const noexcept { return overran.empty() && !failed && !forced; }
  /// One record, `shutdown_report`.
  void write_to(const telemetry::logger& log) const;
};

}  // namespace belay::service
