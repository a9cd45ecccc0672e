// SPDX-License-Identifier: Apache-2.0
// A service that goes down and comes back, behind a circuit breaker. The page docs/policies/circuit_breaker.md.
//   ./circuit_breaker     exit: 0
#include <belay/core/run.hpp>
#include <belay/core/sleep.hpp>
#include <belay/resilience/circuit_breaker.hpp>

#include <cstdio>

using namespace std::chrono_literals;

belay::task<int> fetch(bool down) {
  if (down) throw belay::error(belay::error_kind::unavailable, "refused", "connect to quotes:443: refused");
  co_return 42;
}

// [snippet breaker]
const belay::circuit_breaker breaker({
    .name = "quotes",
    .consecutive_failures = 3,
    .open_for = 20ms,
    .listener =
        [](const belay::policy_event& event) {
          if (event.action == belay::policy_action::state_changed)
            std::printf("  %.*s is %.*s\n", static_cast<int>(event.policy.size()), event.policy.data(),
                        static_cast<int>(event.detail.size()), event.detail.data());
        },
});

belay::task<> ask(bool down) {
  try {
    std::printf("%d\n", co_await breaker(fetch, down));
  } catch (const belay::circuit_open_error& e) {
    std::printf("rejected, because of: %s\n", e.cause().message().c_str());
  } catch (const belay::error& e) {
    std::printf("%s\n", e.what());
  }
}
// [end]

belay::task<> program() {
  for (int i = 0; i < 4; ++i) co_await ask(true);
  co_await belay::sleep_for(20ms);
  co_await ask(false);
  std::printf("%s\n", breaker.describe().c_str());
}

int main() { return belay::run(program()); }
