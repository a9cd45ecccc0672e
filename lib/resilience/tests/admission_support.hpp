// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of breakers, bulkheads and limiters share.

#include <belay/core/event.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/testing/test_loop.hpp>
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

namespace admission_tests {

namespace b = belay;
namespace t = belay::testing;
using namespace std::chrono_literals;

using trail = std::vector<std::string>;

// A service that does not work.
struct outage : b::error {
  explicit outage(std::string words) : error(b::error_kind::unavailable, "outage", std::move(words)) {}
};
struct boom : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Writes down what a policy tells. Must outlive it.
struct changes {
  trail states;
  trail all;
  [[nodiscard]] b::policy_listener listener() {
    return [this](const b::policy_event& event) {
      all.emplace_back(std::string(to_string(event.action)) + ": " + std::string(event.policy));
      if (event.action == b::policy_action::state_changed) states.emplace_back(event.detail);
    };
  }
};

}  // namespace admission_tests
