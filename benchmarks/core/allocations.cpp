// SPDX-License-Identifier: Apache-2.0
// operator new and delete, counted.

#include <malloc.h>

#include <cstdlib>
#include <new>

#include "measure.hpp"

namespace {

constinit thread_local bench::allocations counted;

constexpr std::size_t malloc_header = sizeof(std::size_t);

void* count(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  ++counted.calls;
  counted.live_bytes += ::malloc_usable_size(memory) + malloc_header;
  return memory;
}

void uncount(void* memory) noexcept {
  if (memory == nullptr) return;
  counted.live_bytes -= ::malloc_usable_size(memory) + malloc_header;
  std::free(memory);
}

}  // namespace

namespace bench {
allocations allocations::now() noexcept { return counted; }
}  // namespace bench

void* operator new(std::size_t size) { return count(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return count(std::aligned_alloc(step, (size + step - 1) / step * step));
}
void operator delete(void* memory) noexcept { uncount(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncount(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { uncount(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { uncount(memory); }
