// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps log lines in memory, for tests and for showing the latest ones.

#include <belay/telemetry/sink.hpp>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace belay::telemetry {

/// Keeps the last `capacity` lines.
class memory_sink final : public sink {
 public:
  explicit memory_sink(std::size_t capacity = 100'000) : capacity_(capacity) {}

  void write(level importance, std::string_view text) override;
  bool flush(duration limit) override;

  [[nodiscard]] std::vector<std::string> lines() const;
  /// How often somebody asked for a flush.
  [[nodiscard]] std::size_t flushes() const;
  void clear();

 private:
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<std::string> lines_;  // guarded by mutex_
  std::size_t flushes_ = 0;        // guarded by mutex_
};

}  // namespace belay::telemetry
