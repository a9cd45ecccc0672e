// SPDX-License-Identifier: Apache-2.0
#pragma once
// A group whose tasks are handed out in the order in which they end; under as_completed.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <cstddef>
#include <source_location>
#include <utility>

namespace belay::detail {

struct completing : node {
  std::size_t index = 0;
  completing* next = nullptr;
};
template <class T>
struct completing_node final : completing {
  outcome<T> value;
};

class completing_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] completing* front() const noexcept { return head_; }
  void push_back(completing& one) noexcept {
    one.next = nullptr;
    *(tail_ != nullptr ? &tail_->next : &head_) = &one;
    tail_ = &one;
  }
  void push_front(completing& one) noexcept {
    one.next = head_;
    head_ = &one;
    if (tail_ == nullptr) tail_ = &one;
  }
  [[nodiscard]] completing* pop_front() noexcept {
    completing* const first = head_;
    if (first == nullptr) return nullptr;
    head_ = first->next;
    if (head_ == nullptr) tail_ = nullptr;
    return first;
  }

 private:
  completing* head_ = nullptr;
  completing* tail_ = nullptr;
};

class completion_core : public group_core {
 public:
  completion_core() noexcept : group_core(&child_left) {}
  completion_core(const completion_core&) = delete;
  completion_core& operator=(const completion_core&) = delete;
  ~completion_core();

  // A task with a node that is not in the group yet. In the order of the indices; all of them before `begin`.
  void add(completing& task) noexcept;
  void begin(std::size_t limit, std::source_location where) noexcept;
  // The body has ended: cancels what runs, and destroys what has not begun.
  void leave(const outcome_base& how) noexcept;
  // When all have ended: what failed and was not handed out is attached to the failure of the body, if it has one.
  void closed(outcome_base& how) noexcept;

  class taker : public prompt_wait<taker> {
   public:
    explicit taker(completion_core& from) noexcept : prompt_wait(from.takers_), from_(&from) {}
    taker(const taker&) = delete;
    taker& operator=(const taker&) = delete;
    [[nodiscard]] bool try_now() noexcept {
      taken_ = from_->take();
      return taken_ != nullptr || from_->to_come_ == 0;
    }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"one of its tasks to end", ""}; }

   protected:
    // One that was given to a task that is unwound before it goes on is there for the next.
    ~taker() {
      if (taken_ != nullptr) from_->put_back(*taken_);
    }
    [[nodiscard]] completing* taken() noexcept { return std::exchange(taken_, nullptr); }

   private:
    friend class completion_core;
    completion_core* from_;
    completing* taken_ = nullptr;
  };

  [[nodiscard]] std::size_t to_come() const noexcept { return to_come_; }

 private:
  static void child_left(group_core& self, node& task) noexcept;
  [[nodiscard]] completing* take() noexcept;
  void put_back(completing& one) noexcept;
  void hand_out() noexcept;
  void drop_not_begun() noexcept;

  completing_list not_begun_;
  completing_list ended_;
  wait_list takers_;
  std::size_t to_come_ = 0;  // not handed out yet
};

[[noreturn]] void throw_misuse_as_completed_limit(std::source_location where);
[[noreturn]] void throw_misuse_as_completed_again(std::source_location where);

}  // namespace belay::detail
