// SPDX-License-Identifier: Apache-2.0
#pragma once
// First-in-first-out lists of waiting tasks, under the synchronisation primitives.

#include <belay/core/operation.hpp>

namespace belay::detail {

class list_wait;

// A line must outlive those who wait in it, and belongs to one loop while somebody does. Otherwise the process ends, with a message.
class wait_list {
 public:
  wait_list() noexcept = default;
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;
  ~wait_list() {
    if (head_ != nullptr) [[unlikely]]
      abort_on_destroyed_line();
  }
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] list_wait* front() const noexcept { return head_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  friend class list_wait;
  [[noreturn]] void abort_on_destroyed_line() const noexcept;
  [[noreturn]] void abort_on_wrong_thread() const noexcept;

  list_wait* head_ = nullptr;
  list_wait* tail_ = nullptr;
  std::size_t size_ = 0;
  runtime* home_ = nullptr;  // of those who wait
};

// An operation that stands in several lines at once, and takes the first that comes (`select`).
class chooser : public operation {
 public:
  // `what` has left its line and has got what it waited for.
  virtual void chosen(list_wait& what) noexcept = 0;

 protected:
  ~chooser() = default;
};

class list_wait : public operation {
 public:
  explicit list_wait(wait_list& list) noexcept : list_(&list) {}
  // It has got what it waited for: takes the waiter out of its list and lets its task go on.
  void wake() noexcept {
    if (list_->home_ != this_runtime) [[unlikely]]
      list_->abort_on_wrong_thread();
    leave();
    if (chooser_ != nullptr) [[unlikely]]
      return chooser_->chosen(*this);
    complete();
  }

  // For `select`: one of several lines that a task stands in.
  virtual void enlist(chooser& in) noexcept {
    chooser_ = &in;
    enqueue();
  }
  void leave() noexcept {
    (prev_ != nullptr ? prev_->next_ : list_->head_) = next_;
    (next_ != nullptr ? next_->prev_ : list_->tail_) = prev_;
    --list_->size_;
  }
  // It has left without getting anything: those behind it may be able to go on.
  virtual void gave_up() noexcept {}
  [[nodiscard]] node& waiting_task() const noexcept {
    return chooser_ != nullptr ? *chooser_->task() : *task();
  }

 protected:
  ~list_wait() = default;
  [[nodiscard]] static bool cancel_pending() noexcept { return this_runtime->current->cancel_pending(); }
  void enqueue() noexcept {
    if (list_->home_ != this_runtime) [[unlikely]] {
      if (list_->head_ != nullptr) list_->abort_on_wrong_thread();
      list_->home_ = this_runtime;
    }
    prev_ = list_->tail_;
    next_ = nullptr;
    (prev_ != nullptr ? prev_->next_ : list_->head_) = this;
    list_->tail_ = this;
    ++list_->size_;
  }
  // Into the line that shall be its own, when that was not known before.
  void enter(wait_list& line) noexcept {
    list_ = &line;
    enqueue();
  }
  // From the line it stands in to the end of another one.
  void move_to(wait_list& other) noexcept {
    leave();
    enter(other);
  }
  bool abort() noexcept override {
    leave();
    gave_up();
    return true;
  }

 private:
  wait_list* list_;
  chooser* chooser_ = nullptr;
  list_wait* prev_ = nullptr;
  list_wait* next_ = nullptr;
};

// What can be tried before it is waited for: `Derived::try_now()` gets it at once, or says no, or throws. A task that gets it at once
// goes on without giving up its turn. A cancellation that was requested before acts first, and nothing is taken.
template <class Derived, class Base = list_wait>
class prompt_wait : public Base {
 public:
  using Base::Base;
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) {
    if (!this->begin_at(waiting.promise())) return true;
    try {
      if (static_cast<Derived&>(*this).try_now()) {
        this->task()->state = node_state::running;
        return false;
      }
    } catch (...) {
      this->task()->state = node_state::running;
      throw;
    }
    this->enqueue();
    return true;
  }

 protected:
  ~prompt_wait() = default;

 private:
  void start() final {}  // all is done in await_suspend
};

}  // namespace belay::detail
