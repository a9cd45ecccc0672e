// SPDX-License-Identifier: Apache-2.0
// Barrier: all or nobody, again and again; a party that is cancelled is not counted.

#include <belay/core/barrier.hpp>
#include <doctest/doctest.h>

#include "driven.hpp"

using namespace core_tests;

namespace {

b::task<> arrives(b::barrier& at, trail& out, std::string name) {
  const std::size_t position = co_await at.arrive_and_wait();
  out.push_back(name + std::to_string(position));
}

}  // namespace

TEST_CASE("barrier: the last one lets all go on, in order, and it begins anew") {
  b::testing::test_loop loop;
  trail out;
  b::barrier three(3, "three");
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (const char* name : {"a", "b", "c", "d", "e"})
      g.spawn(arrives, std::ref(three), std::ref(out), std::string(name));
    co_await b::sleep_for(1s);
    CHECK(out == trail{"c2", "a0", "b1"});
    CHECK(three.waiting() == 2);
    co_await arrives(three, out, "f");
  }));
  CHECK(out == trail{"c2", "a0", "b1", "f2", "d0", "e1"});
  CHECK(three.waiting() == 0);
}

TEST_CASE(
    "barrier: one that is cancelled while waiting is not counted, another one can take its place [row 233]") {
  b::testing::test_loop loop;
  trail out;
  b::barrier three(3);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(arrives, std::ref(three), std::ref(out), std::string("a"));
    g.spawn(arrives, std::ref(three), std::ref(out), std::string("b"));
    co_await b::yield();
    first.cancel();
    CHECK(three.waiting() == 1);
    g.spawn(arrives, std::ref(three), std::ref(out), std::string("c"));
    co_await b::sleep_for(1s);
    CHECK(out.empty());
    co_await arrives(three, out, "d");
  }));
  CHECK(out == trail{"d2", "b0", "c1"});
}

TEST_CASE("barrier: cancelled in the turn in which all have arrived: finished work wins") {
  b::testing::test_loop loop;
  trail out;
  b::barrier two(2);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(arrives, std::ref(two), std::ref(out), std::string("a"));
    co_await b::yield();
    co_await arrives(two, out, "b");
    first.cancel();
  }));
  CHECK(out == trail{"b1", "a0"});
}

TEST_CASE("barrier: of one party, never waits; of none, is a misuse_error") {
  b::testing::test_loop loop;
  trail out;
  b::barrier one(1);
  loop.run(arrives(one, out, "a"));
  CHECK(out == trail{"a0"});
  CHECK(one.parties() == 1);
  CHECK_THROWS_AS(b::barrier(0), b::misuse_error);
  CHECK_THROWS_AS(b::barrier(static_cast<std::size_t>(-1)), b::misuse_error);
}

TEST_CASE("barrier: cancelled before it arrives, it is not counted [row 38]") {
  b::testing::test_loop loop;
  trail out;
  b::barrier one(1);
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    co_await arrives(one, out, "a");
  }));
  CHECK(out.empty());
}

TEST_CASE("everywhere: barrier") {
  struct world {
    b::barrier three{3, "three"};
    std::array<int, 3> rounds{};
    bool apart = false;
  };
  drive("barrier", [](t::stage& s) -> b::task<> {
    auto& w = s.make<world>();
    s.expect("nobody waits", [&w] { return w.three.waiting() == 0; });
    s.expect("nobody is a round ahead", [&w] { return !w.apart; });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto party = [](world& in, std::size_t who) -> b::task<> {
        for (int i = 0; i < 3; ++i) {
          co_await b::sleep_for(who * 500ms);
          ++in.rounds[who];
          co_await in.three.arrive_and_wait();
          for (const int other : in.rounds)
            if (other < in.rounds[who]) in.apart = true;
        }
      };
      for (std::size_t who = 0; who < 3; ++who) g.spawn(party, std::ref(w), who);
      co_return;
    });
  });
}
