// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms, with a bounded number of series.

#include <doctest/doctest.h>

#include <belay/telemetry/metrics.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>

using namespace belay::telemetry;
using namespace std::chrono_literals;
using belay::misuse_error;

namespace {

const metric* find(const metrics_snapshot& in, std::string_view name) {
  for (const metric& one : in) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("counter: rises, by numbers only") {
  metrics all;
  counter& sent = all.counter("mails_total", "Mails.");
  sent.add();
  sent.add(2.5);
  CHECK(sent.value() == 3.5);
  CHECK_THROWS_AS(sent.add(-1), misuse_error);
  CHECK_THROWS_AS(sent.add(std::nan("")), misuse_error);
  CHECK(sent.value() == 3.5);
}

TEST_CASE("gauge: rises and falls") {
  metrics all;
  gauge& queued = all.gauge("queued", "Waiting.");
  queued.set(3);
  queued.add(-4);
  CHECK(queued.value() == -1);
}

TEST_CASE("histogram: a value that equals a bound is below it, and what is above all bounds is counted") {
  metrics all;
  histogram& took = all.histogram("took_seconds", "Time.", {0.1, 1});
  for (const double value : {0.1, 0.100001, 1.0, 7.0, -1.0, std::numeric_limits<double>::infinity()})
    took.observe(value);
  took.observe(500ms);
  const metrics_snapshot now = all.snapshot();
  REQUIRE(now.size() == 1);
  REQUIRE(now[0].samples.size() == 1);
  CHECK(now[0].samples[0].buckets == std::vector<std::uint64_t>{2, 3, 2});
  CHECK(took.count() == 7);
  CHECK_THROWS_AS(took.observe(std::nan("")), misuse_error);
  CHECK(took.count() == 7);
}

TEST_CASE("labels: each combination is a series of its own, and stays the same object") {
  metrics all;
  auto& requests = all.counters("requests_total", "Requests.", {"route", "status"});
  counter& one = requests.at({"/users", "200"});
  one.add();
  requests.at({"/users", "404"}).add();
  requests.at({"/users", "200"}).add();
  CHECK(&requests.at({"/users", "200"}) == &one);
  CHECK(one.value() == 2);
  CHECK(requests.size() == 2);
  const metrics_snapshot now = all.snapshot();
  REQUIRE(now[0].samples.size() == 2);
  CHECK(now[0].samples[0].label_values == std::vector<std::string>{"/users", "200"});
  CHECK(now[0].samples[1].label_values == std::vector<std::string>{"/users", "404"});
}

TEST_CASE("labels: values that look alike when put together are told apart") {
  metrics all;
  auto& of = all.counters("x_total", "X.", {"a", "b"});
  of.at({"1:", "2"}).add();
  of.at({"1", ":2"}).add();
  of.at({"", "1:2"}).add();
  of.at({std::string_view("1\0", 2), "2"}).add();
  CHECK(of.size() == 4);
}

TEST_CASE("labels: what is one too many goes into one series together, and is counted") {
  metrics all({.most_series = 3});
  auto& of = all.counters("x_total", "X.", {"a", "b"});
  for (int i = 0; i != 10; ++i) of.at({std::to_string(i), "b"}).add();
  of.at({"1", "b"}).add();
  CHECK(of.size() == 3);
  const metrics_snapshot now = all.snapshot();
  const metric* x = find(now, "x_total");
  REQUIRE(x);
  REQUIRE(x->samples.size() == 4);
  CHECK(x->samples.back().label_values == std::vector<std::string>{"other", "other"});
  CHECK(x->samples.back().value == 7);
  CHECK(x->samples[1].value == 2);
  const metric* refused = find(now, "telemetry_refused_series_total");
  REQUIRE(refused);
  CHECK(refused->samples[0].label_values == std::vector<std::string>{"x_total"});
  CHECK(refused->samples[0].value == 7);
}

TEST_CASE("labels: a series that has the very name of the rest is added to it, not doubled") {
  metrics all({.most_series = 1});
  auto& of = all.counters("x_total", "X.", {"a"});
  of.at({"other"}).add();
  of.at({"more"}).add();
  const metrics_snapshot now = all.snapshot();
  const metric* x = find(now, "x_total");
  REQUIRE(x->samples.size() == 1);
  CHECK(x->samples[0].value == 2);
}

TEST_CASE("labels: bytes that are no UTF-8 are replaced, long values cut") {
  metrics all;
  auto& of = all.counters("x_total", "X.", {"a"});
  of.at({"a\xff"}).add();
  of.at({std::string(1000, 'y')}).add();
  of.at({std::string(999, 'y')}).add();
  const metrics_snapshot now = all.snapshot();
  REQUIRE(now[0].samples.size() == 2);
  CHECK(now[0].samples[0].label_values[0] == "a\xEF\xBF\xBD");
  CHECK(now[0].samples[1].label_values[0] == std::string(256, 'y'));
  CHECK(now[0].samples[1].value == 2);
}

TEST_CASE("labels: another number of values than names is refused") {
  metrics all;
  auto& of = all.counters("x_total", "X.", {"a", "b"});
  CHECK_THROWS_AS(static_cast<void>(of.at({"1"})), misuse_error);
  CHECK_THROWS_AS(static_cast<void>(of.at({"1", "2", "3"})), misuse_error);
  CHECK_THROWS_AS(static_cast<void>(of.at({})), misuse_error);
}

TEST_CASE("metrics: names and labels that Prometheus does not take are refused") {
  metrics all;
  for (const char* bad : {"", "1x_total", "a-b_total", "a b_total", "\xc3\xa9_total", "x", "_total"})
    CHECK_THROWS_AS(all.counter(bad, "Help."), misuse_error);
  CHECK_THROWS_AS(all.counter("x_total", ""), misuse_error);
  for (const char* bad : {"", "1", "a-b", "__a", "a:b"})
    CHECK_THROWS_AS(all.gauges("x", "Help.", {bad}), misuse_error);
  CHECK_THROWS_AS(all.gauges("x", "Help.", {"a", "a"}), misuse_error);
  CHECK_THROWS_AS(all.histograms("x", "Help.", {"le"}), misuse_error);
  CHECK_THROWS_AS(all.histogram("x", "Help.", {1, 1}), misuse_error);
  CHECK_THROWS_AS(all.histogram("x", "Help.", {2, 1}), misuse_error);
  CHECK_THROWS_AS(all.histogram("x", "Help.", {std::numeric_limits<double>::infinity()}), misuse_error);
  CHECK_THROWS_AS(metrics({.most_series = 0}), misuse_error);
  CHECK(all.snapshot().empty());
}

TEST_CASE("metrics: the same once more is the same, another of that name is refused") {
  metrics all;
  counter& one = all.counter("x_total", "X.");
  CHECK(&all.counter("x_total", "X.") == &one);
  CHECK_THROWS_AS(all.counters("x_total", "X.", {"a"}), misuse_error);
  CHECK_THROWS_AS(all.gauge("x", "X."), misuse_error);  // the same metric in OpenMetrics
  CHECK_THROWS_AS(all.collect(metric_type::counter, "x_total", "X.", [] { return 1.0; }), misuse_error);
  all.histogram("y", "Y.", {1});
  CHECK_THROWS_AS(all.histogram("y", "Y.", {2}), misuse_error);
  all.collect(metric_type::gauge, "z", "Z.", [] { return 1.0; });
  CHECK_THROWS_AS(all.gauge("z", "Z."), misuse_error);
  CHECK_THROWS_AS(all.collect(metric_type::gauge, "z", "Z.", [] { return 1.0; }), misuse_error);
  CHECK_THROWS_AS(all.collect(metric_type::histogram, "h", "H.", [] { return 1.0; }), misuse_error);
  CHECK_THROWS_AS(all.collect(metric_type::gauge, "h", "H.", std::function<double()>()), misuse_error);
}

TEST_CASE("collect: read for each snapshot; what the reader throws comes out, and the next one is whole") {
  metrics all;
  double value = 1;
  bool broken = false;
  all.collect(metric_type::gauge, "size", "Size.", {"of"}, [&](const metrics::emit& into) {
    if (broken) throw std::runtime_error("gone");
    into({"a"}, value);
    into({"b"}, value * 2);
  });
  all.collect(metric_type::counter, "done_total", "Done.", [&] { return value; });
  CHECK(find(all.snapshot(), "size")->samples[1].value == 2);
  value = 5;
  CHECK(find(all.snapshot(), "size")->samples[1].value == 10);
  CHECK(find(all.snapshot(), "done_total")->samples[0].value == 5);
  broken = true;
  CHECK_THROWS_AS(static_cast<void>(all.snapshot()), std::runtime_error);
  broken = false;
  CHECK(all.snapshot().size() == 2);
}

TEST_CASE("merge: series with the same labels are added up, whichever loop they are of") {
  metrics one;
  metrics two;
  for (metrics* of : {&one, &two}) {
    of->counters("x_total", "X.", {"a"}).at({"both"}).add();
    of->histogram("h_seconds", "H.", {1}).observe(0.5);
    of->gauge("g", "G.").set(2);
  }
  two.counters("x_total", "X.", {"a"}).at({"two"}).add(4);
  two.histogram("h_seconds", "H.", {1}).observe(3);
  two.gauge("only", "Only.").set(1);
  const metrics_snapshot all = merge({one.snapshot(), two.snapshot()});
  REQUIRE(all.size() == 4);
  CHECK(all[0].name == "g");
  CHECK(all[0].samples[0].value == 4);
  CHECK(all[1].samples[0].buckets == std::vector<std::uint64_t>{2, 1});
  CHECK(all[1].samples[0].sum == 4);
  CHECK(all[3].samples[0].value == 2);
  CHECK(all[3].samples[1].value == 4);
  metrics three;
  three.gauges("g", "G.", {"a"});
  CHECK_THROWS_AS(static_cast<void>(merge({one.snapshot(), three.snapshot()})), misuse_error);
}

TEST_CASE("metrics: no two make the same name on a page") {
  using adds = std::function<void(metrics&)>;
  const adds gauge_of_total = [](metrics& all) { all.gauge("jobs_total", "Jobs."); };
  const adds counter = [](metrics& all) { all.counter("jobs_total", "Jobs."); };
  const adds gauge = [](metrics& all) { all.gauge("jobs", "Jobs."); };
  const adds histogram = [](metrics& all) { all.histogram("jobs", "Jobs."); };
  const adds sum = [](metrics& all) { all.gauge("jobs_sum", "Jobs."); };
  const adds count = [](metrics& all) {
    all.collect(metric_type::gauge, "jobs_count", "Jobs.", [] { return 1.0; });
  };
  const adds bucket = [](metrics& all) { all.gauges("jobs_bucket", "Jobs.", {"le"}); };
  const std::vector<std::pair<adds, adds>> pairs = {{gauge_of_total, counter}, {counter, gauge},
                                                    {gauge, histogram},        {histogram, sum},
                                                    {histogram, count},        {histogram, bucket}};
  for (const auto& [one, other] : pairs) {
    for (const bool swapped : {false, true}) {
      CAPTURE(swapped);
      metrics all;
      (swapped ? other : one)(all);
      const std::size_t before = all.snapshot().size();
      CHECK_THROWS_AS((swapped ? one : other)(all), misuse_error);
      CHECK(all.snapshot().size() == before);
    }
  }
  metrics all;
  CHECK_THROWS_AS(all.counter("telemetry_refused_series_total", "Mine."), misuse_error);
}
