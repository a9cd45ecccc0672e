// SPDX-License-Identifier: Apache-2.0
// One counter for each kind of event of a policy.

#include <belay/telemetry/policy_metrics.hpp>

#include <map>
#include <memory>
#include <string>

namespace belay::telemetry {

policy_listener policy_metrics(metrics& into) {
  auto& events = into.counters("belay_policy_events_total", "What policies did, by policy, kind and action.",
                               {"policy", "kind", "action"});
  auto& states =
      into.gauges("belay_policy_state", "The state of policies that have one: 1 for the present one.",
                  {"policy", "state"});
  // The state that each policy was in, to be set to 0.
  auto before = std::make_shared<std::map<std::string, std::string, std::less<>>>();
  return [&events, &states, before](const policy_event& told) {
    events.at({told.policy, to_string(told.kind), to_string(told.action)}).add();
    if (told.action != policy_action::state_changed) return;
    const auto known = before->find(told.policy);
    if (known != before->end()) states.at({told.policy, known->second}).set(0);
    states.at({told.policy, told.detail}).set(1);
    before->insert_or_assign(std::string(told.policy), std::string(told.detail));
  };
}

}  // namespace belay::telemetry
