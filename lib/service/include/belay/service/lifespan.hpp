// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a program opens before it serves and closes afterwards: steps, in order, closed in reverse.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/service/shutdown_report.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace belay::service {

namespace detail {
[[noreturn]] void throw_not_open(const std::string& name);
// Closes what was opened, and tells it `how`. It is owned here from the first moment on: when the closing cannot even begin, it is
// dropped, not leaked.
template <class T>
[[nodiscard]] task<> close_opened(managed<T> opened, exit_status how) {
  // Not shielded: this is part of a cleanup, whose limit must reach it.
  belay::detail::scope within;
  outcome<void> closed = co_await belay::detail::close_awaiter(opened.release(), std::move(how), within);
  if (!closed.succeeded()) co_await belay::detail::end_with(closed);
}

template <class T>
struct resource_slot {
  std::string name;
  T* open = nullptr;
};
}  // namespace detail

/// What a lifespan step hands out: usable from the end of that step until it is closed. Cheap to copy.
/// Errors: `misuse_error` naming the step when it is used before or after.
template <class T>
class resource {
 public:
  [[nodiscard]] T& operator*() const {
    if (slot_->open == nullptr) detail::throw_not_open(slot_->name);
    return *slot_->open;
  }
  [[nodiscard]] T* operator->() const { return &**this; }
  [[nodiscard]] bool is_open() const noexcept { return slot_->open != nullptr; }

  explicit resource(std::shared_ptr<detail::resource_slot<T>> slot) noexcept : slot_(std::move(slot)) {}

 private:
  std::shared_ptr<detail::resource_slot<T>> slot_;
};

/// The steps of a program.
///
/// Opened one after the other, in the order in which they were added; when one fails, those that are open are closed in
/// reverse, and see that error. Each is told how the program ended: value, error, or cancelled. Closing steps are independent:
/// each is shielded and bounded by the loop's `cleanup_limit`; one that fails or overruns does not keep the next from running.
class lifespan {
 public:
  /// Adds a resource. Errors: `misuse_error` once `run` has begun.
  template <class T>
  resource<T> manage(std::string name, managed<T> what) {
    auto slot = std::make_shared<detail::resource_slot<T>>(detail::resource_slot<T>{name, nullptr});
    add(std::move(name), hold(std::move(what), slot));
    return resource<T>(std::move(slot));
  }

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  /// Adds something to be done once, at this place of the start (migrations, warming a cache).
  void step(std::string name, task_function<task<>()> what);

  /// Opens all, runs `body`, closes all. Call it once. The names and times of closing go into `report`; `failed_step` names
  /// the step that failed to open, and is empty when none did.
  /// Errors:        of the failing step, with those of closing attached; of the body; of closing. `misuse_error` the second time.
  /// Cancellation:  reaches the step that is being opened, or the body; what is open is closed.
  /// Lifetime:      `report` and `failed_step` outlive the task.
  [[nodiscard]] task<> run(task_function<task<>()> body, shutdown_report& report, std::string& failed_step);

 private:
  struct entry {
    std::string name;
    managed<unit> what;
  };

  template <class T>
  static managed<unit> hold(managed<T> what, std::shared_ptr<detail::resource_slot<T>> slot) {
    slot->open = &co_await what.open();
    exit_status how = co_yield unit{};
    slot->open = nullptr;
    co_await detail::close_opened(std::move(what), std::move(how));
  }
  static managed<unit> recorded(entry& of, shutdown_report& report, std::string& failed_step);
  void add(std::string name, managed<unit> what);

  std::vector<entry> entries_;
  bool begun_ = false;
};

}  // namespace belay::service
