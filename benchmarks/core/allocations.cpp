// SPDX-License-Identifier: Apache-2.0
// malloc and its relatives, counted. Not operator new: Asio takes its frames from aligned_alloc, and
// exceptions come from malloc.

#include <malloc.h>

#include "measure.hpp"

// glibc's own, under the names that it keeps for those who replace malloc.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);
}

namespace {

constinit thread_local bench::allocations counted;

std::size_t size_of(void* memory) noexcept {
  constexpr std::size_t malloc_header = sizeof(std::size_t);
  return memory != nullptr ? ::malloc_usable_size(memory) + malloc_header : 0;
}

void* count(void* memory) noexcept {
  ++counted.calls;
  counted.live_bytes += size_of(memory);
  return memory;
}

}  // namespace

namespace bench {
allocations allocations::now() noexcept { return counted; }
}  // namespace bench

extern "C" {
void* malloc(std::size_t size) noexcept { return count(__libc_malloc(size)); }
void* calloc(std::size_t number, std::size_t size) noexcept { return count(__libc_calloc(number, size)); }
void* realloc(void* memory, std::size_t size) noexcept {
  counted.live_bytes -= size_of(memory);
  return count(__libc_realloc(memory, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return count(__libc_memalign(alignment, size));
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return count(__libc_memalign(alignment, size));
}
void free(void* memory) noexcept {
  counted.live_bytes -= size_of(memory);
  __libc_free(memory);
}
}
