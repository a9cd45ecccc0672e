// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app remembers of itself for those who look: requests under way, and what the loop noticed.

#include <belay/core/diagnostic.hpp>
#include <belay/core/time.hpp>
#include <belay/http/server.hpp>
#include <belay/http/status.hpp>
#include <belay/http/trace_context.hpp>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::service {

class requests_under_way;
class request_metrics;

/// One request as long as its handler runs, and counted when it has. Lives in the frame of the dispatcher.
class request_under_way {
 public:
  request_under_way(requests_under_way& all, const http::exchange& of, const http::trace_id& trace) noexcept;
  request_under_way(const request_under_way&) = delete;
  request_under_way& operator=(const request_under_way&) = delete;
  ~request_under_way();

  /// The pattern of its route, which outlives it.
  void set_route(std::string_view pattern) noexcept { route_ = pattern; }
  /// Of its answer. Without one it is counted as a request that got none.
  void set_status(http::status to) noexcept { status_ = to; }

  [[nodiscard]] const http::exchange& exchange() const noexcept { return *of_; }
  [[nodiscard]] const http::trace_id& trace() const noexcept { return *trace_; }
  [[nodiscard]] const request_under_way* next() const noexcept { return next_; }

 private:
  requests_under_way* all_;
  const http::exchange* of_;
  const http::trace_id* trace_;
  std::string_view route_;
  std::optional<http::status> status_;
  request_under_way* previous_ = nullptr;
  request_under_way* next_ = nullptr;
};

/// All of them, the oldest first.
class requests_under_way {
 public:
  explicit requests_under_way(request_metrics& counted_by) noexcept : counted_by_(&counted_by) {}
  [[nodiscard]] const request_under_way* first() const noexcept { return first_; }

 private:
  friend request_under_way;
  request_metrics* counted_by_;
  request_under_way* first_ = nullptr;
  request_under_way* last_ = nullptr;
};

/// What the runtime noticed, which it tells on several threads: how often, and the latest.
class diagnostics_seen {
 public:
  struct one {
    std::chrono::system_clock::time_point when{};
    std::string text{};
  };
  static constexpr std::size_t kinds = static_cast<std::size_t>(diagnostic_kind::lease_held) + 1;
  static constexpr std::size_t most_kept = 20;

  void note(const diagnostic& what);
  [[nodiscard]] std::array<std::uint64_t, kinds> counts() const;
  [[nodiscard]] std::vector<one> latest() const;

 private:
  mutable std::mutex mutex_;
  std::array<std::uint64_t, kinds> counts_{};  // guarded by mutex_
  std::deque<one> latest_;                     // guarded by mutex_
};

}  // namespace belay::service
