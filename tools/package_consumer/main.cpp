// SPDX-License-Identifier: Apache-2.0
// Shows that an installed core works by itself: awaits, sleeps, and gives its sum as the exit status. Exit: 7.
#include <belay/core/all.hpp>
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>

#include <chrono>

belay::task<int> after_a_moment(int value) {
  co_await belay::sleep_for(std::chrono::milliseconds(1));
  co_return value;
}

belay::task<int> sum() {
  auto [three, four] = co_await belay::all(after_a_moment(3), after_a_moment(4));
  co_return three + four;
}

int main() { return belay::run(sum()); }
