// SPDX-License-Identifier: Apache-2.0
#pragma once
// Questions about names to the system: each on a thread, a few at once.

#include <belay/core/event.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/single_flight.hpp>
#include <belay/core/task.hpp>

#include <atomic>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

namespace belay::io::detail {

struct looked_up {
  std::vector<std::string> addresses{};
  int failed = 0;  // EAI_...
  int system = 0;  // errno, with EAI_SYSTEM
};

/// Those of one thread with a loop. Name servers that do not answer hold a thread for half a minute each, also when nobody waits any more: so
/// `most` threads of `to_thread` at once are given to it, those that were left behind included, and the rest of the threads goes on with
/// other work. Others wait in line. Who asks for the same name meanwhile waits for the same answer.
class lookups {
 public:
  using ask_function = looked_up (*)(std::string host);
  explicit lookups(ask_function ask, unsigned most = 4);

  /// Cancellation: at once. Thread: the loop's.
  [[nodiscard]] task<looked_up> ask(std::string host);

 private:
  class place;
  task<looked_up> ask_in_turn(const std::string& host);

  ask_function ask_;
  unsigned most_;
  std::shared_ptr<std::atomic<unsigned>> busy_ = std::make_shared<std::atomic<unsigned>>(0);
  mutex line_{"looking up names"};
  event freed_{"a thread to look up a name"};
  single_flight<std::string, looked_up> flights_;
};

}  // namespace belay::io::detail
