// SPDX-License-Identifier: Apache-2.0
#pragma once
// First-in-first-out lists of waiting tasks, under the synchronisation primitives.

#include <belay/core/operation.hpp>

namespace belay::detail {

class list_wait;

class wait_list {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] list_wait* front() const noexcept { return head_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  friend class list_wait;
  list_wait* head_ = nullptr;
  list_wait* tail_ = nullptr;
  std::size_t size_ = 0;
};

class list_wait : public operation {
 public:
  explicit list_wait(wait_list& list) noexcept : list_(&list) {}
  // Takes the waiter out of its list and lets its task go on.
  void wake() noexcept {
    remove();
    complete();
  }

 protected:
  ~list_wait() = default;
  [[nodiscard]] static bool cancel_pending() noexcept { return this_runtime->current->cancel_pending(); }
  void enqueue() noexcept {
    prev_ = list_->tail_;
    next_ = nullptr;
    (prev_ != nullptr ? prev_->next_ : list_->head_) = this;
    list_->tail_ = this;
    ++list_->size_;
  }
  bool abort() noexcept override {
    remove();
    return true;
  }

 private:
  void remove() noexcept {
    (prev_ != nullptr ? prev_->next_ : list_->head_) = next_;
    (next_ != nullptr ? next_->prev_ : list_->tail_) = prev_;
    --list_->size_;
  }

  wait_list* list_;
  list_wait* prev_ = nullptr;
  list_wait* next_ = nullptr;
};

}  // namespace belay::detail
