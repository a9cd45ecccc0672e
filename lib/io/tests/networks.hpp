// SPDX-License-Identifier: Apache-2.0
#pragma once
// The networks that every behaviour of TCP is tried on: the system's loopback, and the fake one, which must be no different.

#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <chrono>

namespace test {

class loopback {
 public:
  void run(belay::task<> what) {
    loop_.run(belay::with_timeout(std::chrono::seconds(20), std::move(what)));
    left_ = loop_.statistics().live_tasks;
  }
  // Long enough that what was sent has arrived.
  static constexpr belay::duration a_moment = std::chrono::milliseconds(20);
  [[nodiscard]] bool nothing_left() const { return left_ == 0; }

 private:
  belay::loop loop_;
  std::size_t left_ = 0;
};

class fake {
 public:
  fake() : fake(belay::testing::network_conditions{}) {}
  explicit fake(const belay::testing::network_conditions& under) : net_({.conditions = under}) {}
  void run(belay::task<> what) {
    const belay::io::network_override guard(net_);
    loop_.run(std::move(what));
  }
  static constexpr belay::duration a_moment = std::chrono::milliseconds(20);
  [[nodiscard]] bool nothing_left() const { return loop_.nothing_left() && net_.nothing_left(); }

 private:
  belay::testing::test_loop loop_;
  belay::testing::fake_network net_;
};

// With latency, and everything in small random pieces.
class slow_fake : public fake {
 public:
  slow_fake()
      : fake({.delay = std::chrono::milliseconds(1),
              .jitter = std::chrono::milliseconds(1),
              .read_at_most = 700,
              .write_at_most = 900,
              .random_sizes = true}) {}
};

}  // namespace test

#define TCP_TEST(name) TEST_CASE_TEMPLATE(name, Network, test::loopback, test::fake, test::slow_fake)
