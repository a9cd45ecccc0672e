// SPDX-License-Identifier: Apache-2.0
// Event, semaphore, barrier.

#include <belay/core/barrier.hpp>
#include <belay/core/detail/watch.hpp>
#include <belay/core/error.hpp>
#include <belay/core/event.hpp>
#include <belay/core/semaphore.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace belay {

namespace detail {

void wait_list::abort_on_destroyed_line() const noexcept {
  std::fprintf(
      stderr,
      "belay: %s was destroyed while tasks were waiting for it; declare it outside of the group that they belong to\n",
      to_text(head_->waits_for()).c_str());
  std::abort();
}

void wait_list::abort_on_wrong_thread() const noexcept {
  std::fprintf(
      stderr,
      "belay: a task waits for %s on the loop of another thread; let that loop do this, by loop::post\n",
      to_text(head_->waits_for()).c_str());
  std::abort();
}

}  // namespace detail

namespace {
// More is a negative number that was converted.
constexpr std::size_t most = PTRDIFF_MAX;
}  // namespace

void event::set() noexcept {
  set_ = true;
  while (!waiters_.empty()) waiters_.front()->wake();
}

semaphore::semaphore(std::size_t permits, const char* name) : permits_(permits), free_(permits), name_(name) {
  if (permits == 0) throw misuse_error("semaphore(0): nobody could ever acquire a permit; give at least 1");
  if (permits > most) throw misuse_error("semaphore: a negative number of permits");
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

barrier::barrier(std::size_t parties, const char* name) : parties_(parties), name_(name) {
  if (parties == 0) throw misuse_error("barrier(0): nobody could ever arrive; give at least 1");
  if (parties > most) throw misuse_error("barrier: a negative number of parties");
}

bool barrier::awaiter::try_now() noexcept {
  position_ = at_->parties_ - 1;
  if (at_->waiters_.size() < position_) return false;
  for (std::size_t position = 0; !at_->waiters_.empty(); ++position) {
    auto* next = static_cast<awaiter*>(at_->waiters_.front());
    next->position_ = position;
    next->wake();
  }
  return true;
}

}  // namespace belay
