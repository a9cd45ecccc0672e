// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of core share: small tasks, counted resources, and processes that may die.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/test_loop.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace core_tests {

namespace b = belay;
using namespace std::chrono_literals;

using trail = std::vector<std::string>;

struct boom : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Lives in a scope and counts itself.
class counted {
 public:
  explicit counted(int& live) noexcept : live_(&live) { ++*live_; }
  counted(const counted& other) noexcept : live_(other.live_) { ++*live_; }
  counted(counted&& other) noexcept : live_(other.live_) { ++*live_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*live_; }

 private:
  int* live_;
};

// Writes a line when it is destroyed.
class farewell {
 public:
  farewell(trail& out, std::string words) : out_(&out), words_(std::move(words)) {}
  farewell(const farewell&) = delete;
  farewell& operator=(const farewell&) = delete;
  ~farewell() { out_->push_back(words_); }

 private:
  trail* out_;
  std::string words_;
};

inline b::task<int> gives(int value) { co_return value; }
inline b::task<int> gives_after(b::duration length, int value) {
  co_await b::sleep_for(length);
  co_return value;
}
inline b::task<int> fails(std::string words) {
  throw boom(words);
  co_return 0;
}
inline b::task<int> fails_after(b::duration length, std::string words) {
  co_await b::sleep_for(length);
  throw boom(words);
  co_return 0;
}
inline b::task<> naps(b::duration length) { co_await b::sleep_for(length); }
inline b::task<> waits_for(b::event& what) { co_await what.wait(); }

inline std::string words(const b::exit_status& how) {
  if (how.failed()) return "failed";
  return how.cancelled() ? "cancelled" : "succeeded";
}

// Opens and closes without waiting, unless told to; writes both down.
inline b::managed<int> resource(trail& out, std::string name, b::duration opening = 0s,
                                b::duration closing = 0s) {
  if (opening > 0s) co_await b::sleep_for(opening);
  out.push_back("open " + name);
  int value = 7;
  const b::exit_status how = co_yield value;
  out.push_back("close " + name + ": " + words(how));
  if (closing > 0s) co_await b::sleep_for(closing);
  out.push_back("closed " + name);
}

// The frame address of whoever calls.
[[gnu::noinline]] inline std::uintptr_t stack_address() noexcept {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

struct process_end {
  bool exited = false;
  int code = 0;      // exit code
  int signal = 0;    // what killed it, if it did not exit
  std::string said;  // stderr
};
// Runs `body` in a child process, which exits with what it returns. `meanwhile(pid)` runs in the parent.
process_end in_process(const std::function<int()>& body,
                       const std::function<void(int pid, int its_stdout)>& meanwhile = {});

}  // namespace core_tests
