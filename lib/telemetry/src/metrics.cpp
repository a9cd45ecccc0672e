// SPDX-License-Identifier: Apache-2.0
// Metrics in memory.

#include <belay/telemetry/metrics.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "text.hpp"

namespace belay::telemetry {

namespace {

constexpr std::string_view total = "_total";
constexpr std::size_t longest_label_value = 256;

bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

bool is_name(std::string_view text, bool colons) noexcept {
  if (text.empty() || is_digit(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [colons](char c) { return is_letter(c) || is_digit(c) || (colons && c == ':'); });
}

[[noreturn]] void refuse(const metric& what, const std::string& why) {
  throw misuse_error("metrics: '" + what.name + "': " + why);
}

// Two metrics must differ in this: text formats add to it.
std::string base_of(const metric& what) {
  return what.type == metric_type::counter ? what.name.substr(0, what.name.size() - total.size()) : what.name;
}

// All that a text format makes of its name, so none of it may be made by another one.
std::vector<std::string> names_of(const metric& what) {
  std::vector<std::string> all{what.name};
  if (what.type == metric_type::counter) all.push_back(base_of(what));
  if (what.type == metric_type::histogram) {
    for (const char* part : {"_bucket", "_sum", "_count"}) all.push_back(what.name + part);
  }
  return all;
}

void check(const metric& what) {
  if (!is_name(what.name, true)) refuse(what, "a name is made of letters, digits, _ and :, no digit first");
  if (what.type == metric_type::counter &&
      (!what.name.ends_with(total) || what.name.size() == total.size())) {
    refuse(what, "the name of a counter ends in _total");
  }
  if (what.help.empty()) refuse(what, "needs a help text");
  std::set<std::string_view> seen;
  for (const std::string& label : what.label_names) {
    if (!is_name(label, false) || label.starts_with("__")) {
      refuse(what,
             "the label '" + label + "' is not made of letters, digits and _, or begins with a digit or __");
    }
    if (what.type == metric_type::histogram && label == "le")
      refuse(what, "the label le is the histogram's own");
    if (!seen.insert(label).second) refuse(what, "the label '" + label + "' is there twice");
  }
  for (std::size_t i = 0; i != what.bounds.size(); ++i) {
    if (!std::isfinite(what.bounds[i]) || (i != 0 && what.bounds[i] <= what.bounds[i - 1])) {
      refuse(what, "the bounds must be finite and rise");
    }
  }
}

bool is_same(const metric& one, const metric& other) {
  return one.type == other.type && one.name == other.name && one.label_names == other.label_names &&
         one.bounds == other.bounds;
}

}  // namespace

std::string_view to_string(metric_type of) noexcept {
  switch (of) {
    case metric_type::counter: return "counter";
    case metric_type::gauge: return "gauge";
    case metric_type::histogram: break;
  }
  return "histogram";
}

std::vector<double> default_seconds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}

void counter::add(double by) {
  if (!(by >= 0)) throw misuse_error("counter::add: " + std::to_string(by) + "; a counter only rises");
  value_ += by;
}

histogram::histogram(std::shared_ptr<const std::vector<double>> bounds)
    : bounds_(std::move(bounds)), buckets_(bounds_->size() + 1) {}

void histogram::observe(double value) {
  if (std::isnan(value)) throw misuse_error("histogram::observe: NaN");
  const auto at = std::lower_bound(bounds_->begin(), bounds_->end(), value);
  ++buckets_[static_cast<std::size_t>(at - bounds_->begin())];
  sum_ += value;
}

std::uint64_t histogram::count() const noexcept {
  std::uint64_t all = 0;
  for (const std::uint64_t one : buckets_) all += one;
  return all;
}

void histogram::read_into(metric_sample& into) const {
  into.buckets = buckets_;
  into.sum = sum_;
}

namespace detail {

void family_base::require_count(std::size_t given) const {
  if (given == about_.label_names.size()) return;
  throw misuse_error("metrics: '" + about_.name + "' has " + std::to_string(about_.label_names.size()) +
                     " labels, and was given " + std::to_string(given) + " values");
}

std::string_view family_base::key_of(std::span<const std::string_view> values) {
  key_.clear();
  for (const std::string_view one : values) {
    const std::string_view kept = one.substr(0, longest_label_value);
    char size[8];
    key_.append(size, std::to_chars(size, size + sizeof size, kept.size()).ptr);
    key_ += ':';
    key_ += kept;
  }
  return key_;
}

std::vector<std::string> family_base::values_of(std::span<const std::string_view> values) {
  std::vector<std::string> made;
  made.reserve(values.size());
  for (const std::string_view one : values) made.push_back(valid_utf8(one.substr(0, longest_label_value)));
  return made;
}

}  // namespace detail

namespace {
metric refused_series() {
  return {.name = "telemetry_refused_series_total",
          .help = "Uses of a series that was one too many of its metric, by metric.",
          .type = metric_type::counter,
          .label_names = {"metric"}};
}
}  // namespace

metrics::metrics(metrics_options options) : options_(options) {
  if (options_.most_series == 0) throw misuse_error("metrics: most_series is 0; at least 1 is needed");
  take_names(refused_series());
}
metrics::~metrics() = default;

void metrics::take_names(const metric& of) {
  const std::vector<std::string> wanted = names_of(of);
  for (const std::string& one : wanted) {
    if (const auto owner = taken_.find(one); owner != taken_.end())
      refuse(of, "'" + one + "' is taken by the metric '" + owner->second + "'");
  }
  for (const std::string& one : wanted) taken_.emplace(one, of.name);
}

template <class Kind, class... A>
metric_family<Kind>& metrics::family(metric about, A... made_with) {
  check(about);
  const std::string base = base_of(about);
  if (const auto known = families_.find(base);
      known != families_.end() && is_same(known->second->about(), about))
    return static_cast<metric_family<Kind>&>(*known->second);
  take_names(about);
  auto made = std::make_unique<metric_family<Kind>>(about, options_.most_series, std::move(made_with)...);
  return static_cast<metric_family<Kind>&>(*families_.emplace(base, std::move(made)).first->second);
}

metric_family<counter>& metrics::counters(std::string name, std::string help,
                                          std::vector<std::string> label_names) {
  return family<telemetry::counter>({.name = std::move(name),
                                     .help = std::move(help),
                                     .type = metric_type::counter,
                                     .label_names = std::move(label_names)});
}

metric_family<gauge>& metrics::gauges(std::string name, std::string help,
                                      std::vector<std::string> label_names) {
  return family<telemetry::gauge>({.name = std::move(name),
                                   .help = std::move(help),
                                   .type = metric_type::gauge,
                                   .label_names = std::move(label_names)});
}

metric_family<histogram>& metrics::histograms(std::string name, std::string help,
                                              std::vector<std::string> label_names,
                                              std::vector<double> bounds) {
  auto shared = std::make_shared<const std::vector<double>>(bounds);
  return family<telemetry::histogram>({.name = std::move(name),
                                       .help = std::move(help),
                                       .type = metric_type::histogram,
                                       .label_names = std::move(label_names),
                                       .bounds = std::move(bounds)},
                                      std::move(shared));
}

counter& metrics::counter(std::string name, std::string help) {
  return counters(std::move(name), std::move(help), {}).at({});
}
gauge& metrics::gauge(std::string name, std::string help) {
  return gauges(std::move(name), std::move(help), {}).at({});
}
histogram& metrics::histogram(std::string name, std::string help, std::vector<double> bounds) {
  return histograms(std::move(name), std::move(help), {}, std::move(bounds)).at({});
}

void metrics::collect(metric_type type, std::string name, std::string help,
                      std::vector<std::string> label_names, std::function<void(const emit&)> read) {
  metric about{
      .name = std::move(name), .help = std::move(help), .type = type, .label_names = std::move(label_names)};
  check(about);
  if (type == metric_type::histogram) refuse(about, "only counters and gauges can be collected");
  if (!read) refuse(about, "is to be collected by an empty function");
  take_names(about);
  std::string base = base_of(about);
  collected_.emplace(std::move(base), collected{std::move(about), std::move(read)});
}

void metrics::collect(metric_type type, std::string name, std::string help, std::function<double()> read) {
  if (!read) throw misuse_error("metrics: '" + name + "': is to be collected by an empty function");
  collect(type, std::move(name), std::move(help), {},
          [read = std::move(read)](const emit& into) { into({}, read()); });
}

metrics_snapshot metrics::snapshot() const {
  metrics_snapshot all;
  all.reserve(families_.size() + collected_.size() + 1);
  metric refused = refused_series();
  for (const auto& [base, one] : families_) {
    all.push_back(one->read());
    if (one->refused() != 0) {
      refused.samples.push_back(
          {.label_values = {one->about().name}, .value = static_cast<double>(one->refused())});
    }
  }
  for (const auto& [base, one] : collected_) {
    metric& made = all.emplace_back(one.about);
    one.read([&](std::initializer_list<std::string_view> values, double value) {
      if (values.size() != made.label_names.size()) {
        refuse(made, "has " + std::to_string(made.label_names.size()) + " labels, and was given " +
                         std::to_string(values.size()) + " values");
      }
      metric_sample& sample = made.samples.emplace_back();
      for (const std::string_view text : values) sample.label_values.push_back(detail::valid_utf8(text));
      sample.value = value;
    });
  }
  if (!refused.samples.empty()) all.push_back(std::move(refused));
  return merge({std::move(all)});
}

metrics_snapshot merge(std::vector<metrics_snapshot> of) {
  std::map<std::string, metric> by_name;
  for (metrics_snapshot& one : of) {
    for (metric& each : one) {
      std::vector<metric_sample> samples = std::move(each.samples);
      each.samples.clear();
      metric& into = by_name.try_emplace(each.name, each).first->second;
      if (!is_same(into, each)) refuse(each, "stands for different metrics");
      for (metric_sample& sample : samples) into.samples.push_back(std::move(sample));
    }
  }
  metrics_snapshot all;
  all.reserve(by_name.size());
  for (auto& [name, each] : by_name) {
    std::sort(each.samples.begin(), each.samples.end(),
              [](const auto& a, const auto& b) { return a.label_values < b.label_values; });
    std::vector<metric_sample> kept;
    for (metric_sample& sample : each.samples) {
      if (kept.empty() || kept.back().label_values != sample.label_values) {
        kept.push_back(std::move(sample));
        continue;
      }
      kept.back().value += sample.value;
      kept.back().sum += sample.sum;
      for (std::size_t i = 0; i != sample.buckets.size(); ++i) kept.back().buckets[i] += sample.buckets[i];
    }
    each.samples = std::move(kept);
    all.push_back(std::move(each));
  }
  return all;
}

}  // namespace belay::telemetry
