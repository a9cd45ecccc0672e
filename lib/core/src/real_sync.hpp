// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the protocols between threads are made of. They are templates over it, so that a test can put its own in place and try every
// interleaving of the very code that runs (tests/interleavings_test.cpp).

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace belay::detail {

struct real_sync {
  template <class T>
  using atomic = std::atomic<T>;
  using mutex = std::mutex;
  using condition = std::condition_variable;

  // Waits for others that are about to be done.
  template <class T>
  static void spin_until(const std::atomic<T>& what, T value) noexcept {
    while (what.load(std::memory_order_acquire) != value) std::this_thread::yield();
  }
};

}  // namespace belay::detail
