// SPDX-License-Identifier: Apache-2.0
#pragma once
// The one way in which fakes wait: until something can be done, which others or the time may make possible.

#include <belay/core/operation.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/time.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace belay::testing::detail {

class condition_wait;

// Those who wait for changes of one thing, in order.
class condition_list {
 public:
  condition_list() noexcept = default;
  condition_list(const condition_list&) = delete;
  condition_list& operator=(const condition_list&) = delete;

  // Something has changed: who can go on now goes on. May be called by those who do: that is done afterwards.
  void changed() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const condition_wait* front() const noexcept { return head_; }

 private:
  friend class condition_wait;
  condition_wait* head_ = nullptr;
  condition_wait* tail_ = nullptr;
  std::size_t size_ = 0;
  bool telling_ = false;
  bool again_ = false;
};

// An operation that is done as soon as `attempt` succeeds: at the start, after a change of its list, or at the time that
// it gave. What it does is done in that moment, so that a cancellation finds it either not done or finished.
class condition_wait : public operation, private belay::detail::timer_node {
 public:
  explicit condition_wait(condition_list& on) noexcept : list_(&on) { fire = &condition_wait::fired; }
  [[nodiscard]] const condition_wait* next_waiting() const noexcept { return next_; }

 protected:
  ~condition_wait() = default;

  // Done: nothing. Otherwise the time at which to try again even if nothing changes; `time_point::max()`: none.
  [[nodiscard]] virtual std::optional<time_point> attempt() noexcept = 0;

  // Derived classes that override it must call it.
  void start() override {
    if (try_now()) return complete();
    prev_ = list_->tail_;
    next_ = nullptr;
    (prev_ != nullptr ? prev_->next_ : list_->head_) = this;
    list_->tail_ = this;
    ++list_->size_;
  }

  bool abort() noexcept override {
    disarm();
    unlink();
    return true;
  }

 private:
  friend class condition_list;

  // Leaves a timer behind when it is not done.
  [[nodiscard]] bool try_now() noexcept {
    trying_ = true;
    const std::optional<time_point> again = attempt();
    trying_ = false;
    if (!again) return true;
    if (*again != time_point::max()) {
      due = static_cast<std::uint64_t>(again->time_since_epoch().count());
      belay::detail::this_runtime->timers->insert(*this);
    }
    return false;
  }

  // Only while it is in the list. What `attempt` changes may lead back here: it is not asked twice.
  void try_again() noexcept {
    if (trying_) return;
    disarm();
    if (!try_now()) return;
    unlink();
    complete();
  }

  static void fired(belay::detail::timer_node& timer) noexcept {
    static_cast<condition_wait&>(timer).try_again();
  }
  void disarm() noexcept {
    if (linked()) belay::detail::this_runtime->timers->remove(*this);
  }
  void unlink() noexcept {
    (prev_ != nullptr ? prev_->next_ : list_->head_) = next_;
    (next_ != nullptr ? next_->prev_ : list_->tail_) = prev_;
    --list_->size_;
  }

  condition_list* list_;
  condition_wait* prev_ = nullptr;
  condition_wait* next_ = nullptr;
  bool trying_ = false;
};

inline void condition_list::changed() noexcept {
  again_ = true;
  if (telling_) return;
  telling_ = true;
  while (again_) {
    again_ = false;
    for (condition_wait* one = head_; one != nullptr;) {
      condition_wait* following = one->next_;
      one->try_again();
      one = following;
    }
  }
  telling_ = false;
}

}  // namespace belay::testing::detail
