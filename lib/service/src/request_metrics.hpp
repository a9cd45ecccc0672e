// SPDX-License-Identifier: Apache-2.0
#pragma once
// What an app counts about its requests.

#include <belay/core/time.hpp>
#include <belay/http/message.hpp>
#include <belay/http/server.hpp>
#include <belay/telemetry/metrics.hpp>
#include <optional>
#include <string_view>

namespace belay::service {

class request_metrics {
 public:
  explicit request_metrics(telemetry::metrics& into);

  /// One that reached its handler. Without an answer, there is no status. Never throws: what cannot be counted for want of memory is not.
  void note(std::string_view route, http::method verb, std::optional<http::status> how,
            duration took) noexcept;
  /// What became of its answer.
  void note_delivery(http::delivery how) noexcept;
  /// One that was answered by its head: no such route, another media type.
  void note_early(http::method verb, http::status how);
  /// What was no request, or one that did not come in whole.
  void note_refused(http::status how);

 private:
  void count(std::string_view route, std::string_view verb, http::status how);

  telemetry::metric_family<telemetry::counter>* requests_;
  telemetry::metric_family<telemetry::counter>* undelivered_;
  telemetry::metric_family<telemetry::histogram>* took_;
};

}  // namespace belay::service
