// SPDX-License-Identifier: Apache-2.0
// A retry storm, simulated: 1,000 clients, a service that fails for 30 s, and what different policies make of it.
//   storm [FILE.svg]     prints the table; with a name, writes the plot there.     exit: 0, 1 cannot write, 2 usage
// tools/check_storm compares both with docs/policies/storm.md.
//
// The service answers 1,500 calls a second, one after the other, and queues up the rest, up to two seconds of work; it refuses what comes then. It
// works also on calls whose client has given up after one second. The clients make 1,000 calls a second together. All time is virtual, and all chance is seeded: the numbers are the same in each run.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <belay/testing/test_loop.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace {

namespace b = belay;
using namespace std::chrono_literals;

constexpr int clients = 1000;
constexpr int processes = 10;  // each has a budget and a breaker of its own, for its hundred clients
constexpr std::size_t seconds = 150;
constexpr b::duration outage_begins = 30s;
constexpr b::duration outage_ends = 60s;
constexpr b::duration service_time = b::duration(1'000'000'000 / 1500);
constexpr b::duration longest_queue = 2s;  // worth of work
constexpr b::duration attempt_limit = 1s;

struct course {
  std::string name;
  std::vector<double> attempts = std::vector<double>(seconds);  // that reached the service, in each second
  std::vector<double> calls = std::vector<double>(seconds);     // begun
  std::vector<double> good = std::vector<double>(seconds);      // of them, ended well
};

class service {
 public:
  explicit service(course& to) : to_(&to), start_(b::now()) {}
  [[nodiscard]] std::size_t second() const {
    return std::min(seconds - 1, static_cast<std::size_t>((b::now() - start_) / 1s));
  }
  b::task<> call() {
    to_->attempts[second()] += 1;
    // While it is down nothing is worked on; what came before, and comes now, queues up.
    const b::duration at = b::now() - start_;
    const bool down = at >= outage_begins && at < outage_ends;
    const b::time_point works_from = down ? start_ + outage_ends : b::now();
    if (free_at_ - works_from >= longest_queue) {
      co_await b::sleep_for(20ms);
      throw b::error(b::error_kind::overloaded, "queue_full", "the queue of the service is full");
    }
    // Its place is taken, whether the client waits for it or not.
    free_at_ = std::max(free_at_, works_from) + service_time;
    co_await b::sleep_until(free_at_ + 20ms);
  }

 private:
  course* to_;
  b::time_point start_;
  b::time_point free_at_{};
};

template <class Policy>
b::task<> one_call(const Policy& through, service& at, course& to, std::size_t second) {
  to.calls[second] += 1;
  b::outcome<void> how = co_await b::as_outcome(through([&at]() -> b::task<> { co_await at.call(); }));
  if (how.succeeded()) {
    to.good[second] += 1;
  } else {
    how.failure().observe();
  }
}
template <class Policy>
b::task<> client(const Policy& through, service& at, course& to, unsigned number) {
  std::mt19937_64 random(number);
  std::uniform_int_distribution<std::int64_t> pause(0, 2'000'000'000);
  co_await b::with_group({.policy = b::group_policy::supervise}, [&](b::group& g) -> b::task<> {
    co_await b::sleep_for(b::duration(pause(random) / 2));
    while (at.second() < seconds - 1) {
      g.spawn(one_call<Policy>, std::cref(through), std::ref(at), std::ref(to), at.second());
      co_await b::sleep_for(b::duration(pause(random)));
    }
  });
}
template <class Make>
course simulate(std::string name, Make make) {
  course to;
  to.name = std::move(name);
  b::testing::test_loop loop;
  loop.run([](course& into, Make make_policy) -> b::task<> {
    service at(into);
    using policy = decltype(make_policy(0u));
    std::vector<policy> each;
    for (unsigned i = 0; i < processes; ++i) each.push_back(make_policy(i));
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (unsigned i = 0; i < clients; ++i)
        g.spawn(client<policy>, std::cref(each[i % processes]), std::ref(at), std::ref(into), i + 1);
      co_return;
    });
  }(to, make));
  return to;
}

double sum(const std::vector<double>& of, std::size_t from, std::size_t to) {
  double all = 0;
  for (std::size_t i = from; i < to; ++i) all += of[i];
  return all;
}
// Seconds after the outage until 99 % of the calls that begin in a second, and in the four after it, end well.
std::string recovery(const course& of) {
  for (std::size_t s = 60; s + 5 < seconds - 5; ++s) {
    bool well = true;
    for (std::size_t i = s; i < s + 5; ++i) well = well && of.good[i] >= 0.99 * of.calls[i];
    if (well) return std::to_string(s - 60) + " s";
  }
  return "not in " + std::to_string(seconds - 60) + " s";
}

constexpr std::array<const char*, 4> colours{"#666666", "#c0392b", "#2471a3", "#1e8449"};

void curves(std::ostream& out, const std::vector<course>& all, int top, double most, const char* title,
            const std::vector<double>& (*pick)(const course&)) {
  out << "<text x='60' y='" << top - 8 << "'>" << title << "</text>\n"
      << "<rect x='260' y='" << top << "' width='240' height='200' fill='#f5d9d5'/>\n"
      << "<rect x='60' y='" << top << "' width='" << 8 * 145 << "' height='200' fill='none' stroke='#999'/>\n"
      << "<text x='55' y='" << top + 10 << "' text-anchor='end'>" << most << "</text>\n"
      << "<text x='55' y='" << top + 200 << "' text-anchor='end'>0</text>\n";
  for (std::size_t s = 0; s <= 140; s += 20)
    out << "<text x='" << 60 + 8 * s << "' y='" << top + 215 << "' text-anchor='middle'>" << s
        << " s</text>\n";
  for (std::size_t i = 0; i < all.size(); ++i) {
    out << "<polyline fill='none' stroke-width='1.5' stroke='" << colours[i] << "' points='";
    const std::vector<double>& values = pick(all[i]);
    for (std::size_t s = 0; s < 145; ++s) {
      std::array<char, 40> point{};
      std::snprintf(point.data(), point.size(), "%zu,%.1f ", 60 + 8 * s,
                    top + 200 - 200 * std::min(1.0, values[s] / most));
      out << point.data();
    }
    out << "'/>\n";
  }
}
void draw(std::ostream& out, const std::vector<course>& all) {
  out << "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1240 560' font-family='sans-serif' font-size='12'>\n"
      << "<rect width='1240' height='560' fill='white'/>\n";
  for (std::size_t i = 0; i < all.size(); ++i)
    out << "<text x='" << 60 + 290 * i << "' y='20' fill='" << colours[i] << "'>" << all[i].name
        << "</text>\n";
  curves(out, all, 60, 6500,
         "attempts that reach the service, each second (shaded: it is down; it can answer 1500)",
         [](const course& of) -> const std::vector<double>& { return of.attempts; });
  curves(out, all, 320, 1200, "calls begun in a second that end well",
         [](const course& of) -> const std::vector<double>& { return of.good; });
  out << "</svg>\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) {
    std::cerr << "usage: storm [FILE.svg]\n";
    return 2;
  }
  const auto retrying = [](unsigned process, bool limited) {
    b::retry_options options{
        .max_attempts = 4, .delay = b::backoff::exponential(200ms, 5s), .seed = process + 1};
    if (limited) options.budget = b::retry_budget({.ratio = 0.1, .reserve = 10});
    return b::retry(options);
  };
  const auto breaker = [] {
    return b::circuit_breaker({.consecutive_failures = 0,
                               .failure_rate = 0.5,
                               .window = 5s,
                               .minimum_calls = 50,
                               .open_for = 2s,
                               .probes = 3});
  };
  const b::timeout limit(attempt_limit);
  const std::vector<course> all{
      simulate("no retry", [&](unsigned) { return b::pipeline{limit}; }),
      simulate("4 attempts, no budget", [&](unsigned i) { return b::pipeline{retrying(i, false), limit}; }),
      simulate("4 attempts, budget of 10 %",
               [&](unsigned i) { return b::pipeline{retrying(i, true), limit}; }),
      simulate("4 attempts, budget, breaker",
               [&](unsigned i) { return b::pipeline{retrying(i, true), breaker(), limit}; })};
  std::printf(
      "| policies | attempts per call in the outage | most attempts in a second | recovered after |\n");
  std::printf("| --- | --- | --- | --- |\n");
  for (const course& one : all) {
    std::printf("| %s | %.2f | %.0f | %s |\n", one.name.c_str(),
                sum(one.attempts, 30, 60) / sum(one.calls, 30, 60),
                *std::max_element(one.attempts.begin(), one.attempts.end()), recovery(one).c_str());
  }
  if (argc == 2) {
    std::ofstream file(argv[1]);
    draw(file, all);
    file.close();
    if (!file) {
      std::cerr << "storm: cannot write " << argv[1] << '\n';
      return 1;
    }
  }
  return 0;
}
