// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a program opens before it serves and closes afterwards: steps, in order, closed in reverse.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_function.hpp>
#include <belay/service/shutdown_report.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
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

/// How long one step may take.
struct step_options {
  /// For its opening, more than zero. Then the step has failed, with a `timeout_error` that names it, the limit and the await that was
  /// waiting. `duration::max()`: no limit.
  duration start_limit = std::chrono::minutes(1);
  /// For its closing, more than zero. Then it is cancelled, and overran. None: the loop's `cleanup_limit`.
  std::optional<duration> close_limit{};
};

class concurrent_steps;

/// The steps of a program.
///
/// Opened one after the other, in the order in which they were added; those that were added `together` at the same time. When one fails,
/// those that are open are closed in reverse, and see that error. Each is told how the program ended: value, error, or cancelled. Closing
/// steps are independent: each is shielded and has its own limit; one that fails or overruns does not keep the next from running.
class lifespan {
 public:
  /// Adds a resource. Errors: `misuse_error` once `run` has begun, for an empty name, and for limits that are not more than zero.
  template <class T>
  resource<T> manage(std::string name, managed<T> what, step_options limits = {},
                     std::source_location where = std::source_location::current()) {
    return manage_at(add_place(), std::move(name), std::move(what), limits, where);
  }

  /// Adds something to be done once, at this place of the start (migrations, warming a cache).
  void step(std::string name, task_function<task<>()> what, step_options limits = {},
            std::source_location where = std::source_location::current());

  /// Has one place in the order for several steps that do not need each other: they are opened at the same time, and closed at the same
  /// time. The next step begins when all are open. When one fails, the others under way are cancelled; further errors are
  /// attached to the first.
  ///
  ///     auto stores = steps.together();
  ///     auto database = stores.manage("database", db::sqlite::open("accounts.db"));
  ///     auto cache = stores.manage("cache", open_cache());
  [[nodiscard]] concurrent_steps together();

  [[nodiscard]] std::size_t size() const noexcept;

  /// How far it is.
  struct progress {
    std::size_t steps = 0;               ///< all there are
    std::size_t open = 0;                ///< of them: open, or done
    std::vector<std::string> under_way;  ///< the names of those that are being opened or closed
  };
  [[nodiscard]] progress how_far() const;

  /// Opens all, runs `body`, closes all. Call it once. The names and times of closing go into `report`; `failed_step` names
  /// the step that failed to open, the first one of several, and is empty when none did.
  /// Errors:        of the failing step, with those of others at the same time and of closing attached; of the body; of closing.
  ///                `misuse_error` the second time.
  /// Cancellation:  reaches the steps that are being opened, or the body; what is open is closed.
  /// Time:          the longest that closing takes is `longest_close`.
  /// Lifetime:      `report` and `failed_step` outlive the task.
  [[nodiscard]] task<> run(task_function<task<>()> body, shutdown_report& report, std::string& failed_step);

  /// The sum of the limits for closing, where `each` is that of steps which have none of their own; of those that close at the same time
  /// the longest.
  [[nodiscard]] duration longest_close(duration each) const noexcept;

 private:
  friend class concurrent_steps;
  enum class stage : unsigned char { waiting, opening, open, closing, closed };
  struct entry {
    std::string name;
    std::string scope_name;  // in the timeout_error
    managed<unit> what;
    step_options limits;
    std::source_location where;
    stage now = stage::waiting;
  };
  using place = std::vector<entry>;  // what is opened at the same time

  template <class T>
  resource<T> manage_at(std::size_t at, std::string name, managed<T> what, step_options limits,
                        std::source_location where) {
    auto slot = std::make_shared<detail::resource_slot<T>>(detail::resource_slot<T>{name, nullptr});
    add(at, std::move(name), hold(std::move(what), slot), limits, where);
    return resource<T>(std::move(slot));
  }
  template <class T>
  static managed<unit> hold(managed<T> what, std::shared_ptr<detail::resource_slot<T>> slot) {
    slot->open = &co_await what.open();
    exit_status how = co_yield unit{};
    slot->open = nullptr;
    co_await detail::close_opened(std::move(what), std::move(how));
  }
  std::size_t add_place();
  void add(std::size_t at, std::string name, managed<unit> what, step_options limits,
           std::source_location where);
  [[nodiscard]] task<> open_all_and(task_function<task<>()> body, shutdown_report& report,
                                    std::string& failed_step);
  [[nodiscard]] static task<> open_one(entry& one, shutdown_report& report, std::string& failed_step);
  [[nodiscard]] task<> close_all(outcome<void>& how, shutdown_report& report);
  [[nodiscard]] static task<> close_one(entry& one, exit_status told, outcome<void>& how,
                                        shutdown_report& report);

  std::vector<place> places_;
  bool begun_ = false;
};

/// What `lifespan::together` gives. Cheap to copy; outlived by the lifespan.
class concurrent_steps {
 public:
  /// As those of `lifespan`.
  template <class T>
  resource<T> manage(std::string name, managed<T> what, step_options limits = {},
                     std::source_location where = std::source_location::current()) {
    return of_->manage_at(place_, std::move(name), std::move(what), limits, where);
  }
  void step(std::string name, task_function<task<>()> what, step_options limits = {},
            std::source_location where = std::source_location::current());

 private:
  friend class lifespan;
  concurrent_steps(lifespan& of, std::size_t place) noexcept : of_(&of), place_(place) {}
  lifespan* of_;
  std::size_t place_;
};

}  // namespace belay::service
