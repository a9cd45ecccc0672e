// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of retry share: an operation that follows a plan, and events as text.

#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/resilience/detail/options_text.hpp>
#include <belay/resilience/policy.hpp>
#include <belay/resilience/retry.hpp>

#include <string>
#include <vector>

#include "support.hpp"

namespace resilience_tests {

using namespace core_tests;

inline b::error unavailable(std::string words) {
  return b::error(b::error_kind::unavailable, "", std::move(words));
}

// Fails as often as told, then gives the number of the attempt.
struct flaky {
  int failures = 0;
  b::duration takes = {};
  int runs = 0;
  std::vector<b::time_point> at = {};

  b::task<int> run() {
    const int number = ++runs;
    at.push_back(b::now());
    if (takes > 0s) co_await b::sleep_for(takes);
    if (number <= failures) throw unavailable("attempt " + std::to_string(number));
    co_return number;
  }
};

// "retrying 1 100 ms: attempt 1"
inline b::policy_listener listening_to(trail& events) {
  return [&events](const b::policy_event& e) {
    std::string text(b::to_string(e.action));
    if (e.number != 0) text += " " + std::to_string(e.number);
    if (e.length != 0s) text += " " + b::detail::duration_text(e.length);
    if (!e.detail.empty()) text += " (" + std::string(e.detail) + ")";
    if (e.what) text += ": " + e.what.message();
    events.push_back(std::move(text));
  };
}

inline b::retry_options steady(unsigned attempts) {
  return {.max_attempts = attempts, .delay = b::backoff::constant(1s, b::jitter::none)};
}

// Waits for long; its cleanup fails, for a reason that is worth another try.
inline b::task<int> fails_in_cleanup() {
  const auto body = []() -> b::task<int> {
    co_await b::sleep_for(1h);
    co_return 1;
  };
  const auto cleanup = []() -> b::task<> {
    co_await b::yield();
    throw unavailable("rollback");
  };
  co_return co_await b::finally(body, cleanup);
}

// How a task that awaits `op` and is cancelled after a second ends: "went on with 7", "cancelled", or its error.
inline std::string end_when_cancelled(b::testing::test_loop& loop, b::task<int> op) {
  std::string how = "cancelled";
  const auto task = [&how](b::task<int> inner) -> b::task<> {
    const int got = co_await std::move(inner);
    how = "went on with " + std::to_string(got);
  };
  const auto program = [&](b::task<int> inner) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(task, std::move(inner));
      co_await b::sleep_for(1s);
      one.cancel();
    });
  };
  try {
    loop.run(program(std::move(op)));
  } catch (const b::error& e) {
    how = e.what();
  }
  return how;
}

// What comes out of `op`, without losing it.
template <class T>
b::failure failure_of(b::testing::test_loop& loop, b::task<T> op) {
  const auto looks = [](b::task<T> one) -> b::task<b::failure> {
    const b::outcome<T> how = co_await b::as_outcome(std::move(one));
    static_cast<void>(b::describe(how.failure()));  // looks at what is attached, too
    co_return how.failure();
  };
  return loop.run(looks(std::move(op)));
}

}  // namespace resilience_tests
