// SPDX-License-Identifier: Apache-2.0
// One record for each error that a guard tells.

#include <belay/telemetry/error_log.hpp>

#include "record.hpp"

namespace belay::telemetry {

namespace {

level importance_of(severity how) noexcept {
  switch (how) {
    case severity::expected: return level::info;
    case severity::warning: return level::warn;
    case severity::critical: break;
  }
  return level::error;
}

}  // namespace

void error_log::record(const error_event& told) {
  fields own;
  if (!told.operation.empty()) own.push_back({"operation", told.operation});
  if (!told.as.code.empty()) own.push_back({"code", told.as.code});
  own.push_back({"retryable", told.as.retryable});
  for (const error_detail& one : told.context)
    own.push_back({std::string(one.key()), detail::detail_value(one)});
  log_.write(importance_of(told.importance), event_, told.what, own);
}

}  // namespace belay::telemetry
