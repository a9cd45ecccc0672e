// SPDX-License-Identifier: Apache-2.0
#pragma once
// What groups and combinators share: children under one scope, the first failure, and the wait for all.

#include <belay/core/detail/carry_locals.hpp>
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

  // Tells where it was opened; must be called by the task that will wait. `kind` names the function that did, `name` is the user's.
  void open(std::source_location where, const char* kind, const char* name = "") noexcept;
  // For combinators without a body: puts the scope under the current one. `close` takes it out again.
  void attach_scope() noexcept;
  void close() noexcept;

  [[nodiscard]] scope& inner_scope() noexcept { return scope_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }
  [[nodiscard]] bool is_open() const noexcept { return home_ != nullptr; }
  // Open, and this is the thread of its loop.
  [[nodiscard]] bool is_open_here() const noexcept { return is_open() && home_ == this_runtime; }
  [[nodiscard]] const char* name() const noexcept { return name_; }
  [[nodiscard]] bool being_cancelled() const noexcept { return scope_.effective(); }
  // Where nothing can be thrown: a call from another thread ends the process.
  void require_here(const char* call) const noexcept {
    if (is_open() && home_ != this_runtime) [[unlikely]]
      abort_on_wrong_thread(call);
  }

  // Takes the ownership of a node that is ready to run.
  void adopt(node& task) noexcept {
    runtime& rt = *this_runtime;
    task.group = this;
    task.base.attach_to(&scope_);
    ++live_;
    ++rt.live_nodes;
    rt.push_ready(task);
  }
  // A child of another group becomes one of this.
  void take_over(node& task) noexcept;
  void child_ended(node& task) noexcept;
  void request_cancel(cancel_reason reason, std::source_location where, failure cause = {}) noexcept;
  void add_failure(failure what) noexcept;

  // The body failed: cancels the children. Succeeded or cancelled: they go on, or have been cancelled with it.
  template <class T>
  void body_ended(outcome<T>& how) noexcept {
    attach_scope();  // the children stay under it while they are waited for
    if (how.failed()) add_failure(how.failed_with());
  }

  // Waits until not more than `most` children live. Whoever waits here cannot be cancelled: the children can.
  class join_awaiter final : public operation {
   public:
    join_awaiter(group_core& of, std::size_t most) noexcept : of_(&of), most_(most) {}
    [[nodiscard]] bool await_ready() const noexcept { return of_->busy() <= most_; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> waiting) noexcept {
      of_->joiner_ = this;
      suspend_uncancellable(waiting);
      return true;
    }
    void await_resume() const noexcept {}
    [[nodiscard]] std::size_t most() const noexcept { return most_; }
    void few_enough() noexcept { complete(); }
    [[nodiscard]] awaited waits_for() const noexcept override { return {"its tasks to end", of_->name_}; }

   private:
    void start() override {}
    bool abort() noexcept override { return false; }
    group_core* of_;
    std::size_t most_;
  };
  [[nodiscard]] join_awaiter join(std::size_t most = 0) noexcept { return join_awaiter(*this, most); }
  // What keeps it from ending: its children, and others that are about to bring one in.
  [[nodiscard]] std::size_t busy() const noexcept { return live_ + held_; }

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

 protected:
  // For those that treat the end of a child in another way; called when it does not live any more, before whoever joins is woken.
  using end_hook = void(group_core&, node&) noexcept;
  explicit group_core(end_hook* on_end) noexcept : on_end_(on_end) {}
  void treat_ends(end_hook* on_end) noexcept { on_end_ = on_end; }

  void hold() noexcept { ++held_; }
  void let_go() noexcept {
    --held_;
    wake_joiner();
  }
  [[nodiscard]] const failure& first_failure() const noexcept { return first_; }
  [[nodiscard]] std::source_location opened_at() const noexcept { return where_; }

 private:
  void wake_joiner() noexcept {
    if (joiner_ != nullptr && busy() <= joiner_->most()) std::exchange(joiner_, nullptr)->few_enough();
  }
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

  [[noreturn]] static void abort_on_wrong_thread(const char* call) noexcept;

  scope scope_;
  std::size_t live_ = 0;
  std::size_t held_ = 0;
  join_awaiter* joiner_ = nullptr;
  end_hook* on_end_ = nullptr;  // null: the first failure cancels the others, and comes out
  failure first_;
  const char* kind_ = "group";
  const char* name_ = "";
  std::source_location where_;
  runtime* home_ = nullptr;  // while it is open
  bool cut_tasks_ = false;   // a task ended as cancelled while the whole group was cancelled
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

// The type of the task that spawn(fn, args...) makes, or is given.
template <class F, class... A>
struct spawned_by : kept_call<std::decay_t<F>, std::unwrap_ref_decay_t<A>...> {};
template <class T>
struct spawned_by<task<T>> {
  using type = task<T>;
};
template <class F, class... A>
using spawned =
    typename spawned_by<std::conditional_t<is_task<std::remove_cvref_t<F>>, std::remove_cvref_t<F>, F>,
                        A...>::type;

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
  made.place = where;
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

// Gives `work` a node of its own. It is not in the group yet: `group_core::adopt`.
template <class Node, class T>
Node& make_task_node(group_core& owner, task<T>&& work, std::source_location where) {
  Node& child = make_node<Node>();
  child.destroy = &destroy_node<Node>;
  child.result = &child.value;
  try {
    carry_locals(owner.inner_scope(), work);
  } catch (...) {
    destroy_node<Node>(child);
    throw;
  }
  prepare_node(child, task_access::release(work), where);
  return child;
}

// Gives `work` a node of its own, in the group, in the ready queue.
template <class T>
child_node<T>& adopt_task(group_core& owner, task<T>&& work, std::source_location where) {
  auto& child = make_task_node<child_node<T>>(owner, std::move(work), where);
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
    carry_locals(owner.inner_scope(), work);
    prepare_node(child, task_access::release(work), where);
  } catch (...) {
    destroy_node<made>(child);
    throw;
  }
  owner.adopt(child);
  return static_cast<child_node<value>&>(child);
}

}  // namespace belay::detail
