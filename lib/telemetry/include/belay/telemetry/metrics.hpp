// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers about a running program: counters, gauges and histograms, with labels, for Prometheus and its like.

#include <belay/core/error.hpp>
#include <belay/core/time.hpp>
#include <belay/telemetry/metrics_snapshot.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace belay::telemetry {

/// Only rises.
class counter {
 public:
  /// Errors: `misuse_error` when `by` is negative or no number.
  void add(double by = 1);
  [[nodiscard]] double value() const noexcept { return value_; }
  void read_into(metric_sample& into) const { into.value = value_; }

 private:
  double value_ = 0;
};

/// Rises and falls.
class gauge {
 public:
  void set(double to) noexcept { value_ = to; }
  void add(double by) noexcept { value_ += by; }
  [[nodiscard]] double value() const noexcept { return value_; }
  void read_into(metric_sample& into) const { into.value = value_; }

 private:
  double value_ = 0;
};

/// How values are spread, by upper bounds.
class histogram {
 public:
  explicit histogram(std::shared_ptr<const std::vector<double>> bounds);
  /// Errors: `misuse_error` for what is no number.
  void observe(double value);
  /// In seconds.
  void observe(duration value) { observe(std::chrono::duration<double>(value).count()); }
  [[nodiscard]] std::uint64_t count() const noexcept;
  [[nodiscard]] double sum() const noexcept { return sum_; }
  void read_into(metric_sample& into) const;

 private:
  std::shared_ptr<const std::vector<double>> bounds_;
  std::vector<std::uint64_t> buckets_;
  double sum_ = 0;
};

/// For durations of requests, in seconds: 1 ms to 10 s.
[[nodiscard]] std::vector<double> default_seconds();

namespace detail {

struct string_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
};

class family_base {
 public:
  explicit family_base(metric about) : about_(std::move(about)) {}
  family_base(const family_base&) = delete;
  family_base& operator=(const family_base&) = delete;
  virtual ~family_base() = default;

  [[nodiscard]] const metric& about() const noexcept { return about_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] virtual metric read() const = 0;

 protected:
  void require_count(std::size_t given) const;
  // The label values one after the other, none of which can be taken for two.
  std::string_view key_of(std::span<const std::string_view> values);
  static std::vector<std::string> values_of(std::span<const std::string_view> values);

  metric about_;
  std::uint64_t refused_ = 0;

 private:
  std::string key_;
};

}  // namespace detail

/// A metric, as many series as there are values of its labels: `requests.at({"/users/{id}", "GET", "200"}).add()`.
///
/// The number of series is bounded, by `metrics_options::most_series`: what comes then has the value "other" for all labels, in one
/// series together, and is counted by `telemetry_refused_series_total`. So a label that a client can fill costs no memory, but
/// makes the metric useless: use the pattern of a route, never its path.
template <class Kind>
class metric_family final : public detail::family_base {
 public:
  template <class... A>
  explicit metric_family(metric about, std::size_t most, A... made_with)
      : family_base(std::move(about)), most_(most), make_([made_with...] { return Kind(made_with...); }) {}

  /// The series with these label values, which lives as long as the family. Errors: `misuse_error` for another number of values than
  /// the metric has labels.
  [[nodiscard]] Kind& at(std::initializer_list<std::string_view> values) {
    return at(std::span<const std::string_view>(values.begin(), values.size()));
  }
  [[nodiscard]] Kind& at(std::span<const std::string_view> values) {
    require_count(values.size());
    const std::string_view key = key_of(values);
    if (const auto found = series_.find(key); found != series_.end()) return found->second.kept;
    if (series_.size() >= most_) {
      ++refused_;
      if (!other_) {
        other_ = std::make_unique<series>(
            series{std::vector<std::string>(about_.label_names.size(), "other"), make_()});
      }
      return other_->kept;
    }
    return series_.emplace(key, series{values_of(values), make_()}).first->second.kept;
  }

  [[nodiscard]] std::size_t size() const noexcept { return series_.size(); }

  [[nodiscard]] metric read() const override {
    metric all = about_;
    all.samples.reserve(series_.size() + 1);
    for (const auto& [key, one] : series_) add(one, all);
    if (other_) add(*other_, all);
    return all;
  }

 private:
  struct series {
    std::vector<std::string> label_values;
    Kind kept;
  };
  static void add(const series& one, metric& to) {
    metric_sample& made = to.samples.emplace_back();
    made.label_values = one.label_values;
    one.kept.read_into(made);
  }

  std::size_t most_;
  std::function<Kind()> make_;
  std::unordered_map<std::string, series, detail::string_hash, std::equal_to<>> series_;
  std::unique_ptr<series> other_;
};

struct metrics_options {
  std::size_t most_series = 1000;  ///< of one metric, at least 1
};

/// The metrics of one loop.
///
///     metrics all;
///     auto& sent = all.counters("mails_sent_total", "Mails that were sent.", {"kind"});
///     sent.at({"welcome"}).add();
///     std::string page = to_prometheus(all.snapshot());
///
/// Nothing is atomic, and nothing locked: each loop has its own, and a page about several loops merges snapshots that each of them
/// made on its own thread.
/// Errors:   `misuse_error` for a name that Prometheus does not allow, a counter whose name does not end in `_total`, no help, labels
///           that are named twice or start with `__` (or `le`, of a histogram), bounds that do not rise, and a name that is taken by a
///           metric of another type, with other labels or bounds, as is `x_count` by a histogram `x`. The same once more gives the same
///           metric.
/// Lifetime: families and their series live as long as this. Thread: the loop's.
class metrics {
 public:
  /// Errors: `misuse_error` for options out of range.
  explicit metrics(metrics_options options = {});
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;
  ~metrics();

  metric_family<telemetry::counter>& counters(std::string name, std::string help,
                                              std::vector<std::string> label_names);
  metric_family<telemetry::gauge>& gauges(std::string name, std::string help,
                                          std::vector<std::string> label_names);
  metric_family<telemetry::histogram>& histograms(std::string name, std::string help,
                                                  std::vector<std::string> label_names,
                                                  std::vector<double> bounds = default_seconds());
  /// Without labels.
  telemetry::counter& counter(std::string name, std::string help);
  telemetry::gauge& gauge(std::string name, std::string help);
  telemetry::histogram& histogram(std::string name, std::string help,
                                  std::vector<double> bounds = default_seconds());

  /// Gives a value for some label values.
  using emit = std::function<void(std::initializer_list<std::string_view> label_values, double value)>;
  /// Numbers that are kept elsewhere, a counter or gauge: `read` is called for each snapshot, on the loop's thread. What it throws comes
  /// out of `snapshot`.
  void collect(metric_type type, std::string name, std::string help, std::vector<std::string> label_names,
               std::function<void(const emit&)> read);
  /// One such number.
  void collect(metric_type type, std::string name, std::string help, std::function<double()> read);

  [[nodiscard]] metrics_snapshot snapshot() const;

 private:
  struct collected {
    metric about;
    std::function<void(const emit&)> read;
  };
  template <class Kind, class... A>
  metric_family<Kind>& family(metric about, A... made_with);
  void take_names(const metric& of);

  metrics_options options_;
  std::map<std::string, std::string, std::less<>>
      taken_;  // what stands on a page, and the metric that it is of
  // By the name, without what the type adds to it.
  std::map<std::string, std::unique_ptr<detail::family_base>, std::less<>> families_;
  std::map<std::string, collected, std::less<>> collected_;
};

}  // namespace belay::telemetry
