// SPDX-License-Identifier: Apache-2.0
// The loop's step: resuming, ending and unwinding frames, and the cancellation of scopes.

#include <belay/core/child.hpp>
#include <belay/core/detail/cancel_hook.hpp>
#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/group_core.hpp>
#include <belay/core/detail/runtime.hpp>
#include <belay/core/detail/watch.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/operation.hpp>
#include <belay/core/sleep.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

namespace belay::detail {

constinit thread_local runtime* this_runtime = nullptr;

runtime& require_runtime(const char* what) {
  if (this_runtime == nullptr) {
    throw misuse_error(std::string(what) + " was called outside of a running loop; call it from a task");
  }
  return *this_runtime;
}

void require_home(const node& task) noexcept {
  const bool elsewhere = this_runtime == nullptr ||
                         (task.group != nullptr && task.group->is_open() && !task.group->is_open_here());
  if (!elsewhere) return;
  std::fputs(
      "belay: operation::complete on a thread that is not the task's; let its loop do this, by loop::post\n",
      stderr);
  std::abort();
}

void abort_on_empty_task(std::source_location here) noexcept {
  if (here.line() != 0) {
    std::fprintf(stderr,
                 "belay: co_await at %s:%u of a task that was already awaited, spawned or moved from\n",
                 here.file_name(), static_cast<unsigned>(here.line()));
  } else {
    std::fputs("belay: a task was given away that was already awaited, spawned or moved from\n", stderr);
  }
  std::abort();
}

namespace {

// Closes what an ending frame opened with `use`, newest first. Its own errors go into the frame's outcome.
task<void> close_resources(frame& ending) {
  while (ending.cleanups != nullptr) {
    resource_frame& resource = *ending.cleanups;
    ending.cleanups = resource.next_cleanup;
    void (*const drop_value)(outcome_base&) noexcept = resource.drop_value;
    outcome_base& how = *ending.result;
    cleanup_scope shield(ending.site);
    shield.arm();
    outcome<void> closed = co_await close_awaiter(resource, exit_status::of(how), shield);
    shield.disarm();
    merge_cleanup(how, closed, shield, [&] { drop_value(how); });
  }
}

// The end of a task: its outcome is in place, its frames are gone.
void end_node(runtime& rt, node& task) noexcept {
  task.state = node_state::ended;
  task.leaf = nullptr;
  task.base.detach();
  --rt.live_nodes;
  if (task.base.watched()) [[unlikely]]
    rt.watcher->at_end(task);
  if (task.group != nullptr) task.group->child_ended(task);  // may destroy the node
}

// Destroys a frame with its locals. False: the destructor of one threw; that is the frame's outcome now, and it has come to its end.
[[gnu::noinline]] bool destroy_unfinished(runtime& rt, frame& cut) noexcept {
  cut.state = progress::waiting;
  cut.handle.destroy();
  return std::exchange(rt.next_step, step::none) == step::none;
}

// The outcome of `ended` is set. Closes what it opened, destroys it, and tells its awaiter; goes on outwards as long as
// awaiting frames are ended by it too. Iterative, so that the depth of a chain does not matter.
// Not inlined: the turns of tasks that only wait would pay for its registers.
[[gnu::noinline]] void settle(runtime& rt, frame& first) noexcept {
  frame* ended = &first;
  for (;;) {
    if (ended->cleanups != nullptr) {
      static thread_local outcome<void> unused;
      task<void> closing = close_resources(*ended);
      frame& driver = task_access::release(closing);
      driver.parent = ended;
      driver.result = &unused;
      driver.closes_parent = true;
      driver.state = progress::waiting;
      rt.next(step::resume, driver);
      return;
    }
    frame* const awaiter = ended->parent;
    outcome_base& result = *ended->result;  // part of the awaiter's frame, or of the node
    const delivery how = ended->how;
    const bool was_driver = ended->closes_parent;
    const ending kind = result.how();
    if (ended->body_ended && kind == ending::value) [[likely]] {
      ended->handle.destroy();
    } else {
      ++rt.tearing_down;
      const bool clean = ended->body_ended ? (ended->handle.destroy(), true) : destroy_unfinished(rt, *ended);
      --rt.tearing_down;
      if (!clean) continue;
    }
    if (was_driver) {
      ended = awaiter;
      continue;
    }
    if (awaiter == nullptr) return end_node(rt, *rt.current);
    if (kind == ending::failed) append_trace(result.failed_record(), awaiter->site);
    const bool goes_on = (kind == ending::failed && how == delivery::forward) ||
                         (kind == ending::cancelled && how != delivery::intercept);
    if (!goes_on) return rt.next(step::resume, *awaiter);
    awaiter->result->take_trouble(result);
    ended = awaiter;
  }
}

}  // namespace

void run_node(runtime& rt, node& task) noexcept {
  rt.current = &task;
  frame& leaf = *task.leaf;
  const node_state was = std::exchange(task.state, node_state::running);
  // Cancelled before its first step: the body does not run.
  if (was == node_state::to_unwind || (was == node_state::fresh && task.cancel_pending())) [[unlikely]] {
    unwind_cancelled(rt, leaf);
  } else {
    leaf.handle.resume();
  }
  while (rt.next_step != step::none) {
    frame& target = *rt.next_frame;
    if (std::exchange(rt.next_step, step::none) == step::resume) {
      target.handle.resume();
    } else {
      settle(rt, target);
    }
  }
  rt.current = nullptr;
  if (rt.recent_count != 0) [[unlikely]]
    rt.forget_recent();
}

bool end_failed(frame& parent, frame& child, outcome_base& result, delivery how) noexcept {
  destroy_quietly(child);
  return pass_on_failure(parent, result, how);
}

bool pass_on_failure(frame& parent, outcome_base& result, delivery how) noexcept {
  if (result.how() == ending::failed) append_trace(result.failed_record(), parent.site);
  if (how != delivery::forward) return false;
  parent.result->take_trouble(result);
  this_runtime->next(step::settle, parent);
  return true;
}

void await_frame_slowly(runtime& rt, frame& parent, frame& child, outcome_base& result) noexcept {
  if (rt.watcher != nullptr && rt.current->current->watched()) {
    rt.current->leaf = &parent;
    watch::verdict told = rt.watcher->at_task(*rt.current, parent, child);
    if (told.cancelled || told.failed) {
      const delivery how = child.how;
      destroy_quietly(child);
      if (told.cancelled) return unwind_cancelled(rt, parent);
      result.set_failed(std::move(told.failed));
      if (!pass_on_failure(parent, result, how)) rt.next(step::resume, parent);
      return;
    }
  }
  child.state = progress::waiting;
  rt.next(step::resume, child);
}

namespace {

bool stopped(runtime& rt, frame& leaf) noexcept {
  if (!rt.current->cancel_pending()) return false;
  unwind_cancelled(rt, leaf);
  return true;
}

}  // namespace

bool stopped_at_gate(runtime& rt, frame& leaf, operation& op) {
  if (rt.current->current->watched()) {
    rt.current->leaf = &leaf;  // where it waited last may be gone
    rt.watcher->at_wait(*rt.current, leaf, op);
  }
  return stopped(rt, leaf);
}

bool stopped_at_gate(runtime& rt, frame& leaf) noexcept {
  if (rt.current->current->watched()) {
    rt.current->leaf = &leaf;
    rt.watcher->at_yield(*rt.current, leaf);
  }
  return stopped(rt, leaf);
}

void unwind_cancelled(runtime& rt, frame& from) noexcept {
  from.result->set_cancelled(effective_record(*rt.current->current).shared());
  rt.next(step::settle, from);
}

void unwind_failed(runtime& rt, frame& from, ref<failure_record> record) noexcept {
  record->observed.store(false, std::memory_order_relaxed);  // it goes on: somebody else has to look again
  append_trace(*record, from.site);
  from.result->set_failed(std::move(record));
  rt.next(step::settle, from);
}

void resource_opened(resource_frame& resource) noexcept {
  resource.at_yield = true;
  if (runtime& rt = *this_runtime; rt.watcher != nullptr && rt.current->current->watched()) [[unlikely]]
    rt.watcher->at_opened(resource);
  if (resource.state == progress::nested) {
    resource.state = progress::done;
  } else {
    this_runtime->next(step::resume, *resource.parent);
  }
}

// ---- scopes

namespace {

void wake_for_cancellation(node& task) noexcept {
  if (task.state != node_state::waiting) return;  // acts at the next suspension
  task.state = node_state::aborting;
  operation& op = *task.waits_for;
  if (op.abort_now()) {
    task.state = node_state::to_unwind;
    this_runtime->push_ready(task);
  }
}

// The code of users. It is called when the tree is in order again, and may cancel other scopes, whose hooks are called after it.
void call_due_hooks(runtime& rt) noexcept {
  ++rt.cancelling;
  while (rt.due_hooks != nullptr) {
    cancel_hook& first = *rt.due_hooks;
    first.not_due();
    first.call(first, effective_record(first));
  }
  --rt.cancelling;
}

}  // namespace

void cancel_hook::become_due() noexcept {
  runtime& rt = *this_runtime;
  *(rt.due_hooks != nullptr ? &rt.last_due_hook->next_due : &rt.due_hooks) = this;
  rt.last_due_hook = this;
  due = true;
}

void cancel_hook::not_due() noexcept {
  runtime& rt = *this_runtime;
  cancel_hook* before = nullptr;
  for (cancel_hook* walk = rt.due_hooks; walk != this; walk = walk->next_due) before = walk;
  *(before != nullptr ? &before->next_due : &rt.due_hooks) = std::exchange(next_due, nullptr);
  if (rt.last_due_hook == this) rt.last_due_hook = before;
  due = false;
}

void hook_failed() noexcept {
  failure what(record_current_exception());
  try {
    what.note("thrown by a hook of on_cancel");
  } catch (const std::bad_alloc&) {
    return;  // without memory the story gets shorter; the error itself is reported
  }
}

void cancel_scope(scope& target, const cancel_record& record) noexcept {
  if (target.requested) return;
  target.requested = true;
  target.record = record;
  runtime* const rt = this_runtime;
  if (rt == nullptr) {
    if (!target.effective()) make_effective(target);
    return;
  }
  if (rt->look_due == runtime::no_look) [[unlikely]]
    set_look(*rt);
  if (record && record.shared()->asked_at == 0) record.shared()->asked_at = rt->coarse_now;
  if (target.effective()) return;
  ++rt->cancelling;
  make_effective(target);
  if (--rt->cancelling == 0 && rt->due_hooks != nullptr) [[unlikely]]
    call_due_hooks(*rt);
}

void make_effective(scope& target) noexcept {
  // Preorder over the subtree, without recursion, leaving out shields and what is cancelled already.
  scope* walk = &target;
  for (;;) {
    walk->at_gate |= gate_cancelled;
    if (walk->has_hook) [[unlikely]]
      static_cast<cancel_hook*>(walk)->become_due();
    scope* down = nullptr;
    for (scope* child = walk->first_child; child != nullptr; child = child->next) {
      if (!child->shielded && !child->effective()) {
        down = child;
        break;
      }
    }
    if (walk->owner != nullptr && walk->owner->current == walk) wake_for_cancellation(*walk->owner);
    while (down == nullptr) {
      if (walk == &target) return;
      for (scope* sibling = walk->next; sibling != nullptr && down == nullptr; sibling = sibling->next) {
        if (!sibling->shielded && !sibling->effective()) down = sibling;
      }
      if (down == nullptr) walk = walk->parent;
    }
    walk = down;
  }
}

void inherit_gate(scope& target) noexcept {
  const unsigned char above = target.parent->at_gate;
  target.at_gate = target.shielded ? above & gate_watched : above;
  if (target.requested) target.at_gate |= gate_cancelled;
  if (target.first_child == nullptr) return;
  if (target.effective()) make_effective(target);
  if (!target.watched()) return;
  scope* walk = &target;
  while (walk != nullptr) {
    walk->at_gate |= gate_watched;
    if (walk->first_child != nullptr) {
      walk = walk->first_child;
      continue;
    }
    while (walk != &target && walk->next == nullptr) walk = walk->parent;
    walk = walk == &target ? nullptr : walk->next;
  }
}

cancel_record effective_record(const scope& from) noexcept {
  const scope* outermost = nullptr;
  for (const scope* walk = &from; walk != nullptr; walk = walk->parent) {
    if (walk->requested) outermost = walk;
    if (walk->shielded) break;
  }
  return outermost != nullptr ? outermost->record : cancel_record();
}

// ---- nodes, children, groups

void node::call_it(const char* name, std::uint64_t number) {
  if (!labelled) {
    label = new task_label{.spawned_at = place};
    labelled = true;
  }
  label->text = name;
  label->number = number;
}

void throw_misuse_empty_child(const char* call, std::source_location where) {
  throw misuse_error(
      std::string(call) + ": there is no finished task behind this handle (moved from, or not awaited yet)",
      where);
}

void child_wait::start() {
  if (on_ == this_runtime->current) {
    throw misuse_error("co_await child: a task cannot wait for itself to end");
  }
  if (on_another_loop()) {
    throw misuse_error(
        "co_await child: the task belongs to another loop than the one of this thread; wait for it there, by on_loop");
  }
  wait();
}

bool child_wait::abort() noexcept {
  unlink();
  return true;
}

namespace {

// `task` or one that it belongs to.
bool belongs_to(const node& task, const node& other) noexcept {
  for (const scope* walk = task.current; walk != nullptr; walk = walk->parent) {
    if (walk->owner == &other) return true;
  }
  return false;
}

// The one after `walk` in the tree below `top`, from outside inwards; null: that was the last. `into`: with what is below `walk`.
scope* next_below(const scope& top, scope* walk, bool into = true) noexcept {
  if (into && walk->first_child != nullptr) return walk->first_child;
  while (walk != &top && walk->next == nullptr) walk = walk->parent;
  return walk != &top ? walk->next : nullptr;
}

// The wait for somebody to stop that the owner of a scope is in; each task is found once, at its innermost scope.
stop_wait* stopping_at(const scope& place) noexcept {
  node* const task = place.owner;
  if (task == nullptr || task->current != &place || task->state != node_state::joining) return nullptr;
  return dynamic_cast<stop_wait*>(task->waits_for);
}

}  // namespace

void stop_wait::ask_to_stop() const {
  on_->group->require_here("cancel_and_join");
  // All whose ends this wait would need: of `on_`, of the tasks below it, and of those that these wait for here.
  const node& self = *this_runtime->current;
  std::vector<node*> others;
  for (std::size_t i = 0; i <= others.size(); ++i) {
    node& end_of = i == 0 ? *on_ : *others[i - 1];
    if (belongs_to(self, end_of)) {
      throw misuse_error(
          "cancel_and_join: a task cannot wait here for the end of itself, of a task that it belongs to, or of one that "
          "waits for it",
          where_);
    }
    scope& top = end_of.base;
    for (scope* walk = &top; walk != nullptr; walk = next_below(top, walk)) {
      const stop_wait* waits = stopping_at(*walk);
      if (waits != nullptr && waits->on_ != on_ && std::ranges::find(others, waits->on_) == others.end())
        others.push_back(waits->on_);
    }
  }
  cancel_scope(on_->base, cancel_record::make(reason_, "cancel_and_join", where_));
}

void stop_wait::give_up() noexcept {
  unlink();
  task()->state = node_state::to_unwind;
  this_runtime->push_ready(*task());
}

void stop_wait::give_up_below(scope& target) noexcept {
  for (scope* walk = &target; walk != nullptr;) {
    const bool reached =
        walk == &target || !walk->shielded;  // a cleanup within the cleanup has a limit of its own
    stop_wait* const waits = reached ? stopping_at(*walk) : nullptr;
    walk = next_below(target, walk, reached);
    if (waits != nullptr) waits->give_up();
  }
}

void group_core::abort_on_wrong_thread(const char* call) noexcept {
  std::fprintf(stderr, "belay: %s on a thread that is not the group's; let its loop do this, by loop::post\n",
               call);
  std::abort();
}

group_core::~group_core() {
  // Only children that never ran can be left: a combinator failed while it made the others.
  while (scope_.first_child != nullptr) {
    node& task = *scope_.first_child->owner;
    if (task.state != node_state::fresh) {
      std::fputs("belay: a group was destroyed while its tasks were running\n", stderr);
      std::abort();
    }
    runtime& rt = *this_runtime;
    node** walk = &rt.ready_head;
    node* before = nullptr;
    while (*walk != &task) {
      before = *walk;
      walk = &(*walk)->next_ready;
    }
    *walk = task.next_ready;
    if (rt.ready_tail == &task) rt.ready_tail = before;
    --rt.live_nodes;
    task.base.detach();
    task.leaf->handle.destroy();
    task.state = node_state::ended;
    task.destroy(task);  // what no handle needs
  }
}

void group_core::open(std::source_location where, const char* kind, const char* name) noexcept {
  where_ = where;
  kind_ = kind;
  name_ = name != nullptr ? name : "";
  home_ = this_runtime;
}

void group_core::attach_scope() noexcept {
  node& task = *this_runtime->current;
  scope_.owner = &task;
  scope_.attach_to(task.current);
}

void group_core::close() noexcept {
  scope_.detach();
  home_ = nullptr;
}

namespace {

void trace_end(const node& task) noexcept {
  append_trace(task.result->failed_record(), task.spawned_at());
  if (!task.labelled) return;
  try {
    task.result->failed_with().note("in task '" + name_text(task) + "'");
  } catch (const std::bad_alloc&) {
    return;  // the story gets shorter; the error itself is kept
  }
}

// Its arguments may be tasks that it did not get to.
[[gnu::noinline]] void destroy_cut_short(node& task) noexcept {
  runtime& rt = *this_runtime;
  ++rt.tearing_down;
  task.destroy(task);
  --rt.tearing_down;
}

}  // namespace

void group_core::child_ended(node& task) noexcept {
  while (task.awaiters != nullptr) task.awaiters->child_ended();
  outcome_base& result = *task.result;
  if (result.how() == ending::failed) [[unlikely]]
    trace_end(task);
  if (result.how() == ending::cancelled && scope_.effective()) cut_tasks_ = true;
  --live_;
  if (on_end_ != nullptr || result.how() == ending::failed) [[unlikely]] {
    task.dropping = true;  // a hook of on_cancel may drop its handle
    if (on_end_ != nullptr) {
      on_end_(*this, task);
    } else {
      add_failure(result.failed_with());
    }
    task.dropping = false;
  }
  wake_joiner();
  if (result.how() == ending::value) [[likely]]
    return task.destroy(task);  // what no handle needs
  destroy_cut_short(task);
}

void group_core::add_failure(failure what) noexcept {
  if (!first_) {
    first_ = what;
    request_cancel(cancel_reason::sibling_failed, where_, std::move(what));
  } else {
    try {
      first_.attach(what);
    } catch (const std::bad_alloc&) {
      return;  // not attached for want of memory: let go here, so that it is reported to the sink
    }
  }
}

void group_core::take_over(node& task) noexcept {
  --task.group->live_;
  task.base.detach();
  task.group = this;
  task.base.attach_to(&scope_);
  ++live_;
}

void group_core::request_cancel(cancel_reason reason, std::source_location where, failure cause) noexcept {
  if (scope_.requested) return;
  std::string who;
  try {
    who = *name_ == '\0' ? std::string(kind_) : "group '" + std::string(name_) + "'";
  } catch (const std::bad_alloc&) {
    who = "group";  // needs no memory
  }
  cancel_scope(scope_, cancel_record::make(reason, std::move(who), where, std::move(cause)));
}

bool group_core::conclude_cancelled(outcome_base& how, bool result_is_void) noexcept {
  const scope& outside = *this_runtime->current->current;
  if (outside.effective()) {
    how.set_cancelled(effective_record(outside).shared());
    return false;
  }
  if (result_is_void) return true;
  how.set_failed(failure::of(std::make_exception_ptr(child_cancelled(
                                 describe(scope_.record) + "; its body gave no value", where_)))
                     .take_record());
  return false;
}

// ---- cleanup

ref<failure_record> never_yielded() noexcept {
  return failure::of(std::make_exception_ptr(
                         misuse_error("a managed resource ended without co_yield: it must hand out "
                                      "its resource once")))
      .take_record();
}

void abort_on_empty_resource() noexcept {
  std::fputs("belay: a managed resource was used that was already used or moved from\n", stderr);
  std::abort();
}

void throw_yielded_twice() {
  throw misuse_error("a managed resource used co_yield a second time, while closing");
}

void merge_cleanup_outcome(outcome_base& how, outcome<void>& closed, cleanup_scope& shield,
                           const std::function<void()>& drop_value) {
  if (shield.was_told()) shield.tell_end(closed);
  if (closed.succeeded()) return;
  failure trouble;
  if (closed.cancelled()) {
    trouble =
        failure::of(std::make_exception_ptr(timeout_error("cleanup: " + shield.message(), shield.where())));
  } else {
    trouble = closed.failed_with();
  }
  switch (how.how()) {
    case ending::failed: how.failed_with().attach(std::move(trouble)); return;
    case ending::cancelled: trouble.note("during cleanup after: " + describe(how.cancelled_by())); break;
    case ending::value: drop_value(); break;
    case ending::pending: break;
  }
  how.set_failed(trouble.take_record());
}

// ---- deadlines

void deadline_scope::arm() noexcept {
  deadline_ = saturating_add(this_runtime->time->now(), limit_);
  set_timer();
}

void deadline_scope::set_timer() noexcept {
  if (deadline_ == time_point::max()) return;
  due = static_cast<std::uint64_t>(deadline_.time_since_epoch().count());
  fire = &deadline_scope::fired;
  this_runtime->timers->insert(*this);
}

void deadline_scope::move_to(time_point when, duration limit) noexcept {
  if (requested) return;
  disarm();
  deadline_ = when;
  limit_ = limit;
  if (when > this_runtime->time->now()) return set_timer();
  if (owner == nullptr || owner->state != node_state::running) return expire();
  // The task itself moves it: the frame in which it waited last may be gone. The cancellation acts at its next await.
  cancel_scope(*this, cancel_record::make(cancel_reason::deadline, kind_, where_));
}

void deadline_scope::disarm() noexcept {
  if (linked()) this_runtime->timers->remove(*this);
}

void deadline_scope::fired(timer_node& timer) noexcept { static_cast<deadline_scope&>(timer).expire(); }

void deadline_scope::expire() noexcept {
  if (owner != nullptr && owner->leaf != nullptr) {
    awaiting_ = owner->leaf->site;
    caught_waiting_ = true;
  }
  std::string asks;
  try {
    asks = who();
  } catch (const std::bad_alloc&) {
    asks = "a timeout";  // needs no memory
  }
  cancel_scope(*this, cancel_record::make(cancel_reason::deadline, std::move(asks), where_));
  if (for_cleanup) stop_wait::give_up_below(*this);
}

}  // namespace belay::detail

namespace belay {

bool operation::begin() {
  try {
    start();
    return true;
  } catch (...) {
    task_->state = detail::node_state::running;
    throw;
  }
}

void operation::complete_cancelled() noexcept {
  complete();
  task_->state = detail::node_state::to_unwind;
}

}  // namespace belay
