// SPDX-License-Identifier: Apache-2.0
// The slow side of the frame pool.

#include <belay/core/detail/frame_pool.hpp>

namespace belay::detail {

void* frame_pool::refill(std::size_t index) { return ::operator new(block_size(index)); }

void frame_pool::trim() noexcept {
  for (std::size_t index = 0; index < classes; ++index) {
    while (block* first = local_.free[index]) {
      local_.free[index] = first->next;
      ::operator delete(first);
    }
  }
  local_.kept = 0;
}

}  // namespace belay::detail
