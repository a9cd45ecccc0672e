// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several waits of one task, of which exactly one happens.

#include <belay/core/detail/wait_list.hpp>
#include <belay/core/outcome.hpp>
#include <array>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace belay {

namespace detail {

template <class A>
concept selectable = std::derived_from<A, list_wait> && requires(A& wait) {
  { wait.try_now() } -> std::same_as<bool>;
};

template <class A>
using awaited_value = unit_if_void<decltype(std::declval<A&>().await_resume())>;

template <class... A>
class select_awaiter final : public chooser {
 public:
  using result = std::variant<awaited_value<A>...>;

  explicit select_awaiter(A&... waits) noexcept : waits_(&waits...), lines_{&waits...} {}
  select_awaiter(const select_awaiter&) = delete;
  select_awaiter& operator=(const select_awaiter&) = delete;

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) {
    if (!begin_at(waiting.promise())) return true;
    try {
      if (try_now(std::index_sequence_for<A...>())) {
        task()->state = node_state::running;
        return false;
      }
    } catch (...) {
      task()->state = node_state::running;
      throw;
    }
    for (list_wait* one : lines_) one->enlist(*this);
    return true;
  }
  result await_resume() { return collect<0>(); }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"the first of a select", ""}; }

 private:
  static constexpr std::size_t none = sizeof...(A);

  void start() override {}  // all is done in await_suspend

  template <std::size_t... I>
  bool try_now(std::index_sequence<I...>) {
    return ((std::get<I>(waits_)->try_now() && (chosen_ = I, true)) || ...);
  }
  void chosen(list_wait& what) noexcept override {
    for (std::size_t i = 0; i < none; ++i) {
      if (lines_[i] == &what) chosen_ = i;
    }
    leave_lines();
    complete();
  }
  bool abort() noexcept override {
    leave_lines();
    return true;
  }
  // All of them at first, so that what one gives up cannot come to another of this task.
  void leave_lines() noexcept {
    for (std::size_t i = 0; i < none; ++i) {
      if (i != chosen_) lines_[i]->leave();
    }
    for (std::size_t i = 0; i < none; ++i) {
      if (i != chosen_) lines_[i]->gave_up();
    }
  }
  template <std::size_t I>
  result collect() {
    if constexpr (I + 1 < none) {
      if (chosen_ != I) return collect<I + 1>();
    }
    auto& wait = *std::get<I>(waits_);
    if constexpr (std::is_void_v<decltype(wait.await_resume())>) {
      wait.await_resume();
      return result(std::in_place_index<I>);
    } else {
      return result(std::in_place_index<I>, wait.await_resume());
    }
  }

  std::tuple<A*...> waits_;
  std::array<list_wait*, none> lines_;
  std::size_t chosen_ = none;
};

}  // namespace detail

/// Waits until one of `waits` can happen, and lets exactly that one happen. They may be those of channels (`send`, `receive`), events
/// (`wait`), semaphores (`acquire`), mutexes (`lock`, `lock_shared`), barriers, and `after(duration)`:
///
///     auto got = co_await select(orders.receive(), stop.wait(), after(1s));
///     if (got.index() == 0) handle(std::get<0>(got));
///
/// Result:        a variant with as many alternatives; `index()` says which one happened (`unit` for void). When several can happen at
///                once: the first in the order of the arguments. Later: the one that comes first.
/// Errors:        that of the one that happened: sending into a closed channel is something that happens.
/// Cancellation:  none of them happens.
/// Lifetime:      in one expression with the `co_await`, as above.
template <detail::selectable... A>
  requires(sizeof...(A) > 0)
#if defined(__clang__)
[[nodiscard]] detail::select_awaiter<A...> select(A&&... waits [[clang::lifetimebound]]) noexcept {
#else
[[nodiscard]] detail::select_awaiter<A...> select(A&&... waits) noexcept {
#endif
  return detail::select_awaiter<A...>(waits...);
}

namespace detail {

class after_awaiter final : public list_wait, private timer_node {
 public:
  explicit after_awaiter(time_point when) noexcept;
  after_awaiter(const after_awaiter&) = delete;
  after_awaiter& operator=(const after_awaiter&) = delete;
  void await_resume() const noexcept {}
  [[nodiscard]] awaited waits_for() const noexcept override { return {"a timer", ""}; }
  [[nodiscard]] bool try_now() const noexcept;
  void enlist(chooser& in) noexcept override;
  void gave_up() noexcept override;

 private:
  void start() override;
  static void fired(timer_node& timer) noexcept;
  void insert() noexcept;
  wait_list alone_;
};

}  // namespace detail

/// For `select`: happens when `length` has passed since the call; zero or less: at once.
[[nodiscard]] detail::after_awaiter after(any_duration length) noexcept;

}  // namespace belay
