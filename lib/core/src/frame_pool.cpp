// SPDX-License-Identifier: Apache-2.0
// The slow side of the frame pool.

#include <belay/core/detail/frame_pool.hpp>

namespace belay::detail {

// The lists themselves have no destructor, which every use of them would have to ask for.
void frame_pool::trim_at_thread_exit() noexcept {
  struct end_of_thread {
    ~end_of_thread() {
      trim();
      local_.kept = keep_limit;  // what is still freed goes to the system
    }
  };
  static thread_local const end_of_thread registered;
}

void* frame_pool::refill(std::size_t index) {
  trim_at_thread_exit();
  return ::operator new(block_size(index));
}

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
