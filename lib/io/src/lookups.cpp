// SPDX-License-Identifier: Apache-2.0
// Questions about names to the system.

#include "lookups.hpp"

#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>

#include <chrono>
#include <utility>

namespace belay::io::detail {

namespace {

task<> wait_for(event& what) { co_await what.wait(); }

}  // namespace

// One of the threads: taken by a loop, given back on whichever thread the question ends.
class lookups::place {
 public:
  explicit place(std::shared_ptr<std::atomic<unsigned>> of) noexcept : of_(std::move(of)) { ++*of_; }
  place(place&&) noexcept = default;
  place& operator=(place&&) = delete;
  ~place() {
    if (of_) --*of_;
  }

 private:
  std::shared_ptr<std::atomic<unsigned>> of_;
};

lookups::lookups(ask_function ask, unsigned most)
    : ask_(ask),
      most_(most),
      flights_([this](const std::string& host) -> task<looked_up> { co_return co_await ask_in_turn(host); },
               "looking up a name") {}

task<looked_up> lookups::ask(std::string host) { co_return co_await flights_.call(std::move(host)); }

task<looked_up> lookups::ask_in_turn(const std::string& host) {
  std::unique_ptr<place> mine;
  {
    const mutex_guard first = co_await line_.lock();
    while (busy_->load() >= most_) {
      freed_.reset();
      // A question that was left behind ends on its thread, which cannot tell: it is looked for.
      static_cast<void>(co_await move_on_after(std::chrono::milliseconds(10), wait_for(freed_)));
    }
    mine = std::make_unique<place>(busy_);
  }
  struct telling {
    event& what;
    ~telling() { what.set(); }
  } const at_end{freed_};
  co_return co_await to_thread(
      abandon("look up '" + host + "'"),
      [](std::unique_ptr<place> held, ask_function how, std::string name) {
        looked_up found = how(std::move(name));
        held.reset();
        return found;
      },
      std::move(mine), ask_, std::string(host));
}

}  // namespace belay::io::detail
