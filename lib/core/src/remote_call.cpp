// SPDX-License-Identifier: Apache-2.0
// Calls between loops: the messages, and the tasks at the other end.

#include <belay/core/detail/remote_call.hpp>

#include <algorithm>
#include <new>
#include <unordered_map>
#include <vector>

#include "loop_state.hpp"
#include "visitors.hpp"

namespace belay::detail {

failure loop_closed(const char* call, std::source_location where) {
  return failure::of(std::make_exception_ptr(
      loop_closed_error(std::string(call) + ": the loop is not running (any more)", where)));
}

void throw_misuse_own_loop(const char* call, std::source_location where) {
  throw misuse_error(
      std::string(call) +
          ": called on the thread of that very loop, which could not go on; use group::spawn and "
          "co_await there",
      where);
}

void throw_misuse_no_answer(std::source_location where) {
  throw misuse_error("remote_child: there is no task behind this handle (moved from, or asked before)",
                     where);
}

void throw_misuse_waits_on_loop(const char* call, std::source_location where) {
  throw misuse_error(
      std::string(call) +
          ": called on the thread of a loop, whose tasks could not go on; use on_loop and co_await there",
      where);
}

// ---- the caller's side

namespace {

// The same with the same story, which nobody adds to and nobody has to look at.
failure frozen(const failure& what) {
  if (!what) return {};
  std::vector<std::pair<failure, failure>> made{{what, twin_of(what)}};  // not by recursion; each once
  std::unordered_map<const failure_record*, std::size_t> known{{what.record().get(), 0}};
  for (std::size_t at = 0; at < made.size(); ++at) {
    for (const failure& beside : made[at].first.record()->attached) {
      const auto [found, is_new] = known.emplace(beside.record().get(), made.size());
      if (is_new) made.emplace_back(beside, twin_of(beside));
      made[at].second.record()->attached.push_back(made[found->second].second);
    }
  }
  return made.front().second;
}

// For another thread: this loop goes on with the failure behind it, and with its own clock.
cancel_record for_another_loop(const cancel_record& here) noexcept {
  if (!here) return here;
  failure cause;
  try {
    cause = frozen(here.cause());
  } catch (const std::bad_alloc&) {
    cause = {};  // without memory the story gets shorter
  }
  try {
    return cancel_record::make(here.reason(), std::string(here.who()), here.where(), std::move(cause));
  } catch (const std::bad_alloc&) {
    return here;
  }
}

}  // namespace

void remote_call::carry_locals_of_caller() noexcept {
  if (any_locals.load(std::memory_order_relaxed)) locals_ = ref<binding>::share(current_bindings());
}

bool remote_call::send() noexcept {
  request_.call = this;
  request_.run = &remote_call::request_comes;
  return there_->internals().try_push(request_);
}

remote_call::stopping remote_call::ask_to_stop(cancel_record why) noexcept {
  if (!gate_.first()) return stopping::will_answer;
  why_ = for_another_loop(why);
  stop_.call = this;
  stop_.run = &remote_call::stop_comes;
  if (there_->internals().try_push(stop_)) return stopping::will_answer;
  // The inbox was closed. The request, which it had accepted, may be among the last that are run just now.
  refused_ = gate_.refused();
  return refused_ ? stopping::will_answer : stopping::closed;
}

bool call_wait::must_be_held(call_wait& what) {
  runtime& rt = *this_runtime;
  if (rt.watcher == nullptr) return false;
  rt.loop->internals().held_calls.push_back(&what);
  return true;
}

bool call_wait::take_back_held(call_wait& what) noexcept {
  return std::erase(this_runtime->loop->internals().held_calls, &what) != 0;
}

void call_wait::begin_outside() noexcept { ++this_runtime->loop->internals().calls_outside; }
void call_wait::end_outside() noexcept { --this_runtime->loop->internals().calls_outside; }

// ---- the other loop's side

void remote_call::request_comes(loop::inbox_item& item) noexcept {
  remote_call& self = *static_cast<message&>(item).call;
  self.there_->internals().guests->let_in(self);
}

void remote_call::stop_comes(loop::inbox_item& item) noexcept {
  remote_call& self = *static_cast<message&>(item).call;
  if (self.side_.asked_to_stop()) return self.last_word();
  cancel_scope(self.task_->base, self.why_);
}

void remote_call::ended(outcome_base& task_end) noexcept {
  task_ = nullptr;
  // Cancelled before its first step, or without memory: it has left nothing in the result.
  if (result().how() == ending::pending) result().take_trouble(task_end);
  if (side_.ended(gate_)) last_word();
}

void remote_call::left_behind() noexcept {
  if (side_.was_asked() || gate_.leaves()) return;  // who has not asked yet finds it closed
  if (result().how() == ending::pending)
    result().set_failed(loop_closed("a call of another thread", where_).take_record());
  answer();
}

void report_lost_at(loop& home, failure what) noexcept {
  if (!what || what.observed()) return;
  if (&home == loop::current()) return;  // it comes to the sink by itself
  try {
    home.post([what] { report_lost(what); });
  } catch (const std::exception&) {
    return;  // the loop has ended: it is written to stderr, by who drops it
  }
}

void remote_call::last_word() noexcept {
  if (host_ != nullptr) host_->gone();
  answer();
}

void visitors::open(scope& under, std::source_location where) noexcept {
  under_ = &under;
  open_ = true;
  group_core::open(where, "the end of its loop");
}

void visitors::let_in(remote_call& call) noexcept {
  outcome<void> refused;
  try {
    if (!open_) {
      refused.set_failed(loop_closed("a call of another thread", call.where_).take_record());
      return call.ended(refused);
    }
    visitor& task = make_node<visitor>();
    task.destroy = &destroy_node<visitor>;
    task.result = &task.value;
    task.call = &call;
    try {
      belay::task<void> work = call.work();
      if (call.locals_) work = with_bindings(call.locals_, std::move(work));
      prepare_node(task, task_access::release(work), call.where_);
    } catch (...) {
      destroy_node<visitor>(task);
      throw;
    }
    if (!attached_) {
      attached_ = true;
      inner_scope().attach_to(under_);
    }
    call.host_ = this;
    call.task_ = &task;
    hold();
    adopt(task);
  } catch (...) {
    refused.set_failed(record_current_exception());
    call.ended(refused);
  }
}

void visitors::leave() noexcept {
  for (const scope* one = inner_scope().first_child; one != nullptr; one = one->next)
    static_cast<visitor*>(one->owner)->call->left_behind();
}

void visitors::move_under(scope& other) noexcept {
  if (!attached_) return;
  inner_scope().detach();
  inner_scope().attach_to(&other);
}

void visitors::visitor_left(group_core&, node& task) noexcept {
  static_cast<visitor&>(task).call->ended(*task.result);
}

}  // namespace belay::detail
