// SPDX-License-Identifier: Apache-2.0
// What channels and select need that is not a template.

#include <belay/core/channel.hpp>
#include <belay/core/select.hpp>
#include <belay/core/sleep.hpp>
#include <cstdint>
#include <string>

namespace belay {

namespace detail {

void check_capacity(std::size_t capacity) {
  if (capacity > PTRDIFF_MAX) {
    throw misuse_error("channel: a negative capacity; give 0 to hand items over directly");
  }
}

void throw_channel_closed(const char* call, const char* name) {
  throw channel_closed_error(std::string("channel '") + name + "': " + call + " after it was closed");
}

void throw_empty_handle(const char* call) {
  throw misuse_error(std::string(call) + ": this handle was closed or moved from");
}

after_awaiter::after_awaiter(time_point when) noexcept : list_wait(alone_) {
  const auto ticks = when.time_since_epoch().count();
  due = ticks < 0 ? 0 : static_cast<std::uint64_t>(ticks);
  fire = &after_awaiter::fired;
}

bool after_awaiter::try_now() const noexcept {
  return due <= static_cast<std::uint64_t>(now().time_since_epoch().count());
}

void after_awaiter::insert() noexcept {
  if (due != static_cast<std::uint64_t>(time_point::max().time_since_epoch().count())) {
    this_runtime->timers->insert(*this);
  }
}

void after_awaiter::enlist(chooser& in) noexcept {
  list_wait::enlist(in);
  insert();
}

void after_awaiter::start() {
  enqueue();
  insert();
}

void after_awaiter::gave_up() noexcept {
  if (linked()) this_runtime->timers->remove(*this);
}

void after_awaiter::fired(timer_node& timer) noexcept { static_cast<after_awaiter&>(timer).wake(); }

}  // namespace detail

detail::after_awaiter after(any_duration length) noexcept {
  return detail::after_awaiter(saturating_add(now(), length));
}

}  // namespace belay
