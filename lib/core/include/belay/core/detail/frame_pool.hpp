// SPDX-License-Identifier: Apache-2.0
#pragma once
// Memory for coroutine frames: per-thread free lists by size class, so that an await does not call malloc.

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define BELAY_FRAME_POOL_OFF 1  // sanitizers must see every allocation
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define BELAY_FRAME_POOL_OFF 1
#endif

namespace belay::detail {

class frame_pool {
 public:
  static constexpr std::size_t granule = 16;
  static constexpr std::size_t classes = 128;  // up to 2 KiB; larger frames go to operator new
  static constexpr std::size_t keep_limit = 64u * 1024u * 1024u;  // bytes kept per thread at the most

  static void* allocate(std::size_t size) {
#if defined(BELAY_FRAME_POOL_OFF)
    return ::operator new(size);
#else
    const std::size_t index = class_of(size);
    if (index < classes) [[likely]] {
      if (block* found = local_.free[index]) [[likely]] {
        local_.free[index] = found->next;
        local_.kept -= block_size(index);
        return found;
      }
      return refill(index);
    }
    return ::operator new(size);
#endif
  }

  static void release(void* memory, std::size_t size) noexcept {
#if defined(BELAY_FRAME_POOL_OFF)
    (void)size;
    ::operator delete(memory);
#else
    const std::size_t index = class_of(size);
    if (index < classes && local_.kept < keep_limit) [[likely]] {
      block* freed = static_cast<block*>(memory);
      freed->next = local_.free[index];
      local_.free[index] = freed;
      local_.kept += block_size(index);
      return;
    }
    ::operator delete(memory);
#endif
  }

  // Gives what this thread keeps back to the system. Called when a loop goes.
  static void trim() noexcept;
  // Has that done at the end of this thread, too; nothing is kept from then on. Called where memory comes from the system, and by each run.
  static void trim_at_thread_exit() noexcept;

 private:
  struct block {
    block* next;
  };
  struct lists {
    block* free[classes];
    std::size_t kept;
  };
  // Blocks are as large as what malloc really gives (a multiple of 16, less its header of 8).
  static constexpr std::size_t slack = 8;
  static constexpr std::size_t class_of(std::size_t size) noexcept { return (size + slack - 1) / granule; }
  static constexpr std::size_t block_size(std::size_t index) noexcept {
    return (index + 1) * granule - slack;
  }
  static void* refill(std::size_t index);
  static constinit inline thread_local lists local_{};
};

}  // namespace belay::detail
