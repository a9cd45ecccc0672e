// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tasks that are stopped one after the other, last first: behind a shield, so that a cancellation does not end them all at once.

#include <belay/core/child.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/event.hpp>
#include <belay/core/supervisor_options.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/task_status.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <source_location>
#include <vector>

namespace belay::detail {

// One worker: how it is begun, and the task that it is just now.
struct supervised {
  worker_options options;
  task_function<task<>(task_status<>*)> begin;
  bool says_ready = false;
  std::source_location added_at;

  node* running = nullptr;  // until its end has been looked at
  child<void> handle;       // ... keeps the outcome
  failure trouble;          // its end has been looked at, but what it failed with has not met its fate
  worker_state state = worker_state::idle;
  std::deque<time_point> restarts;  // within the window
  std::uint64_t restarts_ever = 0;
};

class worker_row final : public group_core {
 public:
  explicit worker_row(std::size_t most);
  worker_row(const worker_row&) = delete;
  worker_row& operator=(const worker_row&) = delete;
  ~worker_row();

  void open_row(std::source_location where, const char* name) noexcept;
  void close_row() noexcept;
  // The innermost row around the running task that is open; null when there is none.
  [[nodiscard]] static const worker_row* around() noexcept;

  // Begins it, and returns when it is ready. Errors: how it ended before that.
  [[nodiscard]] task<> start(supervised& one);

  // A worker that ended by itself, in the order of their ends; null: none.
  [[nodiscard]] node* next_ended() noexcept;
  event& changed() noexcept { return changed_; }

  // Asks it to stop and waits for its end, at most as long as `limit`: false when it overran. Cannot be cancelled, and cannot fail.
  class stopping final : public operation, private timer_node {
   public:
    stopping(worker_row& in, const supervised& one, duration limit) noexcept
        : in_(&in), one_(&one), limit_(limit) {}
    [[nodiscard]] bool await_ready() const noexcept { return one_->handle.done(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
      suspend_uncancellable(waiting);
      begin_patience();
      return true;
    }
    [[nodiscard]] bool await_resume() const noexcept { return one_->handle.done(); }
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {"a worker to stop", one_->options.name.c_str()};
    }

   private:
    friend class worker_row;
    void start() override {}
    bool abort() noexcept override { return false; }
    void begin_patience() noexcept;
    static void fired(timer_node& timer) noexcept;
    void ended(const node& task) noexcept;
    worker_row* in_;
    const supervised* one_;
    duration limit_;
  };
  [[nodiscard]] stopping stop(supervised& one, duration limit, const cancel_record& why) noexcept;

  // What it failed with, if it did; afterwards it can be started again.
  [[nodiscard]] failure take_end(supervised& one) noexcept;

  // For those further in.
  std::string path;
  std::size_t level = 1;
  std::size_t restarts_of_all_levels = 0;

 private:
  static void child_left(group_core& self, node& task) noexcept;

  std::vector<node*> ended_;
  event changed_{"the end of a worker"};
  stopping* patient_ = nullptr;
  worker_row* outer_open_ = nullptr;
  bool listed_ = false;
};

}  // namespace belay::detail
