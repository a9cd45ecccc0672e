// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the options of a group ask for: policies, the limit and the line of those who wait for room, and tasks that get started.

#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/wait_list.hpp>
#include <belay/core/group_options.hpp>
#include <cstddef>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay {
template <class V>
class task_status;
}

namespace belay::detail {

class group_base : public group_core {
 public:
  // Errors: misuse_error for a limit of zero.
  void open_with(const group_options& options, std::source_location where);

  template <class T>
  void body_ended(outcome<T>& how) noexcept {
    if (policy_ != group_policy::settle) return group_core::body_ended(how);
    attach_scope();
    if (how.failed()) collect(how.failed_with());
  }
  // Settle: what nobody has looked at comes out. To be called when all have ended, before `conclude`.
  void take_collected() noexcept;

  // A place for one more task. Its holder may come from outside of the group, which stays open for it.
  class place {
   public:
    explicit place(group_base& in) noexcept : in_(&in) { in.hold(); }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place() { in_->leave(granted_); }

    class awaiter final : public prompt_wait<awaiter> {
     public:
      explicit awaiter(place& wanted) noexcept : prompt_wait(wanted.in_->line_), wanted_(&wanted) {}
      void await_resume() const noexcept {}
      bool try_now() noexcept {
        if (!wanted_->in_->has_room()) return false;
        wanted_->take();
        return true;
      }
      void grant() noexcept {
        wanted_->take();
        wake();
      }
      [[nodiscard]] awaited waits_for() const noexcept override {
        return {"room in a group", wanted_->in_->name()};
      }

     private:
      place* wanted_;
    };
    [[nodiscard]] awaiter granted() noexcept { return awaiter(*this); }

   private:
    void take() noexcept {
      granted_ = true;
      ++in_->promised_;
    }
    group_base* in_;
    bool granted_ = false;
  };

 protected:
  // Into a group that is being cancelled goes whatever comes: it does not run.
  [[nodiscard]] bool has_room() const noexcept {
    return live() + promised_ < most_live_ || being_cancelled();
  }
  void require_open_with_room(const char* call, std::source_location where) const {
    if (!is_open_here() || !has_room()) [[unlikely]]
      refuse(call, where);
  }
  void require_open(const char* call, std::source_location where) const {
    if (!is_open_here()) [[unlikely]]
      refuse(call, where);
  }

 private:
  [[noreturn]] void refuse(const char* call, std::source_location where) const;
  static void child_left(group_core& self, node& task) noexcept;
  void collect(failure what) noexcept;
  void leave(bool granted) noexcept;
  void let_in() noexcept;

  std::size_t most_live_ = no_limit;
  std::size_t promised_ = 0;  // places granted to tasks that do not live yet
  wait_list line_;
  std::vector<failure> collected_;
  group_policy policy_ = group_policy::fail_fast;
};

// A task that is getting started. It has the scope of the group, but until it says that it is ready, its end is its starter's business.
class starting : public group_core {
 public:
  starting(group_core& into, std::source_location where) noexcept;
  starting(const starting&) = delete;
  starting& operator=(const starting&) = delete;
  ~starting();

  // Waits until it is ready or has ended. A cancellation of the starter is passed on to it, and its end waited for.
  class awaiter final : public operation {
   public:
    explicit awaiter(starting& of) noexcept : of_(&of) {}
    void await_resume() const noexcept {}
    [[nodiscard]] awaited waits_for() const noexcept override {
      return {"a task to get ready", of_->into_->name()};
    }

   private:
    friend class starting;
    void start() override { of_->waiting_ = this; }
    bool abort() noexcept override;
    starting* of_;
  };
  [[nodiscard]] awaiter ready_or_ended() noexcept { return awaiter(*this); }

  // It was ready: it belongs to the group now. Otherwise `ended_as` tells what to end with.
  [[nodiscard]] bool handed_over() const noexcept { return handed_over_; }
  void ended_as(const outcome_base& end, outcome<unit>& how) const;

  // The task says that it is ready.
  void hand_over() noexcept;

 private:
  static void child_left(group_core& self, node& task) noexcept;

  group_core* into_;
  awaiter* waiting_ = nullptr;
  bool given_up_ = false;
  bool handed_over_ = false;
};

// The way from the task that is getting started to whoever starts it; either may go first.
struct status_link {
  starting* at = nullptr;
  status_link** other = nullptr;  // what points to us from the starter's side

  status_link(starting& with, status_link*& back) noexcept : at(&with), other(&back) { back = this; }
  status_link(status_link&& from) noexcept
      : at(std::exchange(from.at, nullptr)), other(std::exchange(from.other, nullptr)) {
    if (other != nullptr) *other = this;
  }
  status_link& operator=(status_link&&) = delete;
  ~status_link() { cut(); }
  void cut() noexcept {
    if (other != nullptr) *other = nullptr;
    at = nullptr;
    other = nullptr;
  }
};

template <class V>
struct start_state {
  start_state(group_core& into, std::source_location where) noexcept : task(into, where) {}
  start_state(const start_state&) = delete;
  start_state& operator=(const start_state&) = delete;
  ~start_state() {
    if (link != nullptr) link->cut();
  }
  status_link* link = nullptr;
  std::optional<held<V>> value;
  starting task;
};

[[noreturn]] void throw_misuse_started(std::source_location where);

// A function that gets started, and what it gets to say so: an lvalue, whatever becomes of the other arguments.
template <class F, class V>
struct with_status {
  F fn;
  task_status<V> ready;
  template <class... A>
    requires std::is_invocable_v<F&, task_status<V>&, A...>
  BELAY_CORO_WRAPPER auto operator()(A&&... args) -> std::invoke_result_t<F&, task_status<V>&, A...> {
    return call(fn, ready, std::forward<A>(args)...);
  }
  template <class... A>
    requires(!std::is_invocable_v<F&, task_status<V>&, A...> && std::is_invocable_v<F&, task_status<V>, A...>)
  BELAY_CORO_WRAPPER auto operator()(A&&... args) -> std::invoke_result_t<F&, task_status<V>, A...> {
    return call(fn, std::move(ready), std::forward<A>(args)...);
  }
};

// What `fn` in start(fn, args...) says when it is ready, from the type of its first parameter.
template <class P>
struct status_value;
template <class V>
struct status_value<task_status<V>> {
  using type = V;
};
template <class F>
struct first_parameter {};
template <class F>
  requires requires { &F::operator(); }
struct first_parameter<F> : first_parameter<decltype(&F::operator())> {};
template <class R, class P, class... A>
struct first_parameter<R (*)(P, A...)> : status_value<std::remove_cvref_t<P>> {};
template <class C, class R, class P, class... A>
struct first_parameter<R (C::*)(P, A...)> : status_value<std::remove_cvref_t<P>> {};
template <class C, class R, class P, class... A>
struct first_parameter<R (C::*)(P, A...) const> : status_value<std::remove_cvref_t<P>> {};
template <class C, class R, class P, class... A>
struct first_parameter<R (C::*)(P, A...) noexcept> : status_value<std::remove_cvref_t<P>> {};
template <class C, class R, class P, class... A>
struct first_parameter<R (C::*)(P, A...) const noexcept> : status_value<std::remove_cvref_t<P>> {};
template <class R, class P, class... A>
struct first_parameter<R (*)(P, A...) noexcept> : status_value<std::remove_cvref_t<P>> {};

template <class F>
using started_value = typename first_parameter<std::decay_t<F>>::type;

}  // namespace belay::detail
