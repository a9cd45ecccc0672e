// SPDX-License-Identifier: Apache-2.0
// How many begin in which time, who waits until when, and who is rejected.

#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/rate_limiter.hpp>
#include <belay/resilience/shared_rate_limiter.hpp>
#include <doctest/doctest.h>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

struct board {
  b::time_point start = b::now();
  trail told;
  [[nodiscard]] std::string time() const {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(b::now() - start).count());
  }
};

b::task<> begins(board& at, std::string name) {
  at.told.push_back(name + " at " + at.time());
  co_await b::yield();
}
template <class Limiter>
b::task<> passes(Limiter through, board& at, std::string name) {
  b::outcome<void> how = co_await b::as_outcome(through(begins, std::ref(at), name));
  if (how.succeeded()) co_return;
  const b::failure why = how.failure();
  const auto* refused = why.find<b::rate_limited_error>();
  const auto later = refused != nullptr ? refused->retry_after().value_or(-1s) : -1s;
  at.told.push_back(name + " rejected, " + std::to_string(later / 1ms));
}

}  // namespace

TEST_CASE("rate_limiter: of 15 calls in one turn 10 run, and 5 are told when to come again [row 388]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const auto algorithm : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
      const b::rate_limiter ten({.name = "mail", .permits = 10, .algorithm = algorithm});
      board at;
      co_await b::with_group([&](b::group& g) -> b::task<> {
        for (int i = 0; i < 15; ++i) g.spawn(passes<b::rate_limiter>, ten, std::ref(at), "x");
        co_return;
      });
      CHECK(std::count(at.told.begin(), at.told.end(), "x at 0") == 10);
      const bool bucket = algorithm == b::rate_algorithm::token_bucket;
      CHECK(std::count(at.told.begin(), at.told.end(), bucket ? "x rejected, 100" : "x rejected, 1000") == 5);
      CHECK(ten.statistics().rejected == 5);
      b::outcome<void> how = co_await b::as_outcome(ten(begins, std::ref(at), "y"));
      const b::failure refused = how.failure();
      const auto* why = refused.find<b::rate_limited_error>();
      REQUIRE(why != nullptr);
      CHECK(why->kind() == b::error_kind::overloaded);
      CHECK(why->code() == "rate_limited");
      co_await b::sleep_for(*why->retry_after());
      co_await ten(begins, std::ref(at), "z");  // as it was told
    }
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "rate_limiter: waiters pass in order at the computed times; who is cancelled gives his turn back [row 389]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const auto algorithm : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
      const b::rate_limiter one({.permits = 1, .per = 100ms, .algorithm = algorithm, .most_waiting = 10});
      board at;
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(passes<b::rate_limiter>, one, std::ref(at), "a");
        g.spawn(passes<b::rate_limiter>, one, std::ref(at), "b");
        b::child<void> c = g.spawn(passes<b::rate_limiter>, one, std::ref(at), "c");
        g.spawn(passes<b::rate_limiter>, one, std::ref(at), "d");
        b::child<void> first = g.spawn(passes<b::rate_limiter>, one, std::ref(at), "e");
        co_await b::sleep_for(50ms);
        c.cancel();
        co_await b::sleep_for(200ms);
        first.cancel();  // the first in line by now
        co_await b::sleep_for(1ms);
        co_await passes(one, at, "f");
      });
      CHECK(at.told == trail{"a at 0", "b at 100", "d at 200", "f at 300"});
      CHECK(one.statistics().waiting == 0);
      co_await b::sleep_for(1s);
    }
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("rate_limiter: after a long pause not more pass at once than the bucket holds [row 390]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const std::size_t burst : {std::size_t{0}, std::size_t{3}}) {
      const b::rate_limiter ten({.permits = 10, .burst = burst});
      co_await b::sleep_for(10s);
      std::size_t passed = 0;
      while (ten.try_enter()) ++passed;
      CHECK(passed == (burst == 0 ? 10 : burst));
      co_await b::sleep_for(100ms);
      CHECK(ten.try_enter());
      CHECK_FALSE(ten.try_enter());
    }
  }());
}

TEST_CASE("rate_limiter: who would have to wait too long is rejected when he comes; the line is bounded") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::rate_limiter patient({.permits = 1, .per = 100ms, .most_waiting = 10, .longest_wait = 200ms});
    const b::rate_limiter narrow({.permits = 1, .per = 100ms, .most_waiting = 1});
    board at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (const char* name : {"a", "b", "c", "d"})
        g.spawn(passes<b::rate_limiter>, patient, std::ref(at), name);
      co_await b::sleep_for(1s);
      at.start = b::now();
      for (const char* name : {"e", "f", "g"}) g.spawn(passes<b::rate_limiter>, narrow, std::ref(at), name);
    });
    CHECK(at.told == trail{"a at 0", "d rejected, 300", "b at 100", "c at 200", "e at 0", "g rejected, 200",
                           "f at 100"});
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("rate_limiter: a heavy call waits for all of its permits, and nobody overtakes it") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const auto algorithm : {b::rate_algorithm::token_bucket, b::rate_algorithm::sliding_window}) {
      const b::rate_limiter ten({.permits = 10, .algorithm = algorithm, .most_waiting = 10});
      board at;
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(passes<b::rate_limiter>, ten.with_weight(8), std::ref(at), "heavy");
        g.spawn(passes<b::rate_limiter>, ten.with_weight(5), std::ref(at), "second");
        g.spawn(passes<b::rate_limiter>, ten, std::ref(at), "light");
        co_return;
      });
      CHECK(at.told == (algorithm == b::rate_algorithm::token_bucket
                            ? trail{"heavy at 0", "second at 300", "light at 400"}
                            : trail{"heavy at 0", "second at 1000", "light at 1000"}));
      CHECK_THROWS_AS(static_cast<void>(ten.with_weight(11)), b::misuse_error);
      CHECK_THROWS_AS(static_cast<void>(ten.with_weight(0)), b::misuse_error);
      co_await b::sleep_for(10s);
    }
  }());
}

TEST_CASE(
    "rate_limiter: a sliding window of heavy calls: who has waited his longest is rejected, whatever was estimated") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::rate_limiter ten({.permits = 10,
                               .algorithm = b::rate_algorithm::sliding_window,
                               .most_waiting = 10,
                               .longest_wait = 1500ms});
    board at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(passes<b::rate_limiter>, ten.with_weight(6), std::ref(at), "a");
      co_await b::sleep_for(100ms);
      for (const char* name : {"b", "c"})
        g.spawn(passes<b::rate_limiter>, ten.with_weight(6), std::ref(at), name);
    });
    // c needs b's permits back, at 2000: that is more than 1500 after 100.
    REQUIRE(at.told.size() == 3);
    CHECK(at.told[1] == "b at 1000");
    CHECK(at.told[2] == "c rejected, 400");
  }());
  CHECK(loop.elapsed() == 1600ms);
  CHECK(loop.nothing_left());
}

TEST_CASE("shared_rate_limiter: the same rate; who gives up makes room only if nobody has come after him") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::shared_rate_limiter one({.permits = 1, .per = 100ms, .most_waiting = 1, .longest_wait = 350ms});
    board at;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "a");
      g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "b");
      b::child<void> c = g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "c");
      g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "d");
      g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "e");
      co_await b::sleep_for(50ms);
      c.cancel();
      co_await b::yield();
      CHECK(one.statistics().waiting == 2);
      b::child<void> f = g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "f");
      co_await b::sleep_for(10ms);
      f.cancel();  // nobody has come after it
      co_await b::yield();
      g.spawn(passes<b::shared_rate_limiter>, one, std::ref(at), "h");
    });
    CHECK(at.told == trail{"a at 0", "e rejected, 400", "b at 100", "d at 300", "h at 400"});
    CHECK(one.statistics().admitted == 4);
    CHECK(one.statistics().rejected == 1);
    CHECK(one.statistics().waiting == 0);
    CHECK_FALSE(one.try_enter());
    CHECK(one.statistics().rejected == 2);
    co_await b::sleep_for(100ms);
    CHECK(one.try_enter());
    CHECK(one.statistics().admitted == 5);
    CHECK(one.describe() == "shared rate limiter: 1 in 100 ms, bursts of 1, all may wait, each up to 350 ms");
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("shared_rate_limiter: the rate holds, whoever gives up") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::shared_rate_limiter one(
        {.permits = 1, .per = 1s, .burst = 1, .most_waiting = 1000, .longest_wait = 1h});
    std::vector<b::time_point> begun;
    const auto call = [&]() -> b::task<> {
      co_await one([&]() -> b::task<> {
        begun.push_back(b::now());
        co_return;
      });
    };
    // Of so many who come, those with the earliest turns give up after a while.
    const auto wave = [&](b::group& g, int come, int give_up) -> b::task<> {
      std::vector<b::child<void>> all;
      for (int i = 0; i < come; ++i) all.push_back(g.spawn(call));
      co_await b::sleep_for(100ms);
      for (int i = 0; i < give_up; ++i) all[static_cast<std::size_t>(i)].cancel();
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      CHECK(one.try_enter());
      begun.push_back(b::now());
      co_await wave(g, 10, 9);
      co_await wave(g, 9, 8);
      co_await wave(g, 8, 7);
      co_await wave(g, 7, 0);
    });
    CHECK(begun.size() == 11);  // the first, one of each wave, and all of the last
    for (std::size_t i = 1; i < begun.size(); ++i) CHECK(begun[i] - begun[i - 1] >= 1s);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "shared_rate_limiter: who cannot wait for his turn takes none, and the rate goes to those who can") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::shared_rate_limiter one(
        {.permits = 1, .per = 1s, .burst = 1, .most_waiting = 1000, .longest_wait = 1h});
    int passed = 0;
    int rejected = 0;
    int gave_up = 0;
    const auto call = [&]() -> b::task<> {
      const auto how = co_await b::as_outcome(b::move_on_after(3s, one([&]() -> b::task<> {
                                                                 ++passed;
                                                                 co_return;
                                                               })));
      if (how.failed()) {
        const b::failure why = how.failure();
        const auto* early = why.find<b::rate_limited_error>();
        REQUIRE(early != nullptr);
        CHECK(early->retry_after() >= 3s);
        ++rejected;
      } else if (!how.succeeded()) {
        ++gave_up;
      }
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int second = 0; second < 100; ++second) {
        for (int i = 0; i < 3; ++i) g.spawn(call);
        co_await b::sleep_for(1s);
      }
    });
    CHECK(passed >= 100);
    CHECK(passed + rejected == 300);
    CHECK(gave_up == 0);
    CHECK(one.statistics().waiting == 0);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("rate_limiter: try_enter counts like a call") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::rate_limiter one({.permits = 1, .per = 1h});
    CHECK(one.try_enter());
    CHECK_FALSE(one.try_enter());
    CHECK(one.statistics().admitted == 1);
    CHECK(one.statistics().rejected == 1);
    co_return;
  }());
}

TEST_CASE("rate_limiter: options out of range are refused by name, value and range") {
  CHECK_THROWS_AS(b::rate_limiter({.permits = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.permits = static_cast<std::size_t>(-1)}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.per = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.per = -1s}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.per = b::duration::max()}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.permits = 1000, .per = 1us}), b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.burst = 5, .algorithm = b::rate_algorithm::sliding_window}),
                  b::misuse_error);
  CHECK_THROWS_AS(b::rate_limiter({.permits = 1, .per = std::chrono::hours(24), .burst = 1000}),
                  b::misuse_error);
  CHECK_THROWS_AS(b::shared_rate_limiter({.algorithm = b::rate_algorithm::sliding_window}), b::misuse_error);
  CHECK_THROWS_WITH_AS(b::rate_limiter({.name = "mail", .longest_wait = 0s}),
                       "rate limiter 'mail': longest_wait is 0 s; it must be more than 0", b::misuse_error);
}
