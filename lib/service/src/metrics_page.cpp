// SPDX-License-Identifier: Apache-2.0
// What an app tells of itself in numbers, and the page with them.

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>

#include "app_state.hpp"

namespace belay::service {

namespace {

using telemetry::metric_type;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double cpu_seconds() {
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) != 0) return 0;
  return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

// The second number of /proc/self/statm, in pages.
double resident_bytes() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                             std::fclose);
  long long size = 0;
  long long resident = 0;
  // NOLINTNEXTLINE(cert-err34-c): two numbers that the kernel wrote
  if (!file || std::fscanf(file.get(), "%lld %lld", &size, &resident) != 2) return 0;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double open_descriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (!folder) return 0;
  double count = -3;  // ".", "..", and the one that looks
  while (::readdir(folder.get()) != nullptr) ++count;
  return count;
}

// The names are those that Prometheus' own libraries use.
void add_process_metrics(telemetry::metrics& to) {
  const double started =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  to.gauge("process_start_time_seconds", "When the program started, in seconds since 1970.").set(started);
  to.collect(metric_type::counter, "process_cpu_seconds_total", "CPU time that the process has used.",
             cpu_seconds);
  to.collect(metric_type::gauge, "process_resident_memory_bytes", "Memory of the process.", resident_bytes);
  to.collect(metric_type::gauge, "process_open_fds", "Open file descriptors.", open_descriptors);
}

}  // namespace

void app::state::add_own_metrics() {
  telemetry::metrics& to = numbers;
  const auto server_number = [this, &to](metric_type type, const char* name, const char* help,
                                         auto http::server_statistics::* which) {
    to.collect(type, name, help, [this, which] {
      return server == nullptr ? 0.0 : static_cast<double>(server->statistics().*which);
    });
  };
  using statistics = http::server_statistics;
  server_number(metric_type::gauge, "belay_http_requests_in_flight",
                "Requests in a handler or being answered.", &statistics::active_requests);
  server_number(metric_type::gauge, "belay_http_connections", "Open connections.", &statistics::connections);
  server_number(metric_type::gauge, "belay_http_idle_connections", "Open connections without a request.",
                &statistics::idle_connections);
  server_number(metric_type::counter, "belay_http_connections_accepted_total", "Connections so far.",
                &statistics::accepted);
  server_number(metric_type::counter, "belay_http_connections_rejected_total",
                "Connections over the limit, answered 503.", &statistics::rejected);
  server_number(metric_type::counter, "belay_http_accept_failures_total",
                "Connections that could not be accepted for want of a resource.",
                &statistics::accept_failures);
  to.collect(metric_type::gauge, "belay_ready", "1 while the program serves, 0 while it starts or drains.",
             [this] { return now == phase::serving && !is_starting() ? 1.0 : 0.0; });
  to.collect(metric_type::gauge, "belay_background_tasks", "Background tasks that have not finished.",
             [this] { return static_cast<double>(background.size()); });
  to.collect(metric_type::gauge, "belay_in_use", "What is in use, by the gauges of the program.", {"what"},
             [this](const telemetry::metrics::emit& into) {
               for (const auto& [name, read] : gauges) into({name}, static_cast<double>(read()));
             });
  to.collect(metric_type::counter, "belay_worker_restarts_total", "How often each worker was restarted.",
             {"worker"}, [this](const telemetry::metrics::emit& into) {
               for (const worker& one : workers)
                 into({one.name}, one.keeper ? static_cast<double>(one.keeper->statistics().restarts) : 0.0);
             });
  const auto loop_number = [&to](metric_type type, const char* name, const char* help,
                                 auto loop_statistics::* which) {
    to.collect(type, name, help, [which] {
      const loop* running = loop::current();
      return running == nullptr ? 0.0 : static_cast<double>(running->statistics().*which);
    });
  };
  loop_number(metric_type::gauge, "belay_loop_tasks", "Live tasks.", &loop_statistics::live_tasks);
  loop_number(metric_type::gauge, "belay_loop_timers", "Timers that are set.", &loop_statistics::timers);
  loop_number(metric_type::gauge, "belay_loop_blocking_jobs", "Calls on threads, under way or queued.",
              &loop_statistics::blocking_jobs);
  loop_number(metric_type::gauge, "belay_loop_abandoned_jobs",
              "Calls on threads that nobody waits for any more.", &loop_statistics::abandoned_jobs);
  loop_number(metric_type::counter, "belay_lost_failures_total", "Failures that nobody observed.",
              &loop_statistics::lost_failures);
  to.collect(metric_type::counter, "belay_diagnostics_total", "What the runtime noticed, by kind.", {"kind"},
             [seen = diagnostics](const telemetry::metrics::emit& into) {
               const auto counts = seen->counts();
               for (std::size_t i = 0; i != counts.size(); ++i) {
                 into({to_string(static_cast<diagnostic_kind>(i))}, static_cast<double>(counts[i]));
               }
             });
  to.collect(metric_type::counter, "belay_log_records_total",
             "Records of the log: taken by their sink, refused by it and gone to stderr, or lost.", {"fate"},
             [this](const telemetry::metrics::emit& into) {
               const telemetry::logger_statistics told = log.statistics();
               into({"written"}, static_cast<double>(told.written));
               into({"sink_failed"}, static_cast<double>(told.sink_failures));
               into({"lost"}, static_cast<double>(told.lost));
             });
  add_process_metrics(to);
}

void app::state::add_metrics_route(app& of) {
  if (options.metrics_path.empty()) return;
  of.get(options.metrics_path,
         [this](request& asked) -> task<http::response> {
           const telemetry::metrics_format format =
               telemetry::choose_metrics_format(asked.http().headers.combined("Accept"));
           const telemetry::metrics_snapshot page = co_await read_all_numbers();
           http::response made;
           made.headers.add("Content-Type", telemetry::media_type_of(format));
           made.headers.add("Cache-Control", "no-store");
           made.body = format == telemetry::metrics_format::openmetrics ? telemetry::to_openmetrics(page)
                                                                        : telemetry::to_prometheus(page);
           co_return made;
         },
         {.hidden = true});
}

}  // namespace belay::service
