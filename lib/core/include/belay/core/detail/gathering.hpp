// SPDX-License-Identifier: Apache-2.0
#pragma once
// Groups whose children decide together what comes out: settle, race, any.

#include <belay/core/child.hpp>
#include <belay/core/detail/deadline_scope.hpp>
#include <belay/core/detail/group_core.hpp>
#include <concepts>
#include <cstddef>
#include <source_location>
#include <span>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace belay {

/// A result together with the position of its task among the arguments.
template <class T>
struct indexed {
  std::size_t index;
  held<T> value;
};

namespace detail {

// Nothing that a child does matters to the others; what they left is in their outcomes.
class gathering : public group_core {
 public:
  gathering() noexcept : group_core(&nothing) {}

 private:
  static void nothing(group_core&, node&) noexcept {}
};

// One child decides, and the others are cancelled: the first to end (with a value or an error), or the first to succeed.
enum class contest_rule : unsigned char { first_to_end, first_to_succeed };

class contest final : public group_core {
 public:
  explicit contest(contest_rule by) noexcept : group_core(&child_left), by_(by) {}

  void begin(std::source_location where) noexcept {
    open(where, by_ == contest_rule::first_to_end ? "race" : "any");
    attach_scope();
  }
  // The outcome of the child that decided; null when none did.
  [[nodiscard]] const outcome_base* winner() const noexcept { return winner_; }
  // For a contest without a value, when it has been closed: what it ends with. `ends` are in the order of the tasks.
  void without_value(std::span<outcome_base* const> ends, outcome<unit>& how);

 private:
  static void child_left(group_core& self, node& task) noexcept;

  const outcome_base* winner_ = nullptr;
  const contest_rule by_;
};

[[noreturn]] void throw_misuse_no_tasks(contest_rule by, std::source_location where);

template <class... T>
struct contest_result {
  using type = std::variant<held<T>...>;
};
template <class First, class... Rest>
  requires(std::same_as<First, Rest> && ...)
struct contest_result<First, Rest...> {
  using type = First;
};

// `position` is a std::in_place_index_t, or a number.
template <class R, class T, class Position>
void give_value(outcome<R>& how, outcome<T>& won, Position position) {
  if constexpr (std::is_same_v<R, T>) {
    how = std::move(won);
  } else if constexpr (std::is_same_v<R, indexed<T>>) {
    how.emplace(R{position, won.take()});
  } else {
    how.emplace(position, won.take());
  }
}

template <contest_rule By, class R, class... T>
[[nodiscard]] task<R> compete(task<T>... tasks) {
  contest group(By);
  group.begin(co_await caller_site_awaiter());
  std::tuple<child<T>...> children{child<T>(adopt_task(group, std::move(tasks), std::source_location()))...};
  co_await group.join();
  group.close();
  if (group.winner() != nullptr && group.winner()->how() == ending::value) {
    outcome<R> how;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      const auto take = [&](auto& won, auto position) {
        if (&won != group.winner()) return false;
        give_value(how, won, position);
        return true;
      };
      static_cast<void>((take(std::get<I>(children).ended_with(), std::in_place_index<I>) || ...));
    }(std::index_sequence_for<T...>());
    if constexpr (std::is_void_v<R>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  outcome<unit> trouble;
  std::apply(
      [&](auto&... one) {
        outcome_base* const ends[] = {&one.ended_with()...};
        group.without_value(ends, trouble);
      },
      children);
  co_await end_with(trouble);
  __builtin_unreachable();
}

template <contest_rule By, class R, class T>
[[nodiscard]] task<R> compete_many(std::vector<task<T>> tasks) {
  const std::source_location where = co_await caller_site_awaiter();
  if (tasks.empty()) throw_misuse_no_tasks(By, where);
  contest group(By);
  group.begin(where);
  std::vector<child<T>> children;
  children.reserve(tasks.size());
  for (task<T>& one : tasks) children.emplace_back(adopt_task(group, std::move(one), std::source_location()));
  co_await group.join();
  group.close();
  if (group.winner() != nullptr && group.winner()->how() == ending::value) {
    outcome<R> how;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (&children[i].ended_with() == group.winner()) give_value(how, children[i].ended_with(), i);
    }
    if constexpr (std::is_void_v<R>) {
      co_return;
    } else {
      co_return how.get_forward();
    }
  }
  std::vector<outcome_base*> ends;
  ends.reserve(children.size());
  for (child<T>& one : children) ends.push_back(&one.ended_with());
  outcome<unit> trouble;
  group.without_value(ends, trouble);
  co_await end_with(trouble);
  __builtin_unreachable();
}

}  // namespace detail
}  // namespace belay
