// SPDX-License-Identifier: Apache-2.0
// One record for each event of a policy.

#include <belay/errors/classify.hpp>
#include <belay/telemetry/policy_log.hpp>

#include <chrono>
#include <utility>

namespace belay::telemetry {

namespace {

level importance_of(policy_severity how) noexcept {
  switch (how) {
    case policy_severity::debug: return level::debug;
    case policy_severity::info: return level::info;
    case policy_severity::warning: break;
  }
  return level::warn;
}

fields fields_of(const policy_event& told) {
  fields all{{"policy", told.policy}, {"kind", to_string(told.kind)}, {"action", to_string(told.action)}};
  if (!told.detail.empty()) all.push_back({"detail", told.detail});
  if (told.number != 0) all.push_back({"number", told.number});
  if (told.length != duration::zero())
    all.push_back({"length_ms", std::chrono::duration<double, std::milli>(told.length).count()});
  if (told.what) {
    all.push_back({"code", classify(told.what).code});
    all.push_back({"error", told.what.message()});
  }
  return all;
}

}  // namespace

policy_listener policy_log(logger to, std::string event) {
  return [log = std::move(to), name = std::move(event)](const policy_event& told) {
    log.write(importance_of(severity_of(told.action)), name, [&told] { return fields_of(told); });
  };
}

}  // namespace belay::telemetry
