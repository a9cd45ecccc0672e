// SPDX-License-Identifier: Apache-2.0
// The shutdown report as a log record and as text.

#include <belay/core/detail/place.hpp>
#include <belay/service/shutdown_report.hpp>

#include <algorithm>
#include <array>
#include <chrono>

namespace belay::service {

namespace {

constexpr std::size_t most_rows = 32;

double milliseconds(duration length) { return std::chrono::duration<double, std::milli>(length).count(); }

// Rounded, so that a column of them can be read.
std::string length_text(duration length) {
  using namespace std::chrono;
  if (length == duration::max()) return "none";
  return belay::detail::length_text(length < 10ms ? round<microseconds>(length)
                                                  : round<std::chrono::milliseconds>(length));
}

using row = std::array<std::string, 6>;

row to_row(const shutdown_report::step& one) {
  return {std::string(one.phase),
          one.name,
          length_text(one.began),
          length_text(one.took),
          one.limit ? length_text(*one.limit) : "-",
          one.trouble};
}

void append(std::string& to, const std::vector<row>& rows) {
  std::array<std::size_t, 5> widths{};
  for (const row& one : rows) {
    for (std::size_t i = 0; i != widths.size(); ++i) widths[i] = std::max(widths[i], one[i].size());
  }
  for (const row& one : rows) {
    std::string line = " ";
    for (std::size_t i = 0; i != widths.size(); ++i) {
      line += " " + one[i] + std::string(widths[i] - one[i].size() + 1, ' ');
    }
    line += " " + one[5];
    line.erase(line.find_last_not_of(' ') + 1);
    to += line + '\n';
  }
}

void append(std::string& to, std::string_view title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  to += "  " + std::string(title) + ":";
  std::size_t told = 0;
  for (const std::string& name : names) {
    if (++told > 16) {
      to += " and " + std::to_string(names.size() - 16) + " more";
      break;
    }
    to += (told == 1 ? " " : ", ") + name;
  }
  to += '\n';
}

// Which rows to show: all, or those with trouble and then the slowest.
std::vector<const shutdown_report::step*> worth_showing(const std::vector<shutdown_report::step>& all) {
  std::vector<const shutdown_report::step*> shown;
  for (const auto& one : all) shown.push_back(&one);
  if (shown.size() <= most_rows) return shown;
  std::sort(shown.begin(), shown.end(), [](const auto* a, const auto* b) {
    if (a->trouble.empty() != b->trouble.empty()) return b->trouble.empty();
    return a->took != b->took ? a->took > b->took : a < b;
  });
  shown.resize(most_rows);
  std::sort(shown.begin(), shown.end());  // again in the order in which they stopped
  return shown;
}

}  // namespace

void shutdown_report::begin(time_point at) noexcept {
  if (!begun) begun = at;
}

void shutdown_report::add(step what, time_point ended) {
  begin(ended - what.took);
  what.began = std::max(duration::zero(), ended - what.took - *begun);
  took = std::max(took, ended - *begun);
  steps.push_back(std::move(what));
}

void shutdown_report::give_up() {
  overran.insert(overran.end(), open.rbegin(), open.rend());
  open.clear();
}

std::string shutdown_report::text() const {
  std::string out = (program.empty() ? "" : program + ": ") + "shutdown (" + reason + ") " +
                    (clean() ? "clean, " : "NOT clean, ") + length_text(took) +
                    (forced ? ", forced\n" : "\n");
  std::vector<row> rows{{"phase", "what", "began", "took", "limit", ""}};
  const auto shown = worth_showing(steps);
  for (const step* one : shown) rows.push_back(to_row(*one));
  if (!shown.empty()) append(out, rows);
  if (shown.size() != steps.size()) {
    out += "  and " + std::to_string(steps.size() - shown.size()) + " more, faster ones\n";
  }
  append(out, "overran", overran);
  append(out, "cancelled", cancelled);
  append(out, "not closed", open);
  if (abandoned_calls != 0)
    out += "  abandoned calls that still run: " + std::to_string(abandoned_calls) + '\n';
  if (lost_failures != 0) out += "  lost failures: " + std::to_string(lost_failures) + '\n';
  return out;
}

void shutdown_report::write_to(const telemetry::logger& log) const {
  telemetry::value::list rows;
  std::string message = "shutdown (" + reason + ")" + (clean() ? " clean:" : " NOT clean:");
  for (const step& one : steps) {
    telemetry::value::object row{{"name", one.name},
                                 {"phase", one.phase},
                                 {"began_ms", milliseconds(one.began)},
                                 {"took_ms", milliseconds(one.took)}};
    if (one.limit && *one.limit != duration::max()) row.push_back({"limit_ms", milliseconds(*one.limit)});
    if (!one.trouble.empty()) row.push_back({"trouble", one.trouble});
    rows.emplace_back(std::move(row));
    message += " " + one.name + (one.trouble.empty() ? "" : " (" + one.trouble + ")") + ",";
  }
  message.pop_back();
  if (!overran.empty()) {
    message += "; overran:";
    for (const std::string& name : overran) message += " " + name;
  }
  log.write(clean() ? telemetry::level::info : telemetry::level::error, "shutdown_report",
            {{"message", message},
             {"reason", reason},
             {"took_ms", milliseconds(took)},
             {"steps", std::move(rows)},
             {"overran", overran},
             {"cancelled", cancelled},
             {"abandoned_calls", static_cast<std::int64_t>(abandoned_calls)},
             {"lost_failures", static_cast<std::int64_t>(lost_failures)},
             {"forced", forced}});
}

}  // namespace belay::service
