// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the telemetry tests share: a logger into memory with a fixed clock, and records read back as JSON.

#include <belay/telemetry/logger.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <boost/json.hpp>
#include <memory>
#include <string>

namespace telemetry_test {

struct fixture {
  explicit fixture(belay::telemetry::logger_options options = {})
      : sink(std::make_shared<belay::telemetry::memory_sink>()), log(sink, with_clock(std::move(options))) {}

  // The only record, read back; fails the test when there is not exactly one or when it is no JSON object.
  [[nodiscard]] boost::json::object record() const { return boost::json::parse(line()).as_object(); }
  [[nodiscard]] std::string line() const {
    const auto lines = sink->lines();
    if (lines.size() != 1)
      throw std::runtime_error("expected one record, got " + std::to_string(lines.size()));
    return lines.front();
  }

  std::shared_ptr<belay::telemetry::memory_sink> sink;
  belay::telemetry::logger log;

 private:
  static belay::telemetry::logger_options with_clock(belay::telemetry::logger_options options) {
    if (!options.wall_clock) {
      options.wall_clock = [] {
        return std::chrono::system_clock::time_point(std::chrono::microseconds(1'795'235'667'000'042));
      };
    }
    return options;
  }
};

}  // namespace telemetry_test
