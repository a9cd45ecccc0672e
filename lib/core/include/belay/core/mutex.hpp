// SPDX-License-Identifier: Apache-2.0
#pragma once
// One task at a time, also across awaits.

#include <belay/core/detail/wait_list.hpp>
#include <utility>

namespace belay {

class mutex;
class condition;

namespace detail {

// Somebody in the line of a mutex: a `lock()`, or the waiter of a condition that wants it back.
class mutex_wait : public list_wait {
 public:
  using list_wait::list_wait;
  // The mutex is its own now.
  virtual void acquired() noexcept = 0;

 protected:
  ~mutex_wait() = default;
};

}  // namespace detail

/// Holds a mutex; unlocks it when it is destroyed, whichever way the task ends. Move-only.
///
/// It counts as held by the task that locked it, or in which the guard was moved last. It should not outlive that task.
class [[nodiscard("the mutex is unlocked again at once")]] mutex_guard {
 public:
  mutex_guard() noexcept = default;
  mutex_guard(mutex_guard&& other) noexcept : on_(std::exchange(other.on_, nullptr)) { stamp(); }
  mutex_guard& operator=(mutex_guard&& other) noexcept {
    if (this != &other) {
      unlock();
      on_ = std::exchange(other.on_, nullptr);
      stamp();
    }
    return *this;
  }
  ~mutex_guard() { unlock(); }

  /// Unlocks now; the next in line has it. Idempotent.
  void unlock() noexcept;
  /// Holds a mutex.
  explicit operator bool() const noexcept { return on_ != nullptr; }

 private:
  friend class mutex;
  friend class condition;
  explicit mutex_guard(mutex& on) noexcept : on_(&on) { stamp(); }
  void stamp() noexcept;

  mutex* on_ = nullptr;
};

/// Mutual exclusion of tasks. Code between two awaits is never interrupted by another task, and needs none.
///
/// Fair: first come, first served; nobody overtakes those who wait. Must outlive its guards. Thread: the loop's only.
class mutex {
 public:
  /// `name` is for reports: a literal.
  explicit mutex(const char* name = "") noexcept : name_(name) {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  class awaiter final : public detail::prompt_wait<awaiter, detail::mutex_wait> {
   public:
    explicit awaiter(mutex& on) noexcept : prompt_wait(on.waiters_), on_(&on) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    // Handed over to a task that is unwound before it goes on: it is the next one's.
    ~awaiter() {
      if (granted_) on_->hand_on();
    }
    mutex_guard await_resume() noexcept {
      granted_ = false;
      return mutex_guard(*on_);
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"mutex", on_->name_}; }
    [[nodiscard]] bool try_now() {
      granted_ = on_->take(detail::this_runtime->current);
      if (!granted_ && on_->owner_ == detail::this_runtime->current) on_->refuse_relock();
      return granted_;
    }

   private:
    void acquired() noexcept override {
      granted_ = true;
      on_->owner_ = &waiting_task();
      wake();
    }
    mutex* on_;
    bool granted_ = false;
  };

  /// Waits until the mutex is free: `const mutex_guard here = co_await m.lock();`
  ///
  /// Errors:        `misuse_error` when the running task holds it already: it would wait for itself.
  /// Cancellation:  it is not taken; those behind in the line move up. Requested before: acts even if the mutex is free.
  [[nodiscard]] awaiter lock() noexcept { return awaiter(*this); }

  /// Takes it if it is free; otherwise the guard is empty. Inside of a loop only.
  [[nodiscard]] mutex_guard try_lock();

  [[nodiscard]] bool locked() const noexcept { return locked_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  friend class mutex_guard;
  friend class condition;
  [[nodiscard]] bool take(detail::node* by) noexcept {
    if (locked_) return false;  // in a line there is nobody while it is free
    locked_ = true;
    owner_ = by;
    return true;
  }
  void hand_on() noexcept;
  [[noreturn]] void refuse_relock() const;

  const char* name_;
  bool locked_ = false;
  detail::node* owner_ = nullptr;  // only compared, never followed
  detail::wait_list waiters_;      // of mutex_wait
};

inline void mutex_guard::unlock() noexcept {
  if (on_ != nullptr) std::exchange(on_, nullptr)->hand_on();
}

inline void mutex_guard::stamp() noexcept {
  if (on_ != nullptr && detail::this_runtime != nullptr) on_->owner_ = detail::this_runtime->current;
}

}  // namespace belay
