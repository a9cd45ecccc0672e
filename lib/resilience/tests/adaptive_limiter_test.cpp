// SPDX-License-Identifier: Apache-2.0
// What an adaptive limiter learns, against a service with a known capacity.

#include <belay/core/group.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/adaptive_limiter.hpp>
#include <doctest/doctest.h>

#include <array>
#include <queue>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

// Works on `capacity` calls at a time, each for 100 ms; others queue up inside of it, and their latency grows.
struct service {
  b::semaphore free;
  int inside = 0;
  int most_inside = 0;
  explicit service(std::size_t capacity) : free(capacity) {}
};
b::task<> serve(service& at) {
  ++at.inside;
  at.most_inside = std::max(at.most_inside, at.inside);
  struct leave {
    service* of;
    ~leave() { --of->inside; }
  } const leaving{&at};
  const b::permit mine = co_await at.free.acquire();
  co_await b::sleep_for(100ms);
}
b::task<> client(const b::adaptive_limiter& through, service& at, int calls, b::duration between) {
  for (int i = 0; i < calls; ++i) {
    b::outcome<void> how = co_await b::as_outcome(through(serve, std::ref(at)));
    if (how.failed()) CHECK(how.failure().find<b::overload_error>() != nullptr);
    co_await b::sleep_for(how.failed() ? 20ms : between);
  }
}
b::task<> load(const b::adaptive_limiter& through, service& at, int clients, int calls,
               b::duration between = 1ms) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < clients; ++i) {
      g.spawn(client, std::cref(through), std::ref(at), calls, between);
      co_await b::sleep_for(1ms);
    }
  });
}

}  // namespace

TEST_CASE("adaptive_limiter: under too much load both algorithms settle near what the service can take") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const auto algorithm : {b::limit_algorithm::aimd, b::limit_algorithm::gradient}) {
      service ten(10);
      const b::adaptive_limiter through(
          {.algorithm = algorithm, .first_limit = 10, .most_limit = 200, .too_slow = 250ms});
      co_await load(through, ten, 100, 300);
      const std::size_t limit = through.statistics().limit;
      CAPTURE(static_cast<int>(algorithm));
      CAPTURE(limit);
      CHECK(limit >= 8);
      CHECK(limit <= 40);  // 100 clients would be 100
      CHECK(ten.most_inside < 50);
      CHECK(through.statistics().running == 0);
    }
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("adaptive_limiter: it grows while there is room, and not when it is not needed") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const auto algorithm : {b::limit_algorithm::aimd, b::limit_algorithm::gradient}) {
      service large(500);
      const b::adaptive_limiter busy(
          {.algorithm = algorithm, .first_limit = 5, .most_limit = 50, .too_slow = 1s});
      co_await load(busy, large, 60, 1000);
      CHECK(busy.statistics().limit >= 25);  // half of it while it is measured
      const b::adaptive_limiter idle(
          {.algorithm = algorithm, .first_limit = 20, .most_limit = 50, .too_slow = 1s});
      co_await load(idle, large, 2, 200);
      CHECK(idle.statistics().limit == 20);
    }
  }());
}

TEST_CASE(
    "adaptive_limiter: refusals lower it, once for calls that were under way together; other errors teach nothing") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::adaptive_limiter through({.name = "search",
                                       .algorithm = b::limit_algorithm::aimd,
                                       .first_limit = 100,
                                       .least_limit = 50,
                                       .backoff = 0.5,
                                       .listener = told.listener()});
    const auto fails = [&through](b::error_kind kind) -> b::task<> {
      b::outcome<void> how = co_await b::as_outcome(through([kind]() -> b::task<> {
        co_await b::sleep_for(10ms);
        throw b::error(kind, "x", "x");
      }));
      CHECK(how.failure());
    };
    for (int i = 0; i < 200; ++i) co_await fails(b::error_kind::not_found);
    CHECK(through.statistics().limit == 100);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 40; ++i) g.spawn(fails, b::error_kind::overloaded);
      co_return;
    });
    CHECK(through.statistics().limit == 50);
    CHECK(told.all == trail{"limit_changed: search"});
    for (int i = 0; i < 200; ++i) co_await fails(b::error_kind::timed_out);
    CHECK(through.statistics().limit == 50);  // the least
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "adaptive_limiter: a cancelled call teaches nothing, and gives its place back when it has stopped") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::adaptive_limiter through(
        {.algorithm = b::limit_algorithm::aimd, .first_limit = 1, .too_slow = 1s, .most_waiting = 1});
    const auto slow = []() -> b::task<> { co_await b::sleep_for(1h); };
    for (int i = 0; i < 10; ++i) static_cast<void>(co_await b::move_on_after(10s, through(slow)));
    CHECK(through.statistics().limit == 1);
    CHECK(through.statistics().running == 0);
    CHECK(through.statistics().admitted == 10);
  }());
  CHECK(loop.nothing_left());
}

namespace {

// A service with so many places, of which each call takes one for about 100 ms; clients who come whenever the limit lets them in.
struct flood {
  b::detail::learned_limit& limit;
  std::vector<long> places;
  std::priority_queue<std::array<long, 3>, std::vector<std::array<long, 3>>, std::greater<>> calls = {};
  std::uint64_t chance = 1;
  bool even;
  std::size_t most = 0;

  flood(b::detail::learned_limit& of, std::size_t capacity, bool all_alike)
      : limit(of), places(capacity, 0), even(all_alike) {
    fill(0);
  }
  long work() {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return even ? 100'000 : 80'000 + static_cast<long>((chance >> 33) % 40'000);  // microseconds
  }
  void fill(long now) {
    while (calls.size() < limit.limit()) {
      const auto place = std::min_element(places.begin(), places.end());
      *place = std::max(*place, now) + work();
      calls.push({*place, now, static_cast<long>(calls.size()) + 1});
    }
  }
  void end(int count) {
    for (int i = 0; i < count; ++i) {
      const auto [at, began, under_way] = calls.top();
      calls.pop();
      limit.ended(std::chrono::microseconds(at - began), static_cast<std::size_t>(under_way), false);
      most = std::max(most, limit.limit());
      fill(at);
    }
  }
};

}  // namespace

TEST_CASE(
    "adaptive_limiter: the gradient stays near what the service can take, however long the overload is") {
  for (const double smoothing : {0.2, 0.05, 0.01}) {
    for (const double tolerance : {1.5, 2.0, 4.0}) {
      for (const std::size_t capacity : {50u, 10u, 2u, 1u}) {
        for (const bool even : {true, false}) {
          CAPTURE(smoothing);
          CAPTURE(tolerance);
          CAPTURE(capacity);
          CAPTURE(even);
          b::detail::learned_limit limit({.first = 10, .tolerance = tolerance, .smoothing = smoothing});
          flood service(limit, capacity, even);
          service.end(20'000);
          service.most = 0;
          service.end(80'000);
          // The queue that the tolerance allows, and `queue`.
          const auto most = static_cast<std::size_t>(1.25 * tolerance * static_cast<double>(capacity)) + 4;
          CHECK(service.most <= most);
          CHECK(service.most >= capacity);
        }
      }
    }
  }
}

TEST_CASE(
    "adaptive_limiter: a service that gets slower and slower brings the gradient down to the least limit") {
  for (const std::size_t queue : {4u, 20u, 100u}) {
    CAPTURE(queue);
    b::detail::learned_limit limit({.first = 500, .probe_after = 1'000'000, .queue = queue});
    limit.ended(1ms, 1, false);
    for (int i = 0; i < 5000; ++i) limit.ended(100ms, limit.limit(), false);
    CHECK(limit.limit() == 1);
    // Well again: it grows.
    for (int i = 0; i < 100; ++i) limit.ended(1ms, limit.limit(), false);
    CHECK(limit.limit() > 10);
  }
}

TEST_CASE("adaptive_limiter: a straggler of an overload does not undo what was good after it") {
  b::detail::learned_limit limit(
      {.algorithm = b::limit_algorithm::aimd, .first = 10, .too_slow = 1s, .backoff = 0.5});
  limit.ended(2s, 10, false);
  CHECK(limit.limit() == 5);
  for (int i = 0; i < 3; ++i) limit.ended(1ms, 5, false);
  limit.ended(2s, 5, false);  // was under way when the limit was lowered
  for (int i = 0; i < 2; ++i) limit.ended(1ms, 5, false);
  CHECK(limit.limit() == 6);
}

TEST_CASE("adaptive_limiter: options out of range are refused by name, value and range") {
  CHECK_THROWS_AS(b::adaptive_limiter({.first_limit = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.first_limit = 5, .least_limit = 10}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.first_limit = 20, .most_limit = 10}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.too_slow = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.backoff = 1}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.tolerance = std::nan("")}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.smoothing = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.probe_after = 0}), b::misuse_error);
  CHECK_THROWS_AS(b::adaptive_limiter({.longest_wait = -1s}), b::misuse_error);
  CHECK_THROWS_WITH_AS(b::adaptive_limiter({.name = "s", .queue = 0}),
                       "adaptive limiter 's': queue is 0; it must be from 1 to 1000000", b::misuse_error);
}
