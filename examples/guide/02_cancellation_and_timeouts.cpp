// SPDX-License-Identifier: Apache-2.0
// Time limits, and what a cancelled task does and does not do. The guide's chapter 2.
//   ./02_cancellation_and_timeouts     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include <cstdio>
#include <optional>
#include <string>

using namespace std::chrono_literals;

struct place {
  ~place() { std::puts("  the place is given back"); }
};

// [snippet slow]
belay::task<std::string> slow_answer() {
  const place mine;
  try {
    co_await belay::sleep_for(1h);
    std::puts("  never printed");
  } catch (...) {
    std::puts("  never printed either: a cancellation is not an exception");
  }
  co_return "late";
}
// [end]

// [snippet with_timeout]
belay::task<> bounded() {
  try {
    std::puts((co_await belay::with_timeout(10ms, slow_answer())).c_str());
  } catch (const belay::timeout_error& e) {
    std::printf("  %s\n", e.what());
  }
}
// [end]

// [snippet move_on_after]
belay::task<> with_a_default() {
  const std::optional<std::string> answer = co_await belay::move_on_after(10ms, slow_answer());
  std::printf("  %s\n", answer.value_or("no answer, going on without it").c_str());
}
// [end]

// [snippet shielded]
belay::task<> record_payment() {
  co_await belay::sleep_for(20ms);
  std::puts("  the payment is recorded");
}
belay::task<> pay() {
  co_await belay::shielded(1s, record_payment());  // protected, but for one second at most
  co_await belay::yield();                         // the cancellation acts here
  std::puts("  never printed");
}
// [end]

// [snippet checkpoint]
belay::task<long> count_to(long end) {
  long sum = 0;
  for (long i = 1; i <= end; ++i) {
    sum += i;
    if (i % 1000 == 0) co_await belay::checkpoint();  // a place where a cancellation may act
  }
  co_return sum;
}
// [end]

belay::task<> program() {
  std::puts("with_timeout:");
  co_await bounded();
  std::puts("move_on_after:");
  co_await with_a_default();
  std::puts("shielded:");
  co_await belay::move_on_after(10ms, pay());
  std::puts("checkpoint:");
  const bool finished = (co_await belay::move_on_after(10ms, count_to(1'000'000'000'000))).has_value();
  std::printf("  finished: %s\n", finished ? "yes" : "no");
}

int main() { return belay::run(program()); }
