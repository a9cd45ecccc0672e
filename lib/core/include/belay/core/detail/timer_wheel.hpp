// SPDX-License-Identifier: Apache-2.0
#pragma once
// All timers of a loop: a hierarchical wheel over nanoseconds. Insert and remove are O(1) and touch only neighbours.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace belay::detail {

struct timer_link {
  timer_link* prev = nullptr;
  timer_link* next = nullptr;
};

// Lives inside the awaiter or scope that waits. Not linked: prev == nullptr.
struct timer_node : timer_link {
  std::uint64_t due = 0;
  void (*fire)(timer_node&) noexcept = nullptr;

  [[nodiscard]] bool linked() const noexcept { return prev != nullptr; }
};

// Level L holds timers whose due time differs from `base_` first in the 6-bit digit L; a slot is a circular list. When the
// lower levels are empty, the first slot of the next level is spread over them ("cascading"), in order, so that timers
// with equal due times fire in the order of their insertion. (Varghese & Lauck 1987, with the base as in Tokio.)
class timer_wheel {
 public:
  timer_wheel() noexcept;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;

  void insert(timer_node& timer) noexcept {
    if (timer.due < base_) timer.due = base_;
    link(timer);
    ++size_;
  }

  void remove(timer_node& timer) noexcept {
    timer_link* prev = timer.prev;
    timer_link* next = timer.next;
    prev->next = next;
    next->prev = prev;
    timer.prev = nullptr;
    --size_;
    if (prev == next) clear_if_empty(prev);
  }

  // Takes out one timer that is due at `now` or before; null when there is none. Earliest first.
  timer_node* pop_due(std::uint64_t now) noexcept;

  // A time not after the earliest due time, and equal to it unless very many timers are near; max when empty.
  [[nodiscard]] std::uint64_t next_due() const noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr unsigned digit_bits = 6;
  static constexpr unsigned slots = 1u << digit_bits;
  static constexpr unsigned levels = 11;  // 66 bits: all of uint64

  void link(timer_node& timer) noexcept {
    const std::uint64_t differs = (timer.due ^ base_) | 1u;
    const unsigned level = (63u - static_cast<unsigned>(std::countl_zero(differs))) / digit_bits;
    const unsigned slot = static_cast<unsigned>(timer.due >> (level * digit_bits)) & (slots - 1);
    timer_link& head = heads_[level * slots + slot];
    timer.next = &head;
    timer.prev = head.prev;
    head.prev->next = &timer;
    head.prev = &timer;
    occupied_[level] |= std::uint64_t{1} << slot;
    used_levels_ |= 1u << level;
  }

  void clear_if_empty(timer_link* head) noexcept {
    // The same neighbour on both sides: it is the slot's head, and its position tells which slot.
    if (head->next != head) return;
    const auto index = static_cast<std::size_t>(head - heads_.data());
    const std::size_t level = index / slots;
    occupied_[level] &= ~(std::uint64_t{1} << (index % slots));
    if (occupied_[level] == 0) used_levels_ &= ~(1u << level);
  }

  std::uint64_t base_ = 0;
  std::size_t size_ = 0;
  std::uint32_t used_levels_ = 0;
  std::array<std::uint64_t, levels> occupied_{};
  std::array<timer_link, levels * slots> heads_;
};

}  // namespace belay::detail
