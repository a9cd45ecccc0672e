// SPDX-License-Identifier: Apache-2.0
// Telling other loops: a function is posted to each.

#include "bulletin.hpp"

#include <utility>

namespace accounts {

bulletin::place bulletin::join(std::function<void()> told) {
  auto who = std::make_shared<reader>(reader{.on = belay::loop::current(), .told = std::move(told)});
  const std::lock_guard<std::mutex> held(mutex_);
  readers_.push_back(who);
  return {*this, std::move(who)};
}

void bulletin::leave(const std::shared_ptr<reader>& who) noexcept {
  who->is_here = false;  // what was posted already finds nobody
  const std::lock_guard<std::mutex> held(mutex_);
  std::erase(readers_, who);
}

void bulletin::publish() {
  std::vector<std::shared_ptr<reader>> here;
  {
    // Whoever leaves waits for this lock, so that the loops of all who are in the list are running.
    const std::lock_guard<std::mutex> held(mutex_);
    for (const std::shared_ptr<reader>& one : readers_) {
      if (one->on == belay::loop::current()) {
        here.push_back(one);
      } else {
        one->on->post([one] {
          if (one->is_here) one->told();
        });
      }
    }
  }
  for (const std::shared_ptr<reader>& one : here) {
    if (one->is_here) one->told();
  }
}

}  // namespace accounts
