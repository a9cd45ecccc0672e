// SPDX-License-Identifier: Apache-2.0
#pragma once
// The machinery under every await: frames, tasks (nodes), scopes, and the loop's step.
//
// A *node* is one task: a stack of frames, of which only the innermost waits. It is what the ready queue holds.
// A *frame* is one coroutine of that stack. A *scope* is what can be cancelled; scopes form a tree, and each
// node knows the innermost one it is in.
//
// A child is resumed inside its parent's await_suspend. So when a frame suspends, parents may still be on the C++ stack
// above it; everything that would touch them (resuming a parent, unwinding, ending a task) is left as a *next step* in
// the thread's `runtime`, and done by `run_node` once the C++ stack is empty again. There is one next step at the most,
// because whoever sets it suspends at once.

#include <belay/core/detail/frame_pool.hpp>
#include <belay/core/detail/timer_wheel.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/time.hpp>
#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

namespace belay {
class loop;
class operation;
class semaphore;
}  // namespace belay

namespace belay::detail {

struct node;
struct frame;
struct resource_frame;
struct cancel_hook;
class group_core;
class child_wait;
class watch;

// What the awaiting frame wants to see of a child that ended.
enum class delivery : unsigned char {
  plain,      // value; a failure is thrown; cancelled: the awaiting frame is unwound too
  forward,    // or_fail: a failure, too, unwinds the awaiting frame, without a throw
  inspect,    // as_outcome: value or failure as an outcome; cancelled unwinds on
  intercept,  // everything as an outcome; only for library code, which must pass a cancellation on
};

enum class progress : unsigned char {
  nested,   // being started or resumed inside the awaiter's await_suspend
  waiting,  // the awaiter is suspended and will be resumed by a next step
  done,     // ended (or, for a managed resource, at its co_yield) while nested
};

struct frame {
  std::coroutine_handle<> handle;
  frame* parent = nullptr;         // who awaits this frame; null for the outermost one of a task
  outcome_base* result = nullptr;  // where the outcome goes; lives in the awaiter or in the node
  std::source_location site;       // where this frame awaits just now; before its first await: its function
  resource_frame* cleanups = nullptr;  // managed resources opened by `use`, newest first
  delivery how = delivery::plain;
  progress state = progress::nested;
  bool closes_parent = false;  // the driver that closes the resources of `parent`, which is ending
  bool at_yield = false;       // a managed resource that is open
  bool body_ended = false;     // reached its final suspend point
};

// A managed resource.
struct resource_frame : frame {
  resource_frame* next_cleanup = nullptr;  // the one opened before it by the same frame
  const void* handed_out = nullptr;        // by its co_yield
  void (*tell)(resource_frame&, exit_status) noexcept = nullptr;  // tells it how the block ended
  void (*drop_value)(outcome_base&) noexcept = nullptr;  // drops the value of the frame that opened it
};

struct scope;
// `target` is cancelled from now on, by itself or from outside, with all below it that is not shielded. Wakes what waits there.
void make_effective(scope& target) noexcept;
// `target` came under a scope that is cancelled or watched, or was cancelled itself: it gets what acts on it, with all that is
// below it already.
void inherit_gate(scope& target) noexcept;

struct runtime;
// Somebody was asked to stop: after the limit it is looked for who has not.
void set_look(runtime& rt) noexcept;

// What stands between a task and its next wait; tested as one byte, so that a program that is not watched pays nothing.
enum gate : unsigned char {
  gate_open = 0,
  gate_cancelled = 1,  // a cancellation acts here
  gate_watched = 2,    // a driver numbers the awaits
};

struct scope {
  scope* parent = nullptr;
  scope* first_child = nullptr;
  scope* next = nullptr;
  scope** link = nullptr;  // who points to us: the parent's first_child or a sibling's next
  node* owner = nullptr;
  cancel_record record;  // set with the first request
  unsigned char at_gate = gate_open;
  bool requested : 1 = false;  // cancel was asked for on this very scope
  bool shielded : 1 = false;
  bool has_deadline : 1 = false;  // it is a deadline_scope
  bool for_cleanup : 1 = false;   // it is a cleanup_scope
  bool has_value : 1 = false;     // it is a local_scope: holds the value of a task_local
  bool has_hook : 1 = false;      // it is a cancel_hook: told when a cancellation reaches it

  scope() noexcept = default;
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

  void attach_to(scope* new_parent) noexcept {
    parent = new_parent;
    if (new_parent != nullptr) {
      next = new_parent->first_child;
      if (next != nullptr) next->link = &next;
      new_parent->first_child = this;
      link = &new_parent->first_child;
      at_gate = gate_open;
      if (requested || new_parent->at_gate != gate_open) [[unlikely]]
        inherit_gate(*this);
    } else {
      at_gate = requested ? gate_cancelled : gate_open;
    }
  }
  void detach() noexcept {
    if (link != nullptr) {
      *link = next;
      if (next != nullptr) next->link = link;
      link = nullptr;
      next = nullptr;
    }
  }
  // Cancelled: here, or on a parent that we are not shielded from.
  [[nodiscard]] bool effective() const noexcept { return (at_gate & gate_cancelled) != 0; }
  [[nodiscard]] bool watched() const noexcept { return (at_gate & gate_watched) != 0; }
  // Is a parent's cancellation acting on us? Then ours is not the one to stop at.
  [[nodiscard]] bool cancelled_from_outside() const noexcept {
    return !shielded && parent != nullptr && parent->effective();
  }
};

// A task that was never started goes away: told as a diagnostic, unless it goes with something that failed or was cancelled, and so did
// not get to it: while an exception passes, or while `runtime::tearing_down` says so.
void drop_unstarted(frame& dropped) noexcept;
// Without a word, of tasks that were given to it either.
void destroy_quietly(frame& cut_short) noexcept;
// A resource or stream that was never opened goes away. However deeply what was given to it is nested: as for tasks, that does not
// go deeper into the stack than so much.
void destroy_unopened(frame& dropped) noexcept;

// Requests the cancellation of a scope, once; later requests change nothing. Wakes what waits in it.
void cancel_scope(scope& target, const cancel_record& record) noexcept;
// The record of the outermost requested scope that acts on `from`.
[[nodiscard]] cancel_record effective_record(const scope& from) noexcept;

enum class node_state : unsigned char {
  fresh,      // in the ready queue, body not begun
  ready,      // in the ready queue, to be resumed
  to_unwind,  // in the ready queue: its operation was taken back by a cancellation
  running,
  waiting,   // an operation is under way
  joining,   // likewise, without regard to cancellation
  aborting,  // it was asked to stop, and has not answered
  ended,
};

// What a task is called: apart from the node, because most have no name.
struct task_label {
  static constexpr std::uint64_t no_number = UINT64_MAX;
  const char* text = nullptr;  // a literal; null: no name
  std::uint64_t number = no_number;
  std::source_location spawned_at = {};
};

struct node {
  union {
    node* next_ready = nullptr;  // fresh, ready
    operation* waits_for;        // waiting, joining, aborting
  };
  frame* leaf = nullptr;     // innermost frame: what is resumed
  scope* current = nullptr;  // innermost scope
  group_core* group = nullptr;
  child_wait* awaiters = nullptr;  // who waits for the end of this task
  outcome_base* result = nullptr;
  void (*destroy)(node&) noexcept = nullptr;
  // Most tasks have no name: then the place stands here, and not in a label.
  union {
    std::source_location place = {};
    task_label* label;  // owned
  };
  [[no_unique_address]] scope base;  // the flags below fit into its padding
  node_state state = node_state::fresh;
  bool has_handle : 1 = false;    // a `child` refers to this node: keep the result
  bool closure_gone : 1 = false;  // its function and arguments were destroyed
  bool dropping : 1 = false;      // ... are being destroyed just now
  bool labelled : 1 = false;      // it has a name
  std::uint32_t waits_since = 0;  // a coarse_time

  node() noexcept {
    base.owner = this;
    current = &base;
  }
  node(const node&) = delete;
  node& operator=(const node&) = delete;
  ~node() {
    if (labelled) [[unlikely]]
      delete label;
  }
  [[nodiscard]] std::source_location spawned_at() const noexcept {
    return labelled ? label->spawned_at : place;
  }
  // Errors: std::bad_alloc, and nothing has changed.
  void call_it(const char* name, std::uint64_t number);
  [[nodiscard]] bool waits() const noexcept {
    return state == node_state::waiting || state == node_state::joining || state == node_state::aborting;
  }
  [[nodiscard]] bool cancel_pending() const noexcept { return current->effective(); }
};

// resume: the frame goes on. settle: its outcome is set; close what it opened, destroy it, deliver to who awaits it.
enum class step : unsigned char { none, resume, settle };

// Time in units of 2^20 ns, about a millisecond; wraps around after 52 days.
[[nodiscard]] constexpr std::uint32_t coarse_time(time_point when) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(when.time_since_epoch().count()) >> 20);
}

// "purge", "worker 3"; empty without a name.
[[nodiscard]] std::string name_text(const task_label& label);
[[nodiscard]] inline std::string name_text(const node& task) {
  return task.labelled ? name_text(*task.label) : std::string();
}

// The state of a thread that runs a loop. One per thread; found by one thread-local load.
struct runtime {
  node* current = nullptr;
  frame* next_frame = nullptr;
  step next_step = step::none;
  char* stack_limit = nullptr;  // nest no deeper than this address (stacks grow downwards here)
  node* ready_head = nullptr;
  node* ready_tail = nullptr;
  std::size_t live_nodes = 0;
  std::uint32_t coarse_now = 0;  // when the loop last looked at its clock
  // When to look for tasks that were asked to stop and have not ended; none while nobody was asked.
  static constexpr std::uint64_t no_look = UINT64_MAX;
  static constexpr std::uint64_t never_look = UINT64_MAX - 1;  // it is turned off
  std::uint64_t look_due = no_look;
  unsigned tearing_down = 0;  // more than 0: see drop_unstarted
  timer_wheel* timers = nullptr;
  clock* time = nullptr;
  // The failures that the running task rethrew or looked at since it was resumed, the latest few: `throw;` and
  // current_failure() find the record of their exception here.
  static constexpr unsigned remembered = 4;
  std::array<ref<failure_record>, remembered> recent;
  unsigned recent_count = 0;  // ever remembered since then

  void remember(ref<failure_record> what) noexcept { recent[recent_count++ % remembered] = std::move(what); }
  [[nodiscard]] failure_record* find_recent(const std::exception_ptr& exception) const noexcept;
  void forget_recent() noexcept {
    for (ref<failure_record>& one : recent) one = nullptr;
    recent_count = 0;
  }
  cancel_hook* due_hooks = nullptr;  // reached by a cancellation, and not called yet; in order
  cancel_hook* last_due_hook = nullptr;
  unsigned cancelling = 0;  // how many cancellations are under way, one within the other
  belay::loop* loop = nullptr;
  watch* watcher = nullptr;  // while a driver runs: then `stack_limit` lets every await of a task ask it

  void push_ready(node& task) noexcept {
    task.next_ready = nullptr;
    if (ready_tail != nullptr) {
      ready_tail->next_ready = &task;
    } else {
      ready_head = &task;
    }
    ready_tail = &task;
  }
  void next(step what, frame& target) noexcept {
    next_step = what;
    next_frame = &target;
  }
};

// Null on threads that run no loop.
extern constinit thread_local runtime* this_runtime;

// The runtime, for code that may run outside of a loop: throws misuse_error naming `what` there.
[[nodiscard]] runtime& require_runtime(const char* what);
// Ends the process when this is not the thread of the task's loop: whoever completes an operation must be there. For builds with assertions.
void require_home(const node& task) noexcept;

// Resumes the task until it suspends or ends, doing all next steps.
void run_node(runtime& rt, node& task) noexcept;

// Starts unwinding `from` as cancelled, as the next step.
void unwind_cancelled(runtime& rt, frame& from) noexcept;
// Likewise as failed.
void unwind_failed(runtime& rt, frame& from, ref<failure_record> record) noexcept;

// The failure record for the exception being handled: the one passing through, or a new one.
[[nodiscard]] ref<failure_record> record_current_exception() noexcept;
void append_trace(failure_record& record, std::source_location place) noexcept;
// Remembers `record` as passing through this thread and throws its exception.
[[noreturn]] void rethrow_record(const ref<failure_record>& record);

// Begins the end of a frame at its final suspend point (its result is set). When it has nothing to close and its awaiter
// is still on the stack, there is nothing to do but to say so. A parent that finds its child not done waits.
inline void finish_frame(frame& ended) noexcept {
  if (ended.cleanups == nullptr && ended.state == progress::nested && ended.parent != nullptr) [[likely]] {
    ended.state = progress::done;
  } else {
    this_runtime->next(step::settle, ended);
  }
}

[[nodiscard]] inline bool stack_is_deep(const runtime& rt) noexcept {
#if defined(__GNUC__)
  return static_cast<char*>(__builtin_frame_address(0)) < rt.stack_limit;
#else
  volatile char here = 0;
  return const_cast<char*>(&here) < rt.stack_limit;
#endif
}

// A child failed while its awaiter was on the stack: traces it. True: the failure ends the awaiting frame as well.
[[nodiscard]] bool pass_on_failure(frame& parent, outcome_base& result, delivery how) noexcept;
// The same, after destroying the child.
[[nodiscard]] bool end_failed(frame& parent, frame& child, outcome_base& result, delivery how) noexcept;

// The stack is deep, or the loop is watched: all goes by next steps, and the parent stays suspended. (So the call can be the last one of
// await_suspend, and costs the usual way nothing.)
void await_frame_slowly(runtime& rt, frame& parent, frame& child, outcome_base& result) noexcept;

// Starts (or goes on with) `child` on behalf of `parent`. True: the parent stays suspended. False: the child is done, its
// frame is destroyed (unless it is an open resource), and the outcome can be read.
[[gnu::always_inline]] inline bool await_frame(frame& parent, frame& child, outcome_base& result,
                                               delivery how) noexcept {
  runtime& rt = *this_runtime;
  child.parent = &parent;
  child.result = &result;
  child.how = how;
  if (stack_is_deep(rt)) [[unlikely]] {
    await_frame_slowly(rt, parent, child, result);
    return true;
  }
  child.state = progress::nested;
  child.handle.resume();
  if (child.state != progress::done) {
    child.state = progress::waiting;
    return true;
  }
  if (child.at_yield && !child.body_ended) return false;
  if (result.how() != ending::value) [[unlikely]]
    return end_failed(parent, child, result, how);
  child.handle.destroy();
  return false;
}

// The gate is not open: asks the driver, which may throw; then, if a cancellation acts here, unwinds `leaf` and says true.
[[nodiscard]] bool stopped_at_gate(runtime& rt, frame& leaf, operation& op);
// The same for a yield or a checkpoint, which cannot fail.
[[nodiscard]] bool stopped_at_gate(runtime& rt, frame& leaf) noexcept;

// Puts the running task to sleep at `leaf`, with `op` under way. False: a cancellation acts here, the operation must not
// start.
[[nodiscard]] inline bool begin_wait(frame& leaf, operation& op) {
  runtime& rt = *this_runtime;
  node& task = *rt.current;
  if (task.current->at_gate != gate_open) [[unlikely]] {
    if (stopped_at_gate(rt, leaf, op)) return false;
  }
  task.leaf = &leaf;
  task.waits_for = &op;
  task.state = node_state::waiting;
  task.waits_since = rt.coarse_now;
  return true;
}

}  // namespace belay::detail
