// SPDX-License-Identifier: Apache-2.0
#include <belay/resilience/cache.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/retry.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include "driven.hpp"
#include "retry_support.hpp"

namespace {

namespace t = belay::testing;
using namespace resilience_tests;

TEST_CASE("cache: a fresh value is given at once, an old one loaded again") {
  t::test_loop loop;
  int loads = 0;
  trail events;
  b::cache<int, int> squares(
      [&loads](const int& key) -> b::task<int> {
        ++loads;
        co_await b::sleep_for(1s);
        co_return key* key;
      },
      {.fresh_for = 10s, .listener = listening_to(events)});
  const auto program = [&]() -> b::task<> {
    CHECK(co_await squares.call(3) == 9);
    co_await b::sleep_for(4s);
    CHECK(co_await squares.call(3) == 9);
    CHECK(co_await squares.call(4) == 16);
    CHECK(loads == 2);
    co_await b::sleep_for(5s);
    CHECK(co_await squares.call(3) == 9);
    CHECK(loads == 3);
    squares.forget(3);
    squares.forget(77);
    CHECK(co_await squares.call(3) == 9);
    CHECK(loads == 4);
    squares.clear();
    CHECK(squares.statistics().size == 0);
  };
  loop.run(program());
  CHECK(events == trail{"cached 4 s"});
  CHECK(squares.statistics().hits == 1);
  CHECK(squares.statistics().loads == 4);
}

TEST_CASE("cache: callers at the same time share one load; one who leaves does not end it") {
  t::test_loop loop;
  int loads = 0;
  b::cache<std::string, int> lengths([&loads](const std::string& key) -> b::task<int> {
    ++loads;
    co_await b::sleep_for(2s);
    co_return static_cast<int>(key.size());
  });
  int done = 0;
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto one = [&]() -> b::task<> {
        CHECK(co_await lengths.call("four") == 4);
        ++done;
      };
      b::child<void> first = g.spawn(one);
      for (int i = 0; i < 9; ++i) g.spawn(one);
      co_await b::sleep_for(1s);
      first.cancel();
    });
  };
  loop.run(program());
  CHECK(loads == 1);
  CHECK(done == 9);
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("cache: errors are not kept; an old value stands in for a while") {
  t::test_loop loop;
  trail events;
  bool up = true;
  b::cache<int, int> values(
      [&up](const int& key) -> b::task<int> {
        if (!up) throw unavailable("down");
        if (key < 0) throw std::logic_error("a bug");
        co_return key;
      },
      {.fresh_for = 10s, .stale_for = 20s, .listener = listening_to(events)});
  const auto program = [&]() -> b::task<> {
    CHECK((co_await b::as_outcome(values.call(-1))).failure().message() == "a bug");
    CHECK(co_await values.call(1) == 1);
    up = false;
    CHECK((co_await b::as_outcome(values.call(2))).failure().message() == "down");
    co_await b::sleep_for(15s);
    CHECK(co_await values.call(1) == 1);
    co_await b::sleep_for(20s);
    CHECK((co_await b::as_outcome(values.call(1))).failure().message() == "down");
    up = true;
    CHECK(co_await values.call(1) == 1);
  };
  loop.run(program());
  CHECK(events == trail{"cached 15 s (stale): down"});
  CHECK(values.statistics().stale == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("cache: the value not used for the longest time goes") {
  t::test_loop loop;
  int loads = 0;
  b::cache<int, int> values(
      [&loads](const int& key) -> b::task<int> {
        ++loads;
        co_return key;
      },
      {.most = 2});
  const auto program = [&]() -> b::task<> {
    for (const int key : {1, 2, 1, 3, 1, 2}) co_await values.call(key);
  };
  loop.run(program());
  CHECK(loads == 4);  // 2 was gone
  CHECK(values.statistics().size == 2);
}

TEST_CASE("cache: out of range, in words") {
  const auto load = [](const int& key) -> b::task<int> { co_return key; };
  using ints = b::cache<int, int>;
  CHECK_THROWS_WITH_AS(ints(load, {.fresh_for = 0s}), "cache: fresh_for is 0 s; it must be more than zero",
                       b::misuse_error);
  CHECK_THROWS_AS(ints(load, {.stale_for = -1s}), b::misuse_error);
  CHECK_THROWS_WITH_AS(ints(load, {.most = 0}), "cache: most is 0; it must be at least 1", b::misuse_error);
  CHECK_THROWS_WITH_AS(ints(b::task_function<b::task<int>(const int&)>()),
                       "cache: made with an empty function", b::misuse_error);
  CHECK(ints(load, {.stale_for = 1h}).describe() ==
        "cache: fresh for 10 s, on failure 3600 s longer, at most 1000 values");
}

TEST_CASE("cache: at every await") {
  drive("cache", [](t::stage& s) -> b::task<> {
    auto& values = s.make<b::cache<int, int>>([](const int& key) -> b::task<int> {
      co_await b::sleep_for(1s);
      co_return key;
    });
    s.afterwards([&values]() -> b::task<> { static_cast<void>(co_await values.call(5)); });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto one = [&values](int key) -> b::task<> { static_cast<void>(co_await values.call(key)); };
      g.spawn(one, 5);
      g.spawn(one, 5);
      g.spawn(one, 6);
      co_return;
    });
  });
}

}  // namespace
