// SPDX-License-Identifier: Apache-2.0
#pragma once
// A double-ended queue in one block of memory, which grows to what was needed once and stays so.

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace belay::detail {

template <class T>
class ring {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  ring() noexcept = default;
  ring(ring&& other) noexcept
      : slots_(std::exchange(other.slots_, nullptr)),
        room_(std::exchange(other.room_, 0)),
        first_(std::exchange(other.first_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  ring& operator=(const ring&) = delete;
  ~ring() {
    while (!empty()) static_cast<void>(pop_front());
    if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, room_);
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  // Only these two may throw, for want of memory; then nothing has changed.
  void push_back(T&& item) {
    make_room();
    std::construct_at(at(size_), std::move(item));
    ++size_;
  }
  void push_front(T&& item) {
    make_room();
    first_ = (first_ + room_ - 1) & (room_ - 1);
    std::construct_at(slots_ + first_, std::move(item));
    ++size_;
  }
  [[nodiscard]] T pop_front() noexcept {
    T* const front = slots_ + first_;
    T item = std::move(*front);
    std::destroy_at(front);
    first_ = (first_ + 1) & (room_ - 1);
    --size_;
    return item;
  }

 private:
  [[nodiscard]] T* at(std::size_t index) const noexcept { return slots_ + ((first_ + index) & (room_ - 1)); }
  void make_room() {
    if (size_ < room_) return;
    const std::size_t more = room_ == 0 ? 4 : 2 * room_;  // a power of two
    T* const wider = std::allocator<T>().allocate(more);
    for (std::size_t i = 0; i < size_; ++i) {
      std::construct_at(wider + i, std::move(*at(i)));
      std::destroy_at(at(i));
    }
    if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, room_);
    slots_ = wider;
    room_ = more;
    first_ = 0;
  }

  T* slots_ = nullptr;
  std::size_t room_ = 0;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace belay::detail
