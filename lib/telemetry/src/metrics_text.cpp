// SPDX-License-Identifier: Apache-2.0
// Metrics as text: Prometheus 0.0.4 and OpenMetrics 1.0.0.

#include <belay/telemetry/metrics_snapshot.hpp>

#include <charconv>
#include <cmath>
#include <optional>
#include <span>

namespace belay::telemetry {

namespace {

constexpr std::string_view total = "_total";

// The number as both formats read it: Go's ParseFloat takes these words.
void append_number(std::string& out, double number) {
  if (std::isnan(number)) {
    out += "NaN";
    return;
  }
  if (std::isinf(number)) {
    out += number > 0 ? "+Inf" : "-Inf";
    return;
  }
  char text[32];
  // Whole numbers without an exponent as long as they are exact.
  if (std::nearbyint(number) == number && std::fabs(number) < 9007199254740992.0) {
    out.append(text, std::to_chars(text, text + sizeof text, static_cast<std::int64_t>(number)).ptr);
    return;
  }
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

void append_count(std::string& out, std::uint64_t number) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

enum class quotes : unsigned char { keep, escape };

void append_escaped(std::string& out, std::string_view text, quotes how) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && how == quotes::escape) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

class writer {
 public:
  explicit writer(metrics_format format) noexcept : format_(format) {}

  void write(const metric& what) {
    const bool open = format_ == metrics_format::openmetrics;
    std::string_view name = what.name;
    // There the suffix belongs to the samples, not to the family.
    if (open && what.type == metric_type::counter && name.ends_with(total)) name.remove_suffix(total.size());
    out_ += "# HELP ";
    out_ += name;
    out_ += ' ';
    append_escaped(out_, what.help, open ? quotes::escape : quotes::keep);
    out_ += "\n# TYPE ";
    out_ += name;
    out_ += ' ';
    out_ += to_string(what.type);
    out_ += '\n';
    for (const metric_sample& one : what.samples) {
      if (what.type == metric_type::histogram) {
        write_histogram(what, one);
      } else {
        begin(what, one, "", std::nullopt);
        append_number(out_, one.value);
        out_ += '\n';
      }
    }
  }

  [[nodiscard]] std::string take() && {
    if (format_ == metrics_format::openmetrics) out_ += "# EOF\n";
    return std::move(out_);
  }

 private:
  void write_histogram(const metric& what, const metric_sample& one) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i != one.buckets.size(); ++i) {
      below += one.buckets[i];
      begin(what, one, "_bucket", i < what.bounds.size() ? bound_text(what.bounds[i]) : "+Inf");
      append_count(out_, below);
      out_ += '\n';
    }
    begin(what, one, "_sum", std::nullopt);
    append_number(out_, one.sum);
    out_ += '\n';
    begin(what, one, "_count", std::nullopt);
    append_count(out_, below);
    out_ += '\n';
  }

  [[nodiscard]] std::string bound_text(double bound) const {
    std::string text;
    append_number(text, bound);
    // OpenMetrics wants to see that it is a real number.
    if (format_ == metrics_format::openmetrics && text.find_first_of(".en") == std::string::npos)
      text += ".0";
    return text;
  }

  void begin(const metric& what, const metric_sample& one, std::string_view suffix,
             const std::optional<std::string>& le) {
    out_ += what.name;
    out_ += suffix;
    bool any = false;
    const auto label = [&](std::string_view name, std::string_view value) {
      out_ += any ? ',' : '{';
      any = true;
      out_ += name;
      out_ += "=\"";
      append_escaped(out_, value, quotes::escape);
      out_ += '"';
    };
    for (std::size_t i = 0; i != what.label_names.size(); ++i)
      label(what.label_names[i], one.label_values[i]);
    if (le) label("le", *le);
    out_ += any ? "} " : " ";
  }

  metrics_format format_;
  std::string out_;
};

std::string write_all(const metrics_snapshot& from, metrics_format format) {
  writer to(format);
  for (const metric& one : from) to.write(one);
  return std::move(to).take();
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// What comes before the next `mark`, which is taken away with it.
std::string_view next_part(std::string_view& text, char mark) noexcept {
  const std::size_t end = text.find(mark);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return trimmed(part);
}

bool equal_ignoring_case(std::string_view left, std::string_view right) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i != left.size(); ++i) {
    if (lower(left[i]) != lower(right[i])) return false;
  }
  return true;
}

// 0 to 1000, as in "q=0.75" (RFC 9110 section 12.4.2); what cannot be read is not wanted.
int weight_of(std::string_view parameters) noexcept {
  while (!parameters.empty()) {
    const std::string_view one = next_part(parameters, ';');
    if (one.size() < 2 || (one[0] != 'q' && one[0] != 'Q') || one[1] != '=') continue;
    double number = 0;
    const char* const end = one.data() + one.size();
    const auto [read_to, ec] = std::from_chars(one.data() + 2, end, number, std::chars_format::fixed);
    if (ec != std::errc() || read_to != end || number < 0 || number > 1) return 0;
    return static_cast<int>(number * 1000);
  }
  return 1000;
}

}  // namespace

std::string to_prometheus(const metrics_snapshot& from) {
  return write_all(from, metrics_format::prometheus);
}
std::string to_openmetrics(const metrics_snapshot& from) {
  return write_all(from, metrics_format::openmetrics);
}

metrics_format choose_metrics_format(std::string_view accept) noexcept {
  int open = 0;
  int plain = 0;
  while (!accept.empty()) {
    std::string_view range = next_part(accept, ',');
    const std::string_view type = next_part(range, ';');
    const int weight = weight_of(range);
    if (equal_ignoring_case(type, "application/openmetrics-text")) {
      open = std::max(open, weight);
    } else if (equal_ignoring_case(type, "text/plain") || type == "text/*") {
      plain = std::max(plain, weight);
    }
  }
  return open > 0 && open >= plain ? metrics_format::openmetrics : metrics_format::prometheus;
}

std::string_view media_type_of(metrics_format format) noexcept {
  return format == metrics_format::openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                               : "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace belay::telemetry
