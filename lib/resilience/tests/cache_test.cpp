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

TEST_CASE("cache: loads that need each other are a misuse_error, and leave nothing behind") {
  t::test_loop loop;
  bool tangled = true;
  b::cache<int, int>* self = nullptr;
  b::cache<int, int> values(
      [&](const int& key) -> b::task<int> {
        co_await b::sleep_for(1s);
        if (!tangled) co_return key;
        co_return co_await self->call(1 - key);
      },
      {.name = "values"});
  self = &values;
  const auto program = [&]() -> b::task<> {
    const b::outcome<int> how = co_await b::as_outcome(values.call(0));
    REQUIRE(how.failed());
    CHECK(how.failure().message().find("single_flight 'values': the call for this key waits for the one") ==
          0);
    CHECK(how.failure().find<b::misuse_error>() != nullptr);
    tangled = false;
    CHECK(co_await values.call(0) == 0);
    CHECK(co_await values.call(1) == 1);
  };
  loop.run(program());
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("cache: what is forgotten while it is loaded, is not kept, and not what later callers get") {
  t::test_loop loop;
  std::string stored = "old";
  int loads = 0;
  b::cache<int, std::string> values(
      [&](const int&) -> b::task<std::string> {
        ++loads;
        std::string read = stored;
        co_await b::sleep_for(1s);
        co_return read;
      },
      {.fresh_for = 1h});
  for (const bool all : {false, true}) {
    stored = "old";
    loads = 0;
    std::string first;
    const auto program = [&]() -> b::task<> {
      values.clear();
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn([&]() -> b::task<> { first = co_await values.call(1); });
        g.spawn([&]() -> b::task<> { static_cast<void>(co_await values.call(2)); });
        co_await b::sleep_for(500ms);
        stored = "new";
        if (all) {
          values.clear();
        } else {
          values.forget(1);
        }
        CHECK(co_await values.call(1) == "new");
      });
      CHECK(co_await values.call(1) == "new");
      CHECK(co_await values.call(2) == (all ? "new" : "old"));
    };
    loop.run(program());
    CHECK(first == "old");
    CHECK(loads == (all ? 4 : 3));
  }
  CHECK(values.statistics().size == 2);
}

TEST_CASE("cache: a load that was given up, and ends later than the one that follows it, is not kept") {
  t::test_loop loop;
  int loads = 0;
  b::cache<int, int> values(
      [&](const int&) -> b::task<int> {
        const int number = ++loads;
        if (number == 1) co_await b::shielded(1h, naps(10s));  // does not stop when it is told to
        co_await b::sleep_for(0s);
        co_return number;
      },
      {.fresh_for = 1h});
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn([&]() -> b::task<> { static_cast<void>(co_await values.call(1)); });
      co_await b::sleep_for(1s);
      one.cancel();
      CHECK(co_await values.call(1) == 2);
    });
    CHECK(co_await values.call(1) == 2);
  };
  loop.run(program());
  CHECK(loop.elapsed() == 10s);
}

TEST_CASE("cache: `stale_on` may forget the value it is asked about") {
  t::test_loop loop;
  bool up = true;
  b::cache<int, std::string>* self = nullptr;
  b::cache<int, std::string> values(
      [&up](const int&) -> b::task<std::string> {
        if (!up) throw unavailable("down");
        co_return std::string(100, 'x');
      },
      {.fresh_for = 1s, .stale_for = 1h, .stale_on = b::error_filter([&self](const b::failure&) {
                                           self->forget(1);
                                           return true;
                                         })});
  self = &values;
  const auto program = [&]() -> b::task<> {
    co_await values.call(1);
    up = false;
    co_await b::sleep_for(2s);
    CHECK(co_await values.call(1) == std::string(100, 'x'));
    CHECK(values.statistics().size == 0);
    CHECK((co_await b::as_outcome(values.call(1))).failure().message() == "down");
  };
  loop.run(program());
}

TEST_CASE("cache: the error of a cleanup after a cancellation is not answered with an old value") {
  t::test_loop loop;
  bool up = true;
  b::cache<int, int> values(
      [&up](const int& key) -> b::task<int> {
        if (up) co_return key;
        co_return co_await fails_in_cleanup();
      },
      {.fresh_for = 1s, .stale_for = 1h});
  const auto first = [&]() -> b::task<> {
    CHECK(co_await values.call(1) == 1);
    co_await b::sleep_for(2s);
  };
  loop.run(first());
  up = false;
  CHECK(end_when_cancelled(loop, values.call(1)) == "rollback");
  CHECK(values.statistics().stale == 0);
}

TEST_CASE("cache: a copy that fails leaves the old value as it was; types without assignment") {
  struct picky {
    explicit picky(int given, bool* broken) : number(given), fails(broken) {}
    picky(const picky& other) : number(other.number), fails(other.fails) {
      if (*fails) throw boom("the copy");
    }
    picky& operator=(const picky&) = delete;
    const int number;
    bool* fails;
  };
  t::test_loop loop;
  bool broken = false;
  int loads = 0;
  b::cache<int, picky> values([&](const int&) -> b::task<picky> { co_return picky(++loads, &broken); },
                              {.fresh_for = 1s});
  const auto program = [&]() -> b::task<> {
    CHECK((co_await values.call(1)).number == 1);
    co_await b::sleep_for(2s);
    CHECK((co_await values.call(1)).number == 2);
    co_await b::sleep_for(2s);
    broken = true;
    CHECK((co_await b::as_outcome(values.call(1))).failure().message() == "the copy");
    broken = false;
    CHECK(values.statistics().size == 1);
  };
  loop.run(program());
}

}  // namespace
