// SPDX-License-Identifier: Apache-2.0
// The rare steps of the timer wheel: expiry and cascading.

#include <belay/core/detail/timer_wheel.hpp>

namespace belay::detail {

timer_wheel::timer_wheel() noexcept {
  for (timer_link& head : heads_) head.prev = head.next = &head;
}

timer_node* timer_wheel::pop_due(std::uint64_t now) noexcept {
  while (used_levels_ != 0) {
    const auto level = static_cast<unsigned>(std::countr_zero(used_levels_));
    const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
    const unsigned shift = level * digit_bits;
    // Digits above the level are those of the base (the top level has none above).
    const std::uint64_t above =
        shift + digit_bits >= 64 ? 0 : (base_ >> (shift + digit_bits)) << (shift + digit_bits);
    const std::uint64_t start = above | (std::uint64_t{slot} << shift);
    if (start > now) break;
    timer_link& head = heads_[level * slots + slot];
    if (level == 0) {
      base_ = start;
      auto* first = static_cast<timer_node*>(head.next);
      remove(*first);
      return first;
    }
    // Cascade: the base moves to the start of the slot, its timers go to lower levels in their order.
    base_ = start;
    timer_link* walk = head.next;
    head.prev->next = nullptr;
    head.prev = head.next = &head;
    clear_if_empty(&head);
    while (walk != nullptr) {
      auto* timer = static_cast<timer_node*>(walk);
      walk = walk->next;
      link(*timer);
    }
  }
  if (now > base_) base_ = now;
  return nullptr;
}

std::uint64_t timer_wheel::next_due() const noexcept {
  if (used_levels_ == 0) return UINT64_MAX;
  const auto level = static_cast<unsigned>(std::countr_zero(used_levels_));
  const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
  const timer_link& head = heads_[level * slots + slot];
  if (level == 0) return static_cast<const timer_node*>(head.next)->due;
  constexpr int look_at = 64;  // beyond that, waking a little early is cheaper than the search
  std::uint64_t earliest = UINT64_MAX;
  int looked = 0;
  for (const timer_link* walk = head.next; walk != &head; walk = walk->next) {
    const std::uint64_t due = static_cast<const timer_node*>(walk)->due;
    if (due < earliest) earliest = due;
    if (++looked == look_at) {
      const unsigned shift = level * digit_bits;
      const std::uint64_t above =
          shift + digit_bits >= 64 ? 0 : (base_ >> (shift + digit_bits)) << (shift + digit_bits);
      return above | (std::uint64_t{slot} << shift);
    }
  }
  return earliest;
}

}  // namespace belay::detail
