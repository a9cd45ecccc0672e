// SPDX-License-Identifier: Apache-2.0
// Timers as operations, deadlines, and the pending cancellation of the running task.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <ctime>

namespace belay {

time_point now() noexcept {
  return detail::this_runtime != nullptr ? detail::this_runtime->time->now() : steady_clock().now();
}

bool cancel_requested() noexcept {
  detail::runtime* rt = detail::this_runtime;
  return rt != nullptr && rt->current != nullptr && rt->current->cancel_pending();
}

cancel_record current_cancellation() noexcept {
  if (!cancel_requested()) return {};
  return detail::effective_record(*detail::this_runtime->current->current);
}

time_point current_deadline() noexcept {
  detail::runtime* rt = detail::this_runtime;
  if (rt == nullptr || rt->current == nullptr) return time_point::max();
  if (rt->current->cancel_pending()) return time_point::min();
  time_point earliest = time_point::max();
  for (const detail::scope* walk = rt->current->current; walk != nullptr; walk = walk->parent) {
    if (walk->has_deadline) {
      earliest = std::min(earliest, static_cast<const detail::deadline_scope*>(walk)->deadline());
    }
    if (walk->shielded) break;
  }
  return earliest;
}

namespace {

class system_clock_source final : public clock {
 public:
  time_point now() noexcept override {
    timespec now{};  // what std::chrono::steady_clock is here, without the calls in between
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return time_point(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
  }
};

}  // namespace

clock& steady_clock() noexcept {
  static system_clock_source machine;
  return machine;
}

namespace detail {

void throw_misuse_nan(std::source_location where) {
  throw misuse_error("a duration that is not a number (NaN) was given to the call at " + place_text(where) +
                         "; nothing was begun",
                     where);
}

void sleep_awaiter::start() { insert(); }

bool sleep_awaiter::abort() noexcept {
  if (linked()) this_runtime->timers->remove(*this);
  return true;
}

void sleep_awaiter::fired(timer_node& timer) noexcept { static_cast<sleep_awaiter&>(timer).complete(); }

void yield_awaiter::at_gate(runtime& rt, frame& leaf) noexcept {
  if (!stopped_at_gate(rt, leaf)) give_way(rt, leaf);
}

bool checkpoint_awaiter::stops(frame& here) noexcept {
  runtime& rt = *this_runtime;
  rt.current->leaf =
      &here;  // a deadline that fires now reads where this task is; the frame it waited in last may be gone
  const auto now = static_cast<std::uint64_t>(rt.time->now().time_since_epoch().count());
  while (timer_node* timer = rt.timers->pop_due(now)) timer->fire(*timer);
  return rt.current->current->at_gate != gate_open && stopped_at_gate(rt, here);
}

std::string deadline_scope::message() const {
  std::string text =
      "timed out after " + length_text(limit_) + ", set by " + who() + " at " + place_text(where_);
  if (caught_waiting_ && awaiting_.line() != 0) text += ", while awaiting " + place_text(awaiting_);
  return text;
}

std::string deadline_scope::who() const {
  return *name_ == '\0' ? std::string(kind_) : "scope '" + std::string(name_) + "'";
}

}  // namespace detail
}  // namespace belay
