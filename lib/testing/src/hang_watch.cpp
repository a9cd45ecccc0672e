// SPDX-License-Identifier: Apache-2.0
// Prints the tasks of a loop that does not come to its end.

#include <belay/core/detail/thread_start.hpp>
#include <belay/core/error.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/testing/hang_watch.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

namespace belay::testing {

namespace {

void print(const std::string& text) { std::fputs(text.c_str(), stderr); }

}  // namespace

hang_watch::hang_watch(belay::loop& of, duration limit, std::function<void(const std::string&)> tell)
    : loop_(of), limit_(limit), tell_(tell ? std::move(tell) : &print) {
  if (limit <= duration::zero())
    throw misuse_error("hang_watch: the limit must be more than zero; duration::max() turns it off");
}

hang_watch::~hang_watch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

hang_watch::run hang_watch::during_run() {
  if (!thread_.joinable() && limit_ != duration::max()) {
    const belay::detail::signals_left_to_the_loop inherited;
    thread_ = std::thread([this] { watch(); });
  }
  runs_.fetch_add(1);
  return run(*this);
}

void hang_watch::end() noexcept { runs_.fetch_add(1); }

void hang_watch::watch() {
  const duration look_every =
      std::clamp<duration>(limit_ / 4, std::chrono::milliseconds(1), std::chrono::seconds(1));
  std::uint64_t seen = 0;
  time_point since;
  time_point asked;
  enum class stage { waiting, was_asked, told } at = stage::told;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, look_every, [this] { return stopping_; })) {
    const std::uint64_t number = runs_.load();
    const time_point now = steady_clock().now();
    if (number != seen) {
      seen = number;
      since = now;
      at = number % 2 == 1 ? stage::waiting : stage::told;
    }
    if (at == stage::waiting && now - since >= limit_) {
      asked = now;
      lock.unlock();
      at = ask(number) ? stage::was_asked : stage::told;
      lock.lock();
    }
    if (at == stage::was_asked && answered_.load() == number) at = stage::told;
    if (at == stage::was_asked && now - asked >= std::min<duration>(limit_, std::chrono::seconds(2))) {
      at = stage::told;
      lock.unlock();
      say("belay: a test hangs, and its loop does not come round: a task blocks it, or goes on without ever waiting\n");
      lock.lock();
    }
  }
}

// False: the loop has ended, or not begun; what goes on is no task.
bool hang_watch::ask(std::uint64_t number) noexcept {
  try {
    loop_.post([this, number] { tell_tasks(number); });
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void hang_watch::tell_tasks(std::uint64_t number) {
  answered_.store(number);
  say("belay: a test hangs; its tasks are\n" + describe(live_tasks()));
}

// The test must not end by it, on either thread.
void hang_watch::say(const std::string& text) noexcept {
  try {
    tell_(text);
  } catch (...) {
    std::fputs("belay: the function given to hang_watch threw an exception\n", stderr);
  }
}

}  // namespace belay::testing
