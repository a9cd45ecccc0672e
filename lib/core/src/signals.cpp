// SPDX-License-Identifier: Apache-2.0
// Signals: the handler only counts and wakes; the loop does the rest.

#include <belay/core/signals.hpp>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <thread>

#include "loop_state.hpp"

namespace belay {

namespace {

constexpr int most_signals = 65;
std::array<std::atomic<int>, most_signals> counts;  // lock-free: safe in a signal handler
std::atomic<int> wake_descriptor{-1};
std::atomic<int> watching_process{-1};
std::atomic<int> handlers_at_work{
    0};  // who takes the descriptor away waits for them: another file may get its number
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  const int saved = errno;
  if (watching_process.load() != ::getpid()) {  // made by fork, and nobody watches here
    ::signal(number, SIG_DFL);
    ::raise(number);  // comes when this handler has returned
    errno = saved;
    return;
  }
  handlers_at_work.fetch_add(1);
  counts[static_cast<std::size_t>(number)].fetch_add(1);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_descriptor.load(), &one, sizeof one);
  handlers_at_work.fetch_sub(1);
  errno = saved;
}

}  // namespace

signal_watch::signal_watch(std::initializer_list<int> signals) {
  detail::runtime& rt = detail::require_runtime("signal_watch");
  loop::state& s = rt.loop->internals();
  if (watching_process.exchange(::getpid()) !=
      ::getpid()) {  // what a parent process left in our memory is not ours
    handlers_at_work.store(0);
    wake_descriptor.store(-1);
  }
  int none = -1;
  if (!wake_descriptor.compare_exchange_strong(none, s.wake_fd)) {
    throw misuse_error("signal_watch: there is one in this process already; share it");
  }
  try {
    saved_.reserve(signals.size());
    order_.reserve(signals.size());
    for (const int number : signals) {
      struct sigaction action{};
      action.sa_handler = &on_signal;
      action.sa_flags = SA_RESTART;
      sigfillset(&action.sa_mask);
      saved before{number, {}, 0};
      const bool in_range = number > 0 && number < most_signals;
      if (in_range) counts[static_cast<std::size_t>(number)].store(0);
      if (!in_range || ::sigaction(number, &action, &before.before) != 0) {
        throw std::system_error(in_range ? errno : EINVAL, std::system_category(),
                                "sigaction for signal " + std::to_string(number));
      }
      saved_.push_back(before);
    }
  } catch (...) {
    put_back();
    throw;
  }
  s.signals = this;
}

void signal_watch::put_back() noexcept {
  // Newest first: a signal may have been named twice.
  for (auto one = saved_.rbegin(); one != saved_.rend(); ++one)
    ::sigaction(one->number, &one->before, nullptr);
  wake_descriptor.store(-1);
  if (watching_process.load() != ::getpid()) return;
  while (handlers_at_work.load() != 0) std::this_thread::yield();
}

signal_watch::~signal_watch() {
  put_back();
  detail::this_runtime->loop->internals().signals = nullptr;
}

void signal_watch::collect() noexcept {
  for (std::size_t i = 0; i < saved_.size(); ++i) {
    const int came = counts[static_cast<std::size_t>(saved_[i].number)].exchange(0);
    if (came == 0) continue;
    if (saved_[i].seen == 0) order_.push_back(i);
    saved_[i].seen += came;
  }
  while (!order_.empty() && !waiters_.empty()) {
    auto* first = static_cast<awaiter*>(waiters_.front());
    first->take();
    first->wake();
  }
}

int signal_watch::take() noexcept {
  const std::size_t first = order_.front();
  order_.erase(order_.begin());
  if (--saved_[first].seen != 0) order_.push_back(first);
  return saved_[first].number;
}

}  // namespace belay
