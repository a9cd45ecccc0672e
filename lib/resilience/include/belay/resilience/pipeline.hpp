// SPDX-License-Identifier: Apache-2.0
#pragma once
// Several policies round one operation, the outermost first.

#include <belay/resilience/policy.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace belay {

/// An order of policies that does hardly what was meant. `code` is stable; docs/policies/pipeline.md explains each.
struct pipeline_warning {
  std::string_view code;
  std::string text;
};

namespace detail {

// What a policy inside gets: refers to what the frame of the outermost policy keeps.
template <class Inside>
struct borrowed {
  static constexpr bool runs_again = belay::runs_again<Inside>;
  static constexpr bool declared_repeatable = belay::declared_repeatable<Inside>;
  Inside* inside;
  BELAY_CORO_WRAPPER auto operator()() { return (*inside)(); }
};

// The operation, and round it the policies that follow. The frame of the policy outside of them keeps it.
template <class Op, class... P>
struct policy_chain;
template <class Op>
struct policy_chain<Op> {
  static constexpr bool runs_again = belay::runs_again<Op>;
  static constexpr bool declared_repeatable = belay::declared_repeatable<Op>;
  Op op;
  BELAY_CORO_WRAPPER auto operator()() { return op(); }
};
template <class Op, class P, class... Rest>
struct policy_chain<Op, P, Rest...> {
  static constexpr bool runs_again = belay::runs_again<Op>;
  static constexpr bool declared_repeatable = belay::declared_repeatable<Op>;
  const P* first;
  policy_chain<Op, Rest...> rest;
  BELAY_CORO_WRAPPER auto operator()() { return first->run(borrowed<policy_chain<Op, Rest...>>{&rest}); }
};

template <class Op>
policy_chain<Op> make_chain(Op&& op) {
  return {std::forward<Op>(op)};
}
template <class Op, class P, class... Rest>
policy_chain<Op, P, Rest...> make_chain(Op&& op, const P& first, const Rest&... rest) {
  return {std::addressof(first), make_chain<Op>(std::forward<Op>(op), rest...)};
}

[[nodiscard]] std::vector<pipeline_warning> judge_order(const std::vector<policy_facts>& outermost_first);
// Puts the line, or lines, of a policy under those before it, further in.
void describe_inside(std::string& text, std::string_view inner, unsigned& depth);

}  // namespace detail

/// Policies as one, outermost first:
///
///     const pipeline guarded{retry{}, circuit_breaker{}, timeout{1s}};
///     const quote q = co_await guarded(fetch, url);
///
/// Each call of the operation makes a fresh task; `T` may be void, a reference, move-only. A pipeline is a value: copies share the state of their
/// policies (one breaker, one budget). Any number of tasks of a loop may use it at the same time. It is a policy itself, and can be
/// part of another one.
///
/// Result, Errors, Cancellation: what the policies say. A cancellation passes through all of them: nothing is retried, counted, replaced.
/// Cost:      one coroutine for each policy; no other memory.
/// Lifetime:  must outlive the tasks that it makes. The operation is kept in them; what that refers to must outlive them.
/// Thread:    one loop.
template <resilience_policy... P>
class pipeline : public policy<pipeline<P...>> {
  static_assert(sizeof...(P) > 0, "a pipeline needs a policy");

 public:
  explicit pipeline(P... outermost_first) : policies_(std::move(outermost_first)...) {}

  template <guarded_operation Next>
  [[nodiscard]] BELAY_CORO_WRAPPER task<guarded_result<Next>> run(Next next) const {
    return run_all(std::move(next), std::index_sequence_for<P...>());
  }

  /// The policy at a place, 0 is the outermost; to ask it for its statistics.
  template <std::size_t Place>
  [[nodiscard]] const auto& get() const noexcept {
    return std::get<Place>(policies_);
  }
  [[nodiscard]] std::string_view name() const noexcept { return "pipeline"; }
  /// One line for each policy, outermost first, each further in than the one before.
  [[nodiscard]] std::string describe() const {
    std::string text;
    unsigned depth = 0;
    std::apply([&](const P&... one) { (detail::describe_inside(text, one.describe(), depth), ...); },
               policies_);
    return text;
  }
  /// What is suspicious about the order. Empty for most. For a test or a line at the start of a program; nothing is printed.
  [[nodiscard]] std::vector<pipeline_warning> warnings() const {
    std::vector<policy_facts> all;
    append_facts(all);
    return detail::judge_order(all);
  }
  void append_facts(std::vector<policy_facts>& to) const {
    std::apply([&to](const P&... one) { (append_one(to, one), ...); }, policies_);
  }

 private:
  template <class Next, std::size_t Outermost, std::size_t... Rest>
  BELAY_CORO_WRAPPER task<guarded_result<Next>> run_all(Next next,
                                                        std::index_sequence<Outermost, Rest...>) const {
    return std::get<Outermost>(policies_).run(
        detail::make_chain<Next>(std::move(next), std::get<Rest>(policies_)...));
  }
  template <class One>
  static void append_one(std::vector<policy_facts>& to, const One& one) {
    if constexpr (requires { one.append_facts(to); }) {
      one.append_facts(to);
    } else if constexpr (requires { to.push_back(one.facts()); }) {
      to.push_back(one.facts());
    } else {
      to.push_back({.name = std::string(one.name())});
    }
  }

  std::tuple<P...> policies_;
};
template <class... P>
pipeline(P...) -> pipeline<P...>;

}  // namespace belay
