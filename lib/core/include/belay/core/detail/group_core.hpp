// SPDX-License-Identifier: Apache-2.0
#pragma once
// What groups and combinators share: children under one scope, the first failure, and the wait for all.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/operation.hpp>
#include <belay/core/task.hpp>
#include <functional>
#include <source_location>
#include <tuple>
#include <utility>

namespace belay::detail {

class group_core {
 public:
  group_core() noexcept = default;
  group_core(const group_core&) = delete;
  group_core& operator=(const group_core&) = delete;
  ~group_core();

  // Tells where it was opened; must be called by the task that will wait.
  void open(std::source_location where, const char* kind) noexcept;
  // For combinators without a body: puts the scope under the current one. `close` takes it out again.
  void attach_scope() noexcept;
  void close() noexcept;

  [[nodiscard]] scope& inner_scope() noexcept { return scope_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }

  // Takes the ownership of a node that is ready to run.
  void adopt(node& task) noexcept {
    runtime& rt = *this_runtime;
    task.group = this;
    task.base.attach_to(&scope_);
    ++live_;
    ++rt.live_nodes;
    rt.push_ready(task);
  }
  void child_ended(node& task) noexcept;
  void request_cancel(cancel_reason reason, std::source_location where, failure cause = {}) noexcept;
  void add_failure(failure what) noexcept;

  // The body failed: cancels the children. Succeeded or cancelled: they go on, or have been cancelled with it.
  template <class T>
  void body_ended(outcome<T>& how) noexcept {
    attach_scope();  // the children stay under it while they are waited for
    if (how.failed()) add_failure(how.failed_with());
  }

  // Waits until no child lives. Whoever waits here cannot be cancelled: the children can.
  class join_awaiter final : public operation {
   public:
    explicit join_awaiter(group_core& of) noexcept : of_(&of) {}
    [[nodiscard]] bool await_ready() const noexcept { return of_->live_ == 0; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
      of_->joiner_ = this;
      suspend_uncancellable(waiting);
      return true;
    }
    void await_resume() const noexcept { of_->joiner_ = nullptr; }
    void all_ended() noexcept { complete(); }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"its tasks to end", ""}; }

   private:
    void start() override {}
    bool abort() noexcept override { return false; }
    group_core* of_;
  };
  [[nodiscard]] join_awaiter join() noexcept { return join_awaiter(*this); }

  // After the join: true when `how` is a value to be returned; otherwise `how` holds the failure or cancellation with
  // which the group's frame has to end.
  template <class T>
  [[nodiscard]] bool conclude(outcome<T>& how) noexcept {
    if (first_) {
      how.drop_value();
      how.set_failed(std::exchange(first_, failure()).take_record());
      return false;
    }
    if (how.succeeded()) {
      if (!cut_short()) return true;
      how.drop_value();
    }
    return conclude_cancelled(how, std::is_void_v<T>) && fill_void(how);
  }

 private:
  // The body has its value, but tasks were cut short by a cancellation from outside, which therefore goes on.
  [[nodiscard]] bool cut_short() const noexcept {
    return cut_tasks_ && this_runtime->current->current->effective();
  }
  // Cancelled, with no failure: from outside, or by the group's own cancel.
  bool conclude_cancelled(outcome_base& how, bool result_is_void) noexcept;
  template <class T>
  static bool fill_void(outcome<T>& how) noexcept {
    if constexpr (std::is_void_v<T>) how.emplace();
    return true;
  }

  scope scope_;
  std::size_t live_ = 0;
  join_awaiter* joiner_ = nullptr;
  failure first_;
  const char* kind_ = "group";
  std::source_location where_;
  bool open_ = false;
  bool cut_tasks_ = false;  // a task ended as cancelled while the whole group was cancelled
};

// A child task: node, result, and (derived) the function with its arguments.
template <class T>
struct child_node : node {
  outcome<T> value;
};

template <class T, class F, class... A>
struct closure_node final : child_node<T> {
  struct closure {
    template <class G, class... B>
    explicit closure(G&& function, B&&... arguments)
        : fn(std::forward<G>(function)), args(std::forward<B>(arguments)...) {}
    [[no_unique_address]] F fn;
    [[no_unique_address]] std::tuple<A...> args;
  };
  union {
    closure kept;
  };
  template <class G, class... B>
  explicit closure_node(G&& function, B&&... arguments)
      : kept(std::forward<G>(function), std::forward<B>(arguments)...) {}
  ~closure_node() {
    if (!this->closure_gone) std::destroy_at(&kept);
  }
  // When the task has ended, its function and arguments go, although a handle keeps the result.
  void drop_closure() noexcept {
    this->closure_gone = true;
    this->dropping = true;  // the handle itself may be among the arguments
    std::destroy_at(&kept);
    this->dropping = false;
  }
  BELAY_CORO_WRAPPER task<T> begin() { return begin_with(std::index_sequence_for<A...>()); }

 private:
  template <std::size_t... I>
  BELAY_CORO_WRAPPER task<T> begin_with(std::index_sequence<I...>) {
    if constexpr (takes_lvalues<F, A...>) {
      return call(kept.fn, std::get<I>(kept.args)...);
    } else {
      return call(kept.fn, std::forward<A>(std::get<I>(kept.args))...);
    }
  }
};

// Destroys an ended node; if a handle still refers to it, only what the result does not need.
template <class Node>
void destroy_node(node& dead) noexcept {
  auto* self = static_cast<Node*>(&dead);
  if (dead.has_handle) {
    if constexpr (requires { self->drop_closure(); }) self->drop_closure();
    if (dead.has_handle) return;
  }
  std::destroy_at(self);
  frame_pool::release(self, sizeof(Node));
}

inline void prepare_node(node& made, frame& root, std::source_location where) noexcept {
  made.leaf = &root;
  made.spawned_at = where;
  root.result = made.result;
  root.parent = nullptr;
  root.how = delivery::intercept;
  root.state = progress::waiting;
}

template <class Node, class... A>
Node& make_node(A&&... args) {
  static_assert(alignof(Node) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "over-aligned results and arguments: box them");
  void* memory = frame_pool::allocate(sizeof(Node));
  try {
    return *::new (memory) Node(std::forward<A>(args)...);
  } catch (...) {
    frame_pool::release(memory, sizeof(Node));
    throw;
  }
}

// Gives `work` a node of its own, in the group, in the ready queue.
template <class T>
child_node<T>& adopt_task(group_core& owner, task<T>&& work, std::source_location where) {
  using made = child_node<T>;
  made& child = make_node<made>();
  child.destroy = &destroy_node<made>;
  child.result = &child.value;
  prepare_node(child, task_access::release(work), where);
  owner.adopt(child);
  return child;
}

template <class F, class... A>
auto& spawn_closure(group_core& owner, std::source_location where, F&& fn, A&&... args) {
  using value = typename kept_call<std::decay_t<F>, std::unwrap_ref_decay_t<A>...>::type::value_type;
  using made = closure_node<value, std::decay_t<F>, std::unwrap_ref_decay_t<A>...>;
  made& child = make_node<made>(std::forward<F>(fn), std::forward<A>(args)...);
  child.destroy = &destroy_node<made>;
  child.result = &child.value;
  try {
    auto work = child.begin();
    prepare_node(child, task_access::release(work), where);
  } catch (...) {
    destroy_node<made>(child);
    throw;
  }
  owner.adopt(child);
  return static_cast<child_node<value>&>(child);
}

}  // namespace belay::detail
