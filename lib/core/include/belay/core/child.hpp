// SPDX-License-Identifier: Apache-2.0
#pragma once
// The handle of a spawned task.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/task.hpp>
#include <belay/core/task_name.hpp>
#include <cstdint>
#include <source_location>
#include <utility>

namespace belay {

namespace detail {

// Waits for the end of one child. Linked in the child's list, so that it can be cancelled by itself.
class child_wait : public operation {
 public:
  explicit child_wait(node& on) noexcept : on_(&on) {}
  [[nodiscard]] bool await_ready() const noexcept {
    return on_->state == node_state::ended && !this_runtime->current->cancel_pending();
  }
  template <class Promise>
  [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> waiting) {
    if (on_ == this_runtime->current || on_another_loop()) [[unlikely]]
      return operation::await_suspend(waiting);  // start() refuses it
    if (begin_at(waiting.promise())) wait();
    return true;
  }
  void child_ended() noexcept;
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a child task", ""}; }

 protected:
  ~child_wait() = default;
  void unlink() noexcept {
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    link_ = nullptr;
  }
  // A task that has not ended is in a group, which is open.
  [[nodiscard]] bool on_another_loop() const noexcept {
    return on_->state != node_state::ended && !on_->group->is_open_here();
  }
  void wait() noexcept {
    if (on_->state == node_state::ended) return complete();
    next_ = on_->awaiters;
    if (next_ != nullptr) next_->link_ = &next_;
    on_->awaiters = this;
    link_ = &on_->awaiters;
  }
  node* on_;
  bool stops_ = false;  // it is a stop_wait

 private:
  friend class group_core;
  void start() override;
  bool abort() noexcept override;
  child_wait* next_ = nullptr;
  child_wait** link_ = nullptr;
};

// Cancels a child and waits for its end, whatever becomes of whoever waits. The handle may be gone by then, so what the child failed with is
// kept here.
class stop_wait final : public child_wait {
 public:
  stop_wait(node& on, cancel_reason reason, std::source_location where) noexcept
      : child_wait(on), reason_(reason), where_(where) {
    stops_ = true;
  }
  // Errors: misuse_error, before anything is done, when both would wait for each other.
  [[nodiscard]] bool await_ready() {
    if (on_->state != node_state::ended) {
      ask_to_stop();
      return false;
    }
    keep();
    return true;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
    suspend_uncancellable(waiting);
    wait();
    return true;
  }
  void await_resume() const {
    if (failed_) failed_.rethrow();
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a child task to stop", ""}; }
  // The child has ended.
  void keep() noexcept { failed_ = on_->result->failed_with(); }
  // The limit of the cleanup that `target` is has passed: who waits in it for others to stop does not any longer.
  static void give_up_below(scope& target) noexcept;

 private:
  void ask_to_stop() const;
  void give_up() noexcept;
  cancel_reason reason_;
  std::source_location where_;
  failure failed_;
};

inline void child_wait::child_ended() noexcept {
  unlink();
  if (stops_) [[unlikely]]
    static_cast<stop_wait*>(this)->keep();
  complete();
}

inline void drop_handle(node& of) noexcept {
  of.has_handle = false;
  if (of.state == node_state::ended && !of.dropping) of.destroy(of);
}
[[noreturn]] void throw_misuse_empty_child(const char* call, std::source_location where);

}  // namespace detail

/// A task of a group, to be awaited when its result is wanted. Dropping the handle does nothing to the task.
///
/// Move-only. The result is kept until the handle goes, also beyond the end of the group.
template <class T>
class child {
 public:
  child() noexcept = default;
  child(child&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  child& operator=(child&& other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~child() {
    if (node_ != nullptr) detail::drop_handle(*node_);
  }

  /// Asks this one task to stop; its siblings go on. Idempotent. False when it had ended already.
  bool cancel(cancel_reason reason = cancel_reason::caller,
              std::source_location where = std::source_location::current()) noexcept {
    if (done()) return false;
    node_->group->require_here("child::cancel");
    detail::cancel_scope(node_->base, cancel_record::make(reason, "child.cancel", where));
    return true;
  }

  [[nodiscard]] bool done() const noexcept {
    return node_ == nullptr || node_->state == detail::node_state::ended;
  }
  /// Pending until it has ended; then succeeded, failed or cancelled for ever. An empty handle: `misuse_error`.
  [[nodiscard]] completion state(std::source_location where = std::source_location::current()) const {
    if (node_ == nullptr) detail::throw_misuse_empty_child("child::state", where);
    return done() ? node_->value.state() : completion::pending;
  }

  /// Gives the task a name, for the task tree, reports and diagnostics: `g.spawn(purge, x).named("purge")`; for one of many
  /// with a number: `g.spawn(serve, i).named("worker", i)`. A second name replaces the first. An empty handle: `misuse_error`.
  child& named(task_name name, std::source_location where = std::source_location::current()) & {
    return named(name, detail::task_label::no_number, where);
  }
  child& named(task_name name, std::uint64_t number,
               std::source_location where = std::source_location::current()) & {
    if (node_ == nullptr) detail::throw_misuse_empty_child("child::named", where);
    node_->call_it(name.text(), number);
    return *this;
  }
  child&& named(task_name name, std::source_location where = std::source_location::current()) && {
    return std::move(named(name, where));
  }
  child&& named(task_name name, std::uint64_t number,
                std::source_location where = std::source_location::current()) && {
    return std::move(named(name, number, where));
  }

  class awaiter final : public detail::child_wait {
   public:
    explicit awaiter(detail::child_node<T>& on, std::source_location where) noexcept
        : child_wait(on), where_(where) {}
    decltype(auto) await_resume() {
      auto& how = static_cast<detail::child_node<T>*>(on_)->value;
      if constexpr (std::is_void_v<T>) {
        static_cast<void>(how.value(where_));
      } else {
        return how.value(where_);
      }
    }

   private:
    std::source_location where_;
  };

  class value_awaiter final : public detail::child_wait {
   public:
    explicit value_awaiter(detail::child_node<T>& on, std::source_location where) noexcept
        : child_wait(on), where_(where) {}
    T await_resume() {
      auto& how = static_cast<detail::child_node<T>*>(on_)->value;
      if constexpr (std::is_void_v<T>) {
        static_cast<void>(how.value(where_));
      } else {
        return std::move(how).value(where_);
      }
    }

   private:
    std::source_location where_;
  };

  /// Waits for the end of the task.
  ///
  /// Result:        a reference to the value, as often as you like; it lives as long as the handle. From a handle that is
  ///                about to go (`co_await g.spawn(f)`, `co_await std::move(c)`): the value itself.
  /// Errors:        that of the task (the same object, each time); `child_cancelled` if somebody cancelled it; `misuse_error` on the
  ///                thread of another loop than the task's (`on_loop` goes there and back).
  /// Cancellation:  of the awaiter: stops waiting; the task is not touched.
  [[nodiscard]] awaiter belay_await(std::source_location where = std::source_location::current()) const& {
    if (node_ == nullptr) detail::throw_misuse_empty_child("co_await child", where);
    return awaiter(*node_, where);
  }
  [[nodiscard]] value_awaiter belay_await(std::source_location where = std::source_location::current()) && {
    if (node_ == nullptr) detail::throw_misuse_empty_child("co_await child", where);
    return value_awaiter(*node_, where);
  }

  /// Moves the value out; call once, after it was awaited.
  [[nodiscard]] unit_if_void<T> take(std::source_location where = std::source_location::current()) {
    if (!done() || node_ == nullptr) detail::throw_misuse_empty_child("child::take before its end", where);
    return std::move(node_->value).value(where);
  }

  // For as_outcome.
  template <class R>
  class end_awaiter final : public detail::child_wait {
   public:
    explicit end_awaiter(detail::child_node<T>& on) noexcept : child_wait(on) {}
    R await_resume() {
      auto& how = static_cast<detail::child_node<T>*>(on_)->value;
      if constexpr (std::is_reference_v<R>) {
        return how;
      } else {
        return std::move(how);
      }
    }
  };
  template <class R>
  [[nodiscard]] end_awaiter<R> wait_end(std::source_location where) const {
    if (node_ == nullptr) detail::throw_misuse_empty_child("as_outcome(child)", where);
    return end_awaiter<R>(*node_);
  }

  // For cancel_and_join.
  [[nodiscard]] detail::stop_wait stop(cancel_reason reason, std::source_location where) {
    if (node_ == nullptr) detail::throw_misuse_empty_child("cancel_and_join", where);
    return detail::stop_wait(*node_, reason, where);
  }

  // For combinators: how it ended, unchecked.
  [[nodiscard]] outcome<T>& ended_with() noexcept { return node_->value; }

  explicit child(detail::child_node<T>& of) noexcept : node_(&of) { of.has_handle = true; }

 private:
  detail::child_node<T>* node_ = nullptr;
};

/// Waits for the end of the task behind a handle and gives how that was, without throwing: cancelled, too, if somebody cancelled it.
///
/// Result:        the handle's own outcome, as often as you like; it lives as long as the handle. From a handle that is about to go
///                (`as_outcome(g.spawn(f))`, `as_outcome(std::move(c))`): the outcome itself.
/// Errors:        `misuse_error` for an empty handle.
/// Cancellation:  of the awaiter: stops waiting, passes through; the task is not touched.
template <class T>
[[nodiscard]] auto as_outcome(child<T>& of, std::source_location where = std::source_location::current()) {
  return of.template wait_end<outcome<T>&>(where);
}
template <class T>
[[nodiscard]] auto as_outcome(child<T>&& of, std::source_location where = std::source_location::current()) {
  return of.template wait_end<outcome<T>>(where);
}

/// Asks the task behind a handle to stop, and waits until it has ended: `co_await cancel_and_join(worker);`
///
/// Result:        nothing: that it was cancelled is no error here. A value that it gave nevertheless stays in the handle.
/// Errors:        what it failed with, in its cleanup or before. `misuse_error` for an empty handle, and where both would wait for each other
///                (the caller itself, a task that it belongs to, one that is waiting here for the caller, or has a task below it that is).
/// Cancellation:  of the caller: acts at its next await after this one, when the task has ended. So this takes as long as the task takes
///                to clean up (`loop_options::cleanup_limit` bounds each of its cleanups). Only in a cleanup, the limit of that cleanup
///                ends the wait; the task has been asked to stop nevertheless.
/// Lifetime:      the handle may go while this waits; its task cannot.
template <class T>
[[nodiscard]] detail::stop_wait cancel_and_join(
    child<T>& of, cancel_reason reason = cancel_reason::caller,
    std::source_location where = std::source_location::current()) {
  return of.stop(reason, where);
}

}  // namespace belay
