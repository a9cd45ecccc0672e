// SPDX-License-Identifier: Apache-2.0
// A failure with all that belongs to it, as nested log fields.

#include <fmt/format.h>

#include <belay/core/error.hpp>
#include <belay/telemetry/redactor.hpp>
#include <algorithm>
#include <variant>

#include "record.hpp"

namespace belay::telemetry::detail {

value detail_value(const error_detail& one) {
  if (one.is_sensitive()) return value(redacted_text);
  return std::visit([](const auto& held) { return value(held); }, one.value());
}

namespace {

constexpr std::size_t max_depth = 7;    // causes of causes; deeper ones are cut (two levels of JSON each)
constexpr std::size_t max_nodes = 200;  // failures in one record, whatever their shape

std::string place(const std::source_location& where) {
  return fmt::format("{}:{}", where.file_name(), where.line());
}

value::list trace_rows(const failure& what, std::size_t limit) {
  const auto trace = what.trace();
  value::list rows;
  if (trace.size() <= limit || limit < 2) {
    const std::size_t count = std::min(trace.size(), std::max<std::size_t>(limit, 1));
    for (std::size_t i = 0; i < count; ++i) rows.emplace_back(place(trace[i]));
    return rows;
  }
  // Where it arose and who asked for it matter most: the middle goes.
  const std::size_t tail = limit / 4;
  const std::size_t head = limit - tail;
  for (std::size_t i = 0; i < head; ++i) rows.emplace_back(place(trace[i]));
  rows.emplace_back(fmt::format("... {} more", trace.size() - limit));
  for (std::size_t i = trace.size() - tail; i < trace.size(); ++i) rows.emplace_back(place(trace[i]));
  return rows;
}

value details_of(const belay::error& known) {
  fields all;
  for (const error_detail& one : known.details()) all.push_back({std::string(one.key()), detail_value(one)});
  return value(std::move(all));
}

class builder {
 public:
  explicit builder(std::size_t max_trace_rows) : max_trace_rows_(max_trace_rows) {}

  value build(const failure& what) {
    what.observe();
    fields out;
    out.push_back({"type", what.type_name()});
    out.push_back({"message", what.message()});
    // The same failure twice (or a circle of causes) is told once.
    if (std::find(seen_.begin(), seen_.end(), what) != seen_.end()) {
      out.push_back({"repeated", true});
      return value(std::move(out));
    }
    if (path_ >= max_depth || seen_.size() >= max_nodes) {
      out.push_back({"truncated", true});
      return value(std::move(out));
    }
    seen_.push_back(what);
    if (const auto* known = belay::detail::exception_as<belay::error>(what.exception())) {
      out.push_back({"kind", belay::to_string(known->kind())});
      if (!known->code().empty()) out.push_back({"code", known->code()});
      if (!known->details().empty()) out.push_back({"details", details_of(*known)});
    }
    value::list rows = trace_rows(what, max_trace_rows_);
    if (!rows.empty()) out.push_back({"trace", value(std::move(rows))});
    value::list notes;
    for (const std::string& note : what.notes()) notes.emplace_back(note);
    if (!notes.empty()) out.push_back({"notes", value(std::move(notes))});
    ++path_;
    value::list attached;
    for (const failure& other : what.attached()) attached.push_back(build(other));
    if (!attached.empty()) out.push_back({"attached", value(std::move(attached))});
    if (const failure cause = what.cause()) out.push_back({"cause", build(cause)});
    --path_;
    return value(std::move(out));
  }

 private:
  const std::size_t max_trace_rows_;
  std::size_t path_ = 0;
  std::vector<failure> seen_;
};

}  // namespace

value failure_value(const failure& what, std::size_t max_trace_rows) {
  return builder(max_trace_rows).build(what);
}

}  // namespace belay::telemetry::detail
