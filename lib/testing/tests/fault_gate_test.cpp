// SPDX-License-Identifier: Apache-2.0
// Gates: holding up, letting through, delays, failures, cancellation.

#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/testing/fault_gate.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

namespace b = belay;
using belay::testing::fault_gate;
using belay::testing::test_loop;
using namespace std::chrono_literals;

namespace {

b::task<> pass(fault_gate& through) { co_await through.pass(); }
b::task<> pass_and_note(fault_gate& through, std::vector<int>& order, int me) {
  co_await through.pass();
  order.push_back(me);
}

}  // namespace

TEST_CASE("fault_gate: open at first") {
  test_loop loop;
  fault_gate gate;
  loop.run(pass(gate));
  CHECK(gate.passed() == 1);
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("fault_gate: held, tasks wait; released, they go on in order") {
  test_loop loop;
  fault_gate gate("sending");
  std::vector<int> order;
  gate.hold();
  loop.run(b::with_group([&](b::group& tasks) -> b::task<> {
    for (int i = 0; i < 3; ++i) tasks.spawn(pass_and_note, std::ref(gate), std::ref(order), i);
    co_await gate.wait_waiting(3);
    CHECK(gate.waiting() == 3);
    CHECK(gate.arrived() == 3);
    CHECK(gate.describe().find("gate 'sending': 3 wait (at fault_gate_test.cpp:") == 0);
    gate.let_through();
    co_await b::sleep_for(1s);
    CHECK(order == std::vector{0});
    gate.release();
  }));
  CHECK(order == std::vector{0, 1, 2});
  CHECK(gate.describe() == "gate 'sending': 0 wait, 3 passed, 0 failed");
  CHECK(loop.nothing_left());
}

TEST_CASE("fault_gate: let_through keeps what nobody waits for yet, and release ends it") {
  test_loop loop;
  fault_gate gate;
  gate.hold();
  gate.let_through(2);
  loop.run(pass(gate));
  CHECK_FALSE(gate.describe().empty());
  gate.release();
  gate.hold();
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, pass(gate))), b::timeout_error);
  CHECK(gate.passed() == 1);
  CHECK(gate.waiting() == 0);
}

TEST_CASE("fault_gate: delays from arrival on, also while it is held") {
  test_loop loop;
  fault_gate gate;
  gate.delay(5s);
  loop.run(pass(gate));
  CHECK(loop.elapsed() == 5s);
  gate.hold();
  loop.run(b::with_group([&](b::group& tasks) -> b::task<> {
    tasks.spawn(pass, std::ref(gate));
    co_await b::sleep_for(3s);
    gate.release();
  }));
  CHECK(loop.elapsed() == 10s);
}

TEST_CASE("fault_gate: fails the next ones, then all, until it is told to succeed") {
  test_loop loop;
  fault_gate gate("db");
  gate.fail_next(std::make_exception_ptr(std::runtime_error("first")), 2);
  gate.fail_next();
  CHECK_THROWS_WITH_AS(loop.run(pass(gate)), "first", std::runtime_error);
  CHECK_THROWS_WITH_AS(loop.run(pass(gate)), "first", std::runtime_error);
  CHECK_THROWS_WITH_AS(loop.run(pass(gate)), "gate 'db' was told to fail", b::error);
  loop.run(pass(gate));
  gate.fail_always();
  CHECK_THROWS_AS(loop.run(pass(gate)), b::error);
  CHECK_THROWS_AS(loop.run(pass(gate)), b::error);
  gate.succeed();
  loop.run(pass(gate));
  CHECK(gate.passed() == 2);
  CHECK(gate.failed() == 5);
  CHECK_THROWS_AS(gate.fail_next(std::exception_ptr()), b::misuse_error);
}

TEST_CASE("fault_gate: a cancelled task has not passed and uses up no failure") {
  test_loop loop;
  fault_gate gate;
  gate.hold();
  gate.fail_next();
  CHECK_FALSE(loop.run(b::move_on_after(1s, pass(gate))));
  CHECK(gate.arrived() == 1);
  CHECK(gate.passed() + gate.failed() == 0);
  CHECK(loop.nothing_left());
  gate.release();
  CHECK_THROWS_AS(loop.run(pass(gate)), b::error);
}

TEST_CASE("fault_gate: held for ever is a deadlock, which the loop reports") {
  test_loop loop;
  fault_gate gate;
  gate.hold();
  CHECK_THROWS_AS(loop.run(pass(gate)), b::deadlock_error);
  CHECK(gate.waiting() == 0);
}
