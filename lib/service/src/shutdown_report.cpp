// SPDX-License-Identifier: Apache-2.0
// The shutdown report as a log record.

#include <belay/service/shutdown_report.hpp>

#include <chrono>

namespace belay::service {

void shutdown_report::add(std::string name, duration took, std::string trouble) {
  steps.push_back({std::move(name), took, std::move(trouble)});
}

void shutdown_report::give_up() {
  overran.insert(overran.end(), open.rbegin(), open.rend());
  open.clear();
}

void shutdown_report::write_to(const telemetry::logger& log) const {
  telemetry::value::list rows;
  std::string text = "shutdown (" + reason + ")" + (clean() ? " clean:" : " NOT clean:");
  for (const step& one : steps) {
    const double milliseconds = std::chrono::duration<double, std::milli>(one.took).count();
    telemetry::value::object row{{"name", one.name}, {"took_ms", milliseconds}};
    if (!one.trouble.empty()) row.push_back({"trouble", one.trouble});
    rows.emplace_back(std::move(row));
    text += " " + one.name + (one.trouble.empty() ? "" : " (" + one.trouble + ")") + ",";
  }
  text.pop_back();
  if (!overran.empty()) {
    text += "; overran:";
    for (const std::string& name : overran) text += " " + name;
  }
  const auto importance = clean() ? telemetry::level::info : telemetry::level::error;
  log.write(importance, "shutdown_report",
            {{"message", text},
             {"reason", reason},
             {"steps", std::move(rows)},
             {"overran", overran},
             {"forced", forced}});
}

}  // namespace belay::service
