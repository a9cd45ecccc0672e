// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app counts about its requests.

#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <belay/http/server.hpp>
#include <belay/telemetry/metrics.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace belay::service {

class request_metrics {
 public:
  explicit request_metrics(telemetry::metrics& into);

  /// One that reached its handler. `route` lives as long as this: a pattern of the route table. Without an answer, there is no status.
  /// Never throws: what cannot be counted for want of memory is not.
  void note(std::string_view route, http::method verb, std::optional<http::status> how,
            duration took) noexcept;
  /// What became of its answer.
  void note_delivery(http::delivery how) noexcept;
  /// One that was answered by its head: no such route, another media type.
  void note_early(http::method verb, http::status how);
  /// What was no request, or one that did not come in whole.
  void note_refused(http::status how);

 private:
  // Each route, method and status has its series, which is found by their names once.
  struct series_key {
    const char* route;
    http::method verb;
    std::uint16_t status;  // 0: none
    friend bool operator==(const series_key&, const series_key&) = default;
  };
  struct series_hash {
    std::size_t operator()(const series_key& of) const noexcept {
      return std::hash<const void*>()(of.route) ^
             (static_cast<std::size_t>(of.verb) << 16 | of.status) * 0x9e3779b97f4a7c15;
    }
  };
  struct series {
    telemetry::counter* requests;
    telemetry::histogram* took;
  };

  [[nodiscard]] series find(std::string_view route, http::method verb, std::optional<http::status> how);
  void count(std::string_view route, std::string_view verb, http::status how);

  telemetry::metric_family<telemetry::counter>* requests_;
  telemetry::metric_family<telemetry::counter>* undelivered_;
  telemetry::metric_family<telemetry::histogram>* took_;
  std::unordered_map<series_key, series, series_hash> known_;
};

}  // namespace belay::service
