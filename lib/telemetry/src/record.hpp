// SPDX-License-Identifier: Apache-2.0
#pragma once
// One record on its way to a line: merged fields, redaction, rendering.

#include <belay/core/error_detail.hpp>
#include <belay/core/failure.hpp>
#include <belay/telemetry/logger.hpp>
#include <chrono>
#include <span>
#include <string>
#include <string_view>

namespace belay::telemetry::detail {

struct record_view {
  std::chrono::system_clock::time_point time;
  level importance;
  std::string_view event;
  const failure* what;  // null: none
  std::span<const field> bound;
  std::span<const field> own;
};

struct render_rules {
  const redactor* secrets;
  std::size_t max_text_bytes;
  std::size_t max_trace_rows;
};

std::string render_json(const record_view& record, const render_rules& rules);
std::string render_pretty(const record_view& record, const render_rules& rules);

// Lazy values replaced by what they give, or by a placeholder when they throw.
value computed(const value& source) noexcept;

// The value of a detail; "[redacted]" for a sensitive one.
value detail_value(const error_detail& one);

// The failure as the value of a field: type, message, kind?, code?, details?, trace, notes?, attached?, cause?. Cycles
// end.
value failure_value(const failure& what, std::size_t max_trace_rows);

}  // namespace belay::telemetry::detail
