// SPDX-License-Identifier: Apache-2.0
// Not more mails than the provider takes. The page docs/policies/rate_limiter.md.
//   ./rate_limiter     exit: 0
#include <belay/core/run.hpp>
#include <belay/resilience/admission_store.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<> send(const char* to) {
  std::printf("sent to %s\n", to);
  co_return;
}

// [snippet limiter]
const belay::rate_limiter mails({.name = "mails", .permits = 2, .per = 1h});

belay::task<> mail(const char* to) {
  try {
    co_await mails(send, to);
  } catch (const belay::rate_limited_error& e) {
    const auto later = std::chrono::duration_cast<std::chrono::minutes>(*e.retry_after() + 30s);
    std::printf("not to %s, %s; in about %d minutes\n", to, std::string(e.code()).c_str(),
                static_cast<int>(later.count()));
  }
}
// [end]

// [snippet waits]
// Waits for its turn, up to a minute; a long mail counts as five.
const belay::rate_limiter patient({.permits = 10, .per = 1s, .most_waiting = 1000, .longest_wait = 60s});
const belay::rate_limiter long_mails = patient.with_weight(5);
// [end]

// [snippet shared]
// For all loops of the program; and for all programs that use the same store.
const belay::shared_rate_limiter everywhere({.permits = 1000, .per = 1s});
const belay::stored_rate_limiter cluster(std::make_shared<belay::memory_store>(),
                                         {.name = "mails", .permits = 1000, .per = 1s},
                                         {.limit = 50ms, .otherwise = belay::without_store::admit});
// [end]

belay::task<> program() {
  for (const char* to : {"ann", "bob", "cleo"}) co_await mail(to);
  co_await long_mails(send, "dora");
  co_await everywhere(send, "emil");
  co_await cluster(send, "fay");
  std::printf("%s\n%s\n", mails.describe().c_str(), patient.describe().c_str());
}

int main() { return belay::run(program()); }
