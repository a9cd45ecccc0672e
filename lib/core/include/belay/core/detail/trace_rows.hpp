// SPDX-License-Identifier: Apache-2.0
#pragma once
// The async trace of a failure: a few places without another allocation, then as many as there are, up to a limit.

#include <array>
#include <memory>
#include <source_location>
#include <span>

namespace belay::detail {

class trace_rows {
 public:
  static constexpr unsigned most = 256;  // a runaway recursion must not fill the memory with its trace

  // False when it is full, or there is no memory: the story gets shorter, the error itself is kept.
  bool push_back(std::source_location place) noexcept {
    if (size_ == room_) [[unlikely]] {
      if (!grow()) return false;
    }
    places()[size_++] = place;
    return true;
  }
  [[nodiscard]] std::span<const std::source_location> view() const noexcept {
    return {more_ ? more_.get() : few_.data(), size_};
  }

 private:
  [[nodiscard]] std::source_location* places() noexcept { return more_ ? more_.get() : few_.data(); }
  bool grow() noexcept;

  static constexpr unsigned inside = 8;
  unsigned size_ = 0;
  unsigned room_ = inside;
  std::unique_ptr<std::source_location[]> more_;
  std::array<std::source_location, inside> few_;
};

}  // namespace belay::detail
