// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the library starts threads.

#include <atomic>
#include <functional>
#include <thread>

namespace belay::detail {

// A thread that takes no signals: they are for the loop that watches them.
// Errors: std::system_error.
[[nodiscard]] std::thread start_thread(std::function<void()> run);

// The seam of tests: how many threads the system still gives us; negative: it is asked.
extern constinit std::atomic<int> threads_granted;

}  // namespace belay::detail
