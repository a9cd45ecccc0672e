// SPDX-License-Identifier: Apache-2.0
// Event and semaphore.

#include <belay/core/detail/watch.hpp>
#include <belay/core/error.hpp>
#include <belay/core/event.hpp>
#include <belay/core/semaphore.hpp>

namespace belay {

void event::set() noexcept {
  set_ = true;
  while (!waiters_.empty()) waiters_.front()->wake();
}

semaphore::semaphore(std::size_t permits, const char* name) : permits_(permits), free_(permits), name_(name) {
  if (permits == 0) throw misuse_error("semaphore(0): nobody could ever acquire a permit; give at least 1");
}

void semaphore::tell_gone() noexcept {
  if (detail::this_runtime != nullptr && detail::this_runtime->watcher != nullptr) {
    detail::this_runtime->watcher->at_gone(*this);
  }
}

void semaphore::give_back() noexcept {
  if (waiters_.empty()) {
    ++free_;
    return;
  }
  auto* first = static_cast<awaiter*>(waiters_.front());
  first->granted_ = true;
  first->wake();
}

void permit::release() noexcept {
  if (from_ != nullptr) std::exchange(from_, nullptr)->give_back();
}

}  // namespace belay
