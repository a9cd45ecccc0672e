// SPDX-License-Identifier: Apache-2.0
// The two text formats, to the byte, and which of them a reader gets.

#include <doctest/doctest.h>

#include <belay/telemetry/metrics.hpp>

#include <cmath>
#include <limits>

using namespace belay::telemetry;

TEST_CASE("to_prometheus: help, type and samples, by name and label, to the byte") {
  metrics all;
  all.counters("requests_total", "Requests, by \"route\".\nAnd \\ more.", {"route", "status"})
      .at({"/a\\b\"c\nd", "200"})
      .add(3);
  all.gauge("queued", "Waiting.").set(-2.5);
  auto& took = all.histograms("took_seconds", "Time.", {"route"}, {0.25, 1});
  took.at({"/"}).observe(0.1);
  took.at({"/"}).observe(0.5);
  took.at({"/"}).observe(2);
  CHECK(to_prometheus(all.snapshot()) == R"(# HELP queued Waiting.
# TYPE queued gauge
queued -2.5
# HELP requests_total Requests, by "route".\nAnd \\ more.
# TYPE requests_total counter
requests_total{route="/a\\b\"c\nd",status="200"} 3
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{route="/",le="0.25"} 1
took_seconds_bucket{route="/",le="1"} 2
took_seconds_bucket{route="/",le="+Inf"} 3
took_seconds_sum{route="/"} 2.6
took_seconds_count{route="/"} 3
)");
}

TEST_CASE("to_openmetrics: families without _total, real bounds, an end") {
  metrics all;
  all.counter("requests_total", "The \"requests\".").add(3);
  all.histogram("took_seconds", "Time.", {0.25, 1}).observe(0.5);
  CHECK(to_openmetrics(all.snapshot()) == R"(# HELP requests The \"requests\".
# TYPE requests counter
requests_total 3
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{le="0.25"} 0
took_seconds_bucket{le="1.0"} 1
took_seconds_bucket{le="+Inf"} 1
took_seconds_sum 0.5
took_seconds_count 1
# EOF
)");
}

TEST_CASE("text: numbers that are none, are not finite, or are very large or small") {
  const auto text = [](double value) {
    metrics all;
    all.gauge("x", "X.").set(value);
    const std::string page = to_prometheus(all.snapshot());
    return page.substr(page.rfind(' ') + 1);
  };
  CHECK(text(std::nan("")) == "NaN\n");
  CHECK(text(std::numeric_limits<double>::infinity()) == "+Inf\n");
  CHECK(text(-std::numeric_limits<double>::infinity()) == "-Inf\n");
  CHECK(text(9007199254740991.0) == "9007199254740991\n");
  CHECK(text(1e300) == "1e+300\n");
  CHECK(text(0.1) == "0.1\n");
  CHECK(text(-0.0) == "0\n");
}

TEST_CASE("text: a metric without series has its help and type, and nothing at all is an empty page") {
  metrics all;
  CHECK(to_prometheus(all.snapshot()).empty());
  CHECK(to_openmetrics(all.snapshot()) == "# EOF\n");
  all.counters("x_total", "X.", {"a"});
  CHECK(to_prometheus(all.snapshot()) == "# HELP x_total X.\n# TYPE x_total counter\n");
}

TEST_CASE("choose_metrics_format: what the reader wants most, Prometheus when in doubt") {
  const auto open = [](std::string_view accept) {
    return choose_metrics_format(accept) == metrics_format::openmetrics;
  };
  CHECK(
      open("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
           "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
  CHECK(open("Application/OpenMetrics-Text"));
  CHECK(open("text/plain;q=0.5, application/openmetrics-text ; q=0.5"));
  CHECK_FALSE(open(""));
  CHECK_FALSE(open("*/*"));
  CHECK_FALSE(open("text/plain, application/openmetrics-text;q=0.9"));
  CHECK_FALSE(open("application/openmetrics-text;q=0"));
  CHECK_FALSE(open("application/openmetrics-text;q=2"));
  CHECK_FALSE(open("application/openmetrics-text;q="));
  CHECK_FALSE(open(",;,;;q=1,application/openmetrics-texts"));
  CHECK(media_type_of(metrics_format::prometheus) == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(media_type_of(metrics_format::openmetrics) ==
        "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
