// SPDX-License-Identifier: Apache-2.0
#pragma once
// Metrics as they were at one moment: a value that can be handed to another thread, added up, and written as text.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace belay::telemetry {

enum class metric_type : unsigned char { counter, gauge, histogram };
/// "counter", "gauge", "histogram".
[[nodiscard]] std::string_view to_string(metric_type of) noexcept;

/// One series of a metric.
struct metric_sample {
  /// One for each of the metric's label names.
  std::vector<std::string> label_values{};
  double value = 0;  ///< of a counter or gauge
  std::vector<std::uint64_t>
      buckets{};   ///< of a histogram: how many fell into each, the one without an upper bound last
  double sum = 0;  ///< of a histogram: of all that was observed
};

/// One metric with all its series.
struct metric {
  std::string name{};
  std::string help{};
  metric_type type = metric_type::counter;
  std::vector<std::string> label_names{};
  std::vector<double>
      bounds{};  ///< of a histogram: the upper bounds, rising; a value that equals one is below it
  std::vector<metric_sample> samples{};
};

/// By name.
using metrics_snapshot = std::vector<metric>;

/// One of several loops: series with the same labels are added up, gauges, too.
/// Errors: `misuse_error` when a name stands for different metrics.
[[nodiscard]] metrics_snapshot merge(std::vector<metrics_snapshot> of);

/// The text format 0.0.4 of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).
[[nodiscard]] std::string to_prometheus(const metrics_snapshot& from);
/// OpenMetrics 1.0.0 (https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md).
[[nodiscard]] std::string to_openmetrics(const metrics_snapshot& from);

enum class metrics_format : unsigned char { prometheus, openmetrics };
/// What a reader with this `Accept` field wants most of what there is; `prometheus` when it does not say, or wants neither.
[[nodiscard]] metrics_format choose_metrics_format(std::string_view accept) noexcept;
/// For `Content-Type`.
[[nodiscard]] std::string_view media_type_of(metrics_format format) noexcept;

}  // namespace belay::telemetry
