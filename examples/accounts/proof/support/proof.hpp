// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is proven of a request, and the drivers that do it.

#include <belay/core/task_function.hpp>
#include <belay/testing/everywhere.hpp>
#include <functional>
#include <string>
#include <vector>

#include "support/world.hpp"

namespace proof {

/// Requests to the bank, sent at the same time, and what must hold of them beside the rules of `world`.
struct exchange {
  std::string name;
  std::vector<std::string> requests;
  /// Of all answers, when nothing disturbs them; 0: each is a success of its own kind.
  int status = 200;
  /// Adds rules of its own.
  std::function<void(belay::testing::stage&, world&)> rules = {};
  /// Asked after the run; an error is a finding. Always, too: another transfer succeeds.
  belay::task_function<belay::task<>(world&)> afterwards = {};
  /// How the app becomes the bank; empty: as the program does it.
  world::assembly put_together = {};
  /// The name of a new database for each run; empty: in memory.
  std::function<std::string()> storage = {};
  belay::testing::network_conditions network = {};
  /// Runs on the same network as long as the service does, undisturbed: whom the bank asks.
  belay::task_function<belay::task<>(world&)> beside = {};
};

/// For `exchange::rules`, with one request: answered with success, it is done; answered with an error, it is not.
std::function<void(belay::testing::stage&, world&)> is_truthful(std::function<bool(const books&)> done);
/// It is none that changes anything.
std::function<void(belay::testing::stage&, world&)> changes_nothing();

/// What happens outside of the bank, at any await.
struct event_outside {
  const char* name;
  /// One who stays learns what became of his request: without an answer, it was not done.
  enum class client : unsigned char { stays, goes } then;
  void (*happens)(world&);
};
/// The connections are lost; the clients leave; the service is told to stop; that and the first; half a second passes.
extern const std::vector<event_outside> events_outside;

/// The whole service handles `what`, under the drivers. Also with a second cancel and with a failing cleanup.
belay::testing::report cancel_everywhere(const exchange& what);
belay::testing::report fail_everywhere(const exchange& what);
/// The service must end with exit code 0, whatever happens outside.
belay::testing::report disturb_everywhere(const exchange& what, const event_outside& how);
/// In so many orders of the ready tasks, with a cancel or a failure in two of three.
belay::testing::report explore(const exchange& what, std::uint64_t seeds);

/// All of them. What they have done is printed, a finding fails the test case.
void prove(const exchange& what);
void check(const belay::testing::report& found);

}  // namespace proof
