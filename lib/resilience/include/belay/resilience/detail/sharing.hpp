// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may use the state of a policy: one loop, which then pays for no lock, or all of them.

#include <atomic>
#include <mutex>

namespace belay::detail {

// A different address on each thread.
[[nodiscard]] const void* this_thread_mark() noexcept;
[[noreturn]] void refuse_other_thread(const char* what);

// Belongs to the thread that uses it first. (Atomic because another thread that uses it by mistake must find that out; a relaxed load costs
// nothing.)
class home_thread {
 public:
  void require(const char* what) {
    const void* const here = this_thread_mark();
    const void* at = at_.load(std::memory_order_relaxed);
    if (at == here) [[likely]]
      return;
    if (at != nullptr || !at_.compare_exchange_strong(at, here, std::memory_order_relaxed))
      refuse_other_thread(what);
  }

 private:
  std::atomic<const void*> at_{nullptr};
};

struct one_loop {
  static constexpr bool crosses_threads = false;
  struct mutex {};
  struct lock {
    explicit lock(mutex&) noexcept {}
    ~lock() {}
  };
  template <class T>
  class cell {
   public:
    [[nodiscard]] T get() const noexcept { return value_; }
    void set(T value) noexcept { value_ = value; }

   private:
    T value_{};
  };
  using home = home_thread;
};

struct all_loops {
  static constexpr bool crosses_threads = true;
  using mutex = std::mutex;
  using lock = std::lock_guard<std::mutex>;
  template <class T>
  class cell {
   public:
    [[nodiscard]] T get() const noexcept { return value_.load(std::memory_order_acquire); }
    void set(T value) noexcept { value_.store(value, std::memory_order_release); }

   private:
    std::atomic<T> value_{};
  };
  struct home {
    void require(const char*) const noexcept {}
  };
};

}  // namespace belay::detail
