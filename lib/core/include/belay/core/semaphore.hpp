// SPDX-License-Identifier: Apache-2.0
#pragma once
// A number of permits, handed out in order.

#include <belay/core/detail/wait_list.hpp>
#include <cstddef>
#include <utility>

namespace belay {

class semaphore;

/// One permit; given back when it is destroyed.
class [[nodiscard]] permit {
 public:
  permit() noexcept = default;
  permit(permit&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
  permit& operator=(permit&& other) noexcept {
    std::swap(from_, other.from_);
    return *this;
  }
  ~permit() { release(); }
  /// Gives it back now. Idempotent.
  void release() noexcept;
  explicit operator bool() const noexcept { return from_ != nullptr; }

 private:
  friend class semaphore;
  explicit permit(semaphore& from) noexcept : from_(&from) {}
  semaphore* from_ = nullptr;
};

/// Fair: first come, first served. Must outlive its permits. Thread: the loop's only.
class semaphore {
 public:
  /// `name` is for reports: a literal. Errors: `misuse_error` for zero permits.
  explicit semaphore(std::size_t permits, const char* name = "");
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;
  ~semaphore() {
    if (watched_) [[unlikely]]
      tell_gone();
  }

  class awaiter final : public detail::list_wait {
   public:
    explicit awaiter(semaphore& from) noexcept : list_wait(from.waiters_), from_(&from) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    // A permit that was handed over to a task that is unwound before it goes on is passed to the next in line.
    ~awaiter() {
      if (granted_) from_->give_back();
    }
    permit await_resume() noexcept {
      granted_ = false;
      return permit(*from_);
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"semaphore", from_->name_}; }
    [[nodiscard]] semaphore& source() const noexcept { return *from_; }
    [[nodiscard]] bool try_now() noexcept { return granted_ = from_->take(); }

   private:
    friend class semaphore;
    void start() override {
      if (try_now()) {
        complete();
      } else {
        enqueue();
      }
    }
    semaphore* from_;
    bool granted_ = false;
  };

  /// Waits for a permit. Cancellation: no permit is taken; those behind in the line move up.
  [[nodiscard]] awaiter acquire() noexcept { return awaiter(*this); }
  /// A permit if one is free and nobody waits for it; otherwise an empty one.
  [[nodiscard]] permit try_acquire() noexcept { return take() ? permit(*this) : permit(); }

  // For the drivers: `watch::at_gone` is told when it goes.
  void be_watched() noexcept { watched_ = true; }

  [[nodiscard]] std::size_t free() const noexcept { return free_; }
  /// As many as it was made with.
  [[nodiscard]] std::size_t permits() const noexcept { return permits_; }
  [[nodiscard]] const char* name() const noexcept { return name_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
  friend class permit;
  [[nodiscard]] bool take() noexcept {
    if (free_ == 0 || !waiters_.empty()) return false;
    --free_;
    return true;
  }
  void give_back() noexcept;
  void tell_gone() noexcept;

  const std::size_t permits_;
  std::size_t free_;
  const char* name_;
  bool watched_ = false;
  detail::wait_list waiters_;
};

}  // namespace belay
