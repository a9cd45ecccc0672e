// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the library starts threads.

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace belay::detail {

// While it lives, this thread takes no signals that are sent to the process, and a thread that it starts never does: they are for the loop
// that watches them. Those that an instruction of the thread itself raises (SIGSEGV and its like, abort) come as ever, and a profiler's.
class signals_left_to_the_loop {
 public:
  signals_left_to_the_loop() noexcept;
  signals_left_to_the_loop(const signals_left_to_the_loop&) = delete;
  signals_left_to_the_loop& operator=(const signals_left_to_the_loop&) = delete;
  ~signals_left_to_the_loop() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

// A thread that takes none of those signals. Errors: std::system_error.
[[nodiscard]] std::thread start_thread(std::function<void()> run);

// The seam of tests: how many threads the system still gives us; negative: it is asked.
extern constinit std::atomic<int> threads_granted;

}  // namespace belay::detail
