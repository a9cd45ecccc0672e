// SPDX-License-Identifier: Apache-2.0
#pragma once
// One writer, or any number of readers, also across awaits.

#include <belay/core/detail/wait_list.hpp>
#include <utility>

namespace belay {

class shared_mutex;

/// Holds a shared_mutex alone; unlocks it when it is destroyed. Move-only. Counts as held by the task in which it was moved last.
class [[nodiscard("the mutex is unlocked again at once")]] exclusive_guard {
 public:
  exclusive_guard() noexcept = default;
  exclusive_guard(exclusive_guard&& other) noexcept : on_(std::exchange(other.on_, nullptr)) { stamp(); }
  exclusive_guard& operator=(exclusive_guard&& other) noexcept {
    if (this != &other) {
      unlock();
      on_ = std::exchange(other.on_, nullptr);
      stamp();
    }
    return *this;
  }
  ~exclusive_guard() { unlock(); }
  /// Unlocks now. Idempotent.
  void unlock() noexcept;
  explicit operator bool() const noexcept { return on_ != nullptr; }

 private:
  friend class shared_mutex;
  explicit exclusive_guard(shared_mutex& on) noexcept : on_(&on) { stamp(); }
  void stamp() noexcept;
  shared_mutex* on_ = nullptr;
};

/// Holds a shared_mutex together with other readers; gives it up when it is destroyed. Move-only.
class [[nodiscard("the mutex is unlocked again at once")]] shared_guard {
 public:
  shared_guard() noexcept = default;
  shared_guard(shared_guard&& other) noexcept { take_over(other); }
  shared_guard& operator=(shared_guard&& other) noexcept {
    if (this != &other) {
      unlock();
      take_over(other);
    }
    return *this;
  }
  ~shared_guard() { unlock(); }
  /// Unlocks now. Idempotent.
  void unlock() noexcept;
  explicit operator bool() const noexcept { return on_ != nullptr; }

 private:
  friend class shared_mutex;
  explicit shared_guard(shared_mutex& on) noexcept { link(on); }
  void link(shared_mutex& on) noexcept;
  void unlink() noexcept;
  void take_over(shared_guard& other) noexcept;

  shared_mutex* on_ = nullptr;
  detail::node* owner_ = nullptr;  // only compared
  shared_guard* next_ = nullptr;
  shared_guard** link_ = nullptr;
};

/// Fair: one line, first come, first served. Readers who come after a waiting writer wait behind it, so that neither writers nor readers
/// starve; readers who stand side by side in the line go in together.
///
/// Must outlive its guards. Thread: the loop's only.
class shared_mutex {
  class waiter : public detail::list_wait {
   public:
    waiter(shared_mutex& on, bool alone) noexcept : list_wait(on.waiters_), on_(&on), alone_(alone) {}
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {alone_ ? "shared_mutex" : "shared_mutex (shared)", on_->name_};
    }
    [[nodiscard]] bool try_now() {
      granted_ = on_->waiters_.empty() && on_->let_in(alone_, detail::this_runtime->current);
      if (!granted_ && on_->held_by(*detail::this_runtime->current)) on_->refuse_relock();
      return granted_;
    }
    // A writer that leaves the line lets the readers behind it go on.
    void gave_up() noexcept override { on_->hand_on(); }

   protected:
    ~waiter() = default;
    friend class shared_mutex;
    shared_mutex* on_;
    bool alone_;
    bool granted_ = false;
  };

 public:
  /// `name` is for reports: a literal.
  explicit shared_mutex(const char* name = "") noexcept : name_(name) {}
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;

  class exclusive_awaiter final : public detail::prompt_wait<exclusive_awaiter, waiter> {
   public:
    explicit exclusive_awaiter(shared_mutex& on) noexcept : prompt_wait(on, true) {}
    exclusive_awaiter(const exclusive_awaiter&) = delete;
    exclusive_awaiter& operator=(const exclusive_awaiter&) = delete;
    ~exclusive_awaiter() {
      if (granted_) on_->leave_exclusive();
    }
    exclusive_guard await_resume() noexcept {
      granted_ = false;
      return exclusive_guard(*on_);
    }
  };
  class shared_awaiter final : public detail::prompt_wait<shared_awaiter, waiter> {
   public:
    explicit shared_awaiter(shared_mutex& on) noexcept : prompt_wait(on, false) {}
    shared_awaiter(const shared_awaiter&) = delete;
    shared_awaiter& operator=(const shared_awaiter&) = delete;
    ~shared_awaiter() {
      if (granted_) on_->leave_shared();
    }
    shared_guard await_resume() noexcept {
      granted_ = false;
      return shared_guard(*on_);
    }
  };

  /// Waits until nobody else holds it.
  ///
  /// Errors:        `misuse_error` when the running task holds it already, shared or not: it would wait for itself.
  /// Cancellation:  it is not taken; those behind in the line move up.
  [[nodiscard]] exclusive_awaiter lock() noexcept { return exclusive_awaiter(*this); }
  /// Waits until no writer holds it, nor waits since before.
  ///
  /// Errors:        `misuse_error` when the running task holds it already, and would have to wait.
  /// Cancellation:  as `lock`.
  [[nodiscard]] shared_awaiter lock_shared() noexcept { return shared_awaiter(*this); }
  /// Take it if that needs no waiting; otherwise the guard is empty. Inside of a loop only.
  [[nodiscard]] exclusive_guard try_lock();
  [[nodiscard]] shared_guard try_lock_shared();

  [[nodiscard]] bool locked() const noexcept { return writing_; }
  [[nodiscard]] std::size_t readers() const noexcept { return readers_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  friend class exclusive_guard;
  friend class shared_guard;
  [[nodiscard]] bool let_in(bool alone, detail::node* task) noexcept;
  void leave_exclusive() noexcept;
  void leave_shared() noexcept;
  void hand_on() noexcept;
  [[nodiscard]] bool held_by(const detail::node& task) const noexcept;
  [[noreturn]] void refuse_relock() const;

  const char* name_;
  bool writing_ = false;
  detail::node* writer_ = nullptr;  // only compared
  std::size_t readers_ = 0;
  shared_guard* guards_ = nullptr;  // of the readers
  detail::wait_list waiters_;
};

}  // namespace belay
