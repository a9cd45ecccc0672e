// SPDX-License-Identifier: Apache-2.0
// When a circuit breaker opens, what it lets through, and when it closes again.

#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/circuit_breaker.hpp>
#include <doctest/doctest.h>

#include "admission_support.hpp"

using namespace admission_tests;

namespace {

using b::breaker_state;

b::task<int> call(const b::circuit_breaker& breaker, b::task<int> (*op)()) {
  co_return co_await breaker([op]() -> b::task<int> { co_return co_await op(); });
}
b::task<int> good() { co_return 1; }
b::task<int> bad() {
  throw outage("down");
  co_return 0;
}
b::task<int> missing() {
  throw b::error(b::error_kind::not_found, "no_user", "user 7");
  co_return 0;
}
// How a call under the breaker ended: 'S', 'F' (failed by itself), 'R' (rejected).
b::task<char> try_one(const b::circuit_breaker& breaker, b::task<int> (*op)()) {
  b::outcome<int> how = co_await b::as_outcome(call(breaker, op));
  if (how.succeeded()) co_return 'S';
  co_return how.failure().find<b::circuit_open_error>() != nullptr ? 'R' : 'F';
}
b::task<std::string> try_all(const b::circuit_breaker& breaker, std::string calls) {
  std::string how;
  for (const char one : calls)
    how += co_await try_one(breaker, one == 'S' ? good : one == 'M' ? missing : bad);
  co_return how;
}
b::task<> hold(const b::circuit_breaker& breaker, b::event& until, int& running) {
  b::outcome<void> how = co_await b::as_outcome(breaker([&]() -> b::task<> {
    ++running;
    co_await until.wait();
  }));
  if (how.failed()) CHECK(how.failure().find<b::circuit_open_error>() != nullptr);
}
b::task<> fail_late(const b::circuit_breaker& breaker, b::event& until) {
  b::outcome<void> how = co_await b::as_outcome(breaker([&]() -> b::task<> {
    co_await until.wait();
    throw outage("down at last");
  }));
  CHECK(how.failure());
}

}  // namespace

TEST_CASE(
    "circuit_breaker: at the threshold it opens; the next call is rejected, not run, and told when and why [row 355]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.name = "quotes", .consecutive_failures = 3, .open_for = 30s});
    CHECK(co_await try_all(breaker, "FFF") == "FFF");
    CHECK(breaker.state() == breaker_state::open);
    co_await b::sleep_for(2500ms);
    bool ran = false;
    b::outcome<void> how = co_await b::as_outcome(breaker([&]() -> b::task<> {
      ran = true;
      co_return;
    }));
    CHECK_FALSE(ran);
    const b::failure refused = how.failure();
    const auto* open = refused.find<b::circuit_open_error>();
    REQUIRE(open != nullptr);
    CHECK(open->kind() == b::error_kind::unavailable);
    CHECK(open->code() == "circuit_open");
    CHECK(open->retry_after() == 27500ms);
    CHECK(open->cause().find<outage>() != nullptr);
    CHECK(
        std::string(open->what()) ==
        "circuit breaker 'quotes' is open: 3 failures in a row, the last with: down; try again in 27500 ms");
  }());
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("circuit_breaker: fewer calls than the minimum open nothing, all of them failed [row 356]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 0, .failure_rate = 0.5, .window_calls = 10, .minimum_calls = 8});
    CHECK(co_await try_all(breaker, "FFFFF") == "FFFFF");
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(co_await try_all(breaker, "FFFF") == "FFFR");
  }());
}

TEST_CASE("circuit_breaker: a rate that is exactly the threshold opens [row 357]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    for (const double rate : {0.1, 0.2, 0.3, 0.5, 0.6, 0.7}) {
      const b::circuit_breaker breaker(
          {.consecutive_failures = 0, .failure_rate = rate, .window_calls = 10, .minimum_calls = 10});
      const auto failures = static_cast<std::size_t>(rate * 10 + 0.5);
      CHECK(co_await try_all(breaker, std::string(10 - failures, 'S') + std::string(failures, 'F') + "S") ==
            std::string(10 - failures, 'S') + std::string(failures, 'F') + "R");
      const b::circuit_breaker below(
          {.consecutive_failures = 0, .failure_rate = rate, .window_calls = 10, .minimum_calls = 10});
      static_cast<void>(
          co_await try_all(below, std::string(11 - failures, 'S') + std::string(failures - 1, 'F')));
      CHECK(below.state() == breaker_state::closed);
    }
  }());
}

TEST_CASE("circuit_breaker: what has left the window does not count, by time and by number [row 358]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker timed(
        {.consecutive_failures = 0, .failure_rate = 0.5, .window = 10s, .minimum_calls = 4});
    static_cast<void>(co_await try_all(timed, "FFF"));
    co_await b::sleep_for(10s);
    static_cast<void>(co_await try_all(timed, "SSSSF"));
    CHECK(timed.state() == breaker_state::closed);
    CHECK(timed.statistics().window_failures == 1);
    static_cast<void>(co_await try_all(timed, "FFF"));  // now 4 of 8
    CHECK(timed.state() == breaker_state::open);

    const b::circuit_breaker counted_calls(
        {.consecutive_failures = 0, .failure_rate = 0.5, .window_calls = 4, .minimum_calls = 4});
    static_cast<void>(co_await try_all(counted_calls, "FSSSSF"));
    CHECK(counted_calls.statistics().window_failures == 1);
    CHECK(counted_calls.state() == breaker_state::closed);
  }());
}

TEST_CASE("circuit_breaker: only failures in a row count for the rule of failures in a row [row 359]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 3});
    CHECK(co_await try_all(breaker, "FFSFFF") == "FFSFFF");
    CHECK(breaker.state() == breaker_state::open);
    CHECK(breaker.statistics().opened == 1);
  }());
}

TEST_CASE(
    "circuit_breaker: until the open time is over all are rejected; then the first call is the probe [row 360]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1, .open_for = 10s});
    static_cast<void>(co_await try_all(breaker, "F"));
    co_await b::sleep_for(10s - 1ns);
    CHECK(breaker.state() == breaker_state::open);
    CHECK(co_await try_one(breaker, good) == 'R');
    co_await b::sleep_for(1ns);
    CHECK(breaker.state() == breaker_state::half_open);
    CHECK(breaker.state() == breaker_state::half_open);  // asking changes nothing
    CHECK(co_await try_one(breaker, good) == 'S');
    CHECK(breaker.state() == breaker_state::closed);
  }());
}

TEST_CASE(
    "circuit_breaker: exactly so many probes as are set run; it decides as soon as that is certain [row 362]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1, .open_for = 10s, .probes = 4, .probes_to_close = 3});
    static_cast<void>(co_await try_all(breaker, "F"));
    co_await b::sleep_for(10s);
    b::event first;
    b::event rest;
    int running = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 2; ++i) g.spawn(hold, std::cref(breaker), std::ref(first), std::ref(running));
      for (int i = 0; i < 2; ++i) g.spawn(hold, std::cref(breaker), std::ref(rest), std::ref(running));
      for (int i = 0; i < 10; ++i) g.spawn(hold, std::cref(breaker), std::ref(rest), std::ref(running));
      co_await b::sleep_for(1s);
      CHECK(running == 4);
      CHECK(breaker.statistics().rejected == 10);
      first.set();
      co_await b::sleep_for(1s);
      CHECK(breaker.state() == breaker_state::half_open);  // 2 of 3
      rest.set();
    });
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(breaker.statistics().stale == 1);  // the fourth came after the decision

    // One failure of 4 may be; the second decides, while the others still run.
    breaker.open();
    co_await b::sleep_for(10s);
    b::event failing;
    b::event never;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(fail_late, std::cref(breaker), std::ref(failing));
      g.spawn(hold, std::cref(breaker), std::ref(never), std::ref(running));
      g.spawn(hold, std::cref(breaker), std::ref(never), std::ref(running));
      co_await b::sleep_for(1s);
      failing.set();
      co_await b::sleep_for(1s);
      CHECK(breaker.state() == breaker_state::half_open);
      CHECK(co_await try_one(breaker, bad) == 'F');
      CHECK(breaker.state() == breaker_state::open);
      never.set();
    });
    CHECK(breaker.state() == breaker_state::open);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("circuit_breaker: a probe that succeeds closes it, once, with nothing counted [row 363]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::circuit_breaker breaker(
        {.consecutive_failures = 2, .open_for = 10s, .listener = told.listener()});
    static_cast<void>(co_await try_all(breaker, "FF"));
    co_await b::sleep_for(10s);
    CHECK(co_await try_all(breaker, "SF") == "SF");
    CHECK(breaker.statistics().failures_in_a_row == 1);
    CHECK(told.states == trail{"open", "half open", "closed"});
  }());
}

TEST_CASE(
    "circuit_breaker: a probe that fails opens it for its time again, which may grow up to a limit [row 364]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1, .open_for = 10s, .open_growth = 2, .longest_open = 35s});
    static_cast<void>(co_await try_all(breaker, "F"));
    for (const b::duration expected : {10s, 20s, 35s, 35s}) {
      CHECK(breaker.refusal().retry_after() == expected);
      co_await b::sleep_for(expected - 1ns);
      CHECK(co_await try_one(breaker, bad) == 'R');
      co_await b::sleep_for(1ns);
      CHECK(co_await try_one(breaker, bad) == 'F');
    }
    co_await b::sleep_for(35s);
    CHECK(co_await try_all(breaker, "SF") == "SF");
    CHECK(breaker.refusal().retry_after() == 10s);  // closing has forgotten the growth
  }());
}

TEST_CASE(
    "circuit_breaker: a probe whose error tells nothing, and one that is cancelled, leave their place to the next [row 366]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1,
         .open_for = 10s,
         .telling = b::telling_errors() && !b::kinds({b::error_kind::not_found})});
    static_cast<void>(co_await try_all(breaker, "F"));
    co_await b::sleep_for(10s);
    CHECK(co_await try_one(breaker, missing) == 'F');
    CHECK(breaker.state() == breaker_state::half_open);
    b::event never;
    int running = 0;
    static_cast<void>(co_await b::move_on_after(1s, hold(breaker, never, running)));
    CHECK(breaker.state() == breaker_state::half_open);
    CHECK(breaker.statistics().uncounted == 2);
    CHECK(co_await try_one(breaker, good) == 'S');
    CHECK(breaker.state() == breaker_state::closed);

    // By default a service that answers "no such user" works.
    const b::circuit_breaker usual({.consecutive_failures = 1, .open_for = 10s});
    static_cast<void>(co_await try_all(usual, "F"));
    co_await b::sleep_for(10s);
    CHECK(co_await try_one(usual, missing) == 'F');
    CHECK(usual.state() == breaker_state::closed);
  }());
}

TEST_CASE(
    "circuit_breaker: a timeout inside of it is a failure; one outside of it is a cancellation and counts as nothing [row 371]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1});
    b::event never;
    int running = 0;
    b::outcome<void> outside = co_await b::as_outcome(b::with_timeout(1s, hold(breaker, never, running)));
    CHECK(outside.failure().find<b::timeout_error>() != nullptr);
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(breaker.statistics().uncounted == 1);
    b::outcome<void> inside = co_await b::as_outcome(breaker([&]() -> b::task<> {
      auto waits = [](b::event& e) -> b::task<> { co_await e.wait(); };
      co_await b::with_timeout(1s, waits(never));
    }));
    CHECK(inside.failure().find<b::timeout_error>() != nullptr);
    CHECK(breaker.state() == breaker_state::open);
  }());
}

TEST_CASE(
    "circuit_breaker: rejections are counted, and are no failures; those of a breaker inside count as nothing outside [row 372]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker inner({.name = "inner", .consecutive_failures = 1, .open_for = 10s});
    const b::circuit_breaker outer({.name = "outer", .consecutive_failures = 2, .open_for = 10s});
    const auto both = [&]() -> b::task<> {
      b::outcome<int> how =
          co_await b::as_outcome(outer([&]() -> b::task<int> { co_return co_await call(inner, bad); }));
      CHECK(how.failure());
    };
    for (int i = 0; i < 5; ++i) co_await both();
    CHECK(inner.statistics().failed == 1);
    CHECK(inner.statistics().rejected == 4);
    CHECK(outer.state() == breaker_state::closed);
    CHECK(outer.statistics().failed == 1);
    CHECK(outer.statistics().uncounted == 4);
  }());
}

TEST_CASE("circuit_breaker: slow successes can open it, and a slow probe is a failed one [row 375]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 0,
                                      .slow_call_rate = 0.5,
                                      .slow_call = 2s,
                                      .window_calls = 4,
                                      .minimum_calls = 4,
                                      .open_for = 10s});
    const auto takes = [&breaker](b::duration length) -> b::task<> {
      co_await breaker([length]() -> b::task<> { co_await b::sleep_for(length); });
    };
    for (const b::duration length : {1s, 2s, 1s, 3s}) co_await takes(length);
    CHECK(breaker.state() == breaker_state::open);
    CHECK(breaker.statistics().slow == 2);
    co_await b::sleep_for(10s);
    co_await takes(2s);
    CHECK(breaker.state() == breaker_state::open);
    co_await b::sleep_for(10s);
    co_await takes(2s - 1ns);
    CHECK(breaker.state() == breaker_state::closed);
  }());
}

TEST_CASE(
    "circuit_breaker: isolate, open and close by hand work from any state, and only real changes are told [row 376]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::circuit_breaker breaker(
        {.consecutive_failures = 2, .open_for = 10s, .listener = told.listener()});
    breaker.close();
    CHECK(told.states.empty());
    breaker.isolate();
    breaker.isolate();
    co_await b::sleep_for(1000h);
    CHECK(breaker.state() == breaker_state::isolated);
    CHECK(co_await try_one(breaker, good) == 'R');
    CHECK(breaker.refusal().code() == "circuit_isolated");
    CHECK_FALSE(breaker.refusal().retry_after().has_value());
    breaker.open();
    breaker.open();
    CHECK(breaker.refusal().retry_after() == 10s);
    breaker.close();
    static_cast<void>(co_await try_all(breaker, "F"));
    breaker.close();  // closed already: forgets the failure
    CHECK(co_await try_all(breaker, "FSFF") == "FSFF");
    CHECK(breaker.state() == breaker_state::open);
    breaker.half_open();
    breaker.half_open();
    CHECK(co_await try_one(breaker, good) == 'S');
    CHECK(told.states == trail{"isolated", "open", "closed", "open", "half open", "closed"});
  }());
}

TEST_CASE("circuit_breaker: there is nothing to probe while it is closed [row 377]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.name = "quotes"});
    CHECK_THROWS_WITH_AS(
        breaker.half_open(),
        "circuit breaker 'quotes': half_open() while it is closed; there is nothing to probe",
        b::misuse_error);
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(co_await try_one(breaker, good) == 'S');
  }());
}

TEST_CASE("circuit_breaker: fifty failures in one turn open it once [row 378]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::circuit_breaker breaker({.consecutive_failures = 5, .listener = told.listener()});
    b::event go;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i < 50; ++i) g.spawn(fail_late, std::cref(breaker), std::ref(go));
      co_await b::yield();
      go.set();
    });
    CHECK(told.states == trail{"open"});
    CHECK(breaker.statistics().opened == 1);
    CHECK(breaker.statistics().failed == 5);
    CHECK(breaker.statistics().stale == 45);
  }());
}

TEST_CASE("circuit_breaker: a listener that throws changes nothing; its error is reported [row 379]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1, .listener = [](const b::policy_event& event) {
           if (event.action == b::policy_action::state_changed) throw boom("listener");
         }});
    CHECK(co_await try_all(breaker, "FS") == "FR");
    CHECK(breaker.state() == breaker_state::open);
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("listener") != std::string::npos);
}

TEST_CASE(
    "circuit_breaker: an open time without end, or one that grows beyond all times, does not overflow [row 380]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker for_ever({.consecutive_failures = 1, .open_for = b::duration::max()});
    static_cast<void>(co_await try_all(for_ever, "F"));
    co_await b::sleep_for(10000h);
    CHECK(co_await try_one(for_ever, good) == 'R');
    CHECK_FALSE(for_ever.refusal().retry_after().has_value());
    for_ever.half_open();
    CHECK(co_await try_one(for_ever, bad) == 'F');
    CHECK(for_ever.state() == breaker_state::open);

    const b::circuit_breaker growing(
        {.consecutive_failures = 1, .open_for = 1s, .open_growth = 1e9, .longest_open = b::duration::max()});
    static_cast<void>(co_await try_all(growing, "F"));
    for (int i = 0; i < 60; ++i) {
      growing.half_open();
      CHECK(co_await try_one(growing, bad) == 'F');
      CHECK(growing.state() == breaker_state::open);
    }
  }());
}

TEST_CASE("circuit_breaker: a million rejections keep one failure, which does not grow [row 381]") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1});
    static_cast<void>(co_await try_all(breaker, "F"));
    const b::circuit_open_error first = breaker.refusal();
    for (int i = 0; i < 20'000; ++i) {
      if (co_await try_one(breaker, good) != 'R') FAIL("let through");
    }
    const b::circuit_open_error last = breaker.refusal();
    CHECK(first.cause().exception() == last.cause().exception());
    CHECK(last.cause().attached().empty());
    CHECK(last.cause().trace().empty());
    CHECK_FALSE(last.cause().cause());
    CHECK(std::string(first.what()) == last.what());
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("circuit_breaker: stragglers from before neither open it again nor close it") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1, .open_for = 10s});
    b::event bad_end;
    b::event good_end;
    int running = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(fail_late, std::cref(breaker), std::ref(bad_end));
      g.spawn(hold, std::cref(breaker), std::ref(good_end), std::ref(running));
      co_await b::yield();
      static_cast<void>(co_await try_all(breaker, "F"));
      good_end.set();
      co_await b::yield();
      CHECK(breaker.state() == breaker_state::open);
      co_await b::sleep_for(10s);
      CHECK(co_await try_one(breaker, good) == 'S');
      bad_end.set();
    });
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(breaker.statistics().stale == 2);
  }());
}

TEST_CASE(
    "circuit_breaker: a pass counts what it is told, once; untold it counts as nothing and frees its place") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1, .open_for = 10s});
    {
      b::circuit_breaker::pass one = breaker.try_admit();
      one.failed(b::failure::of(std::make_exception_ptr(outage("down"))));
      CHECK_FALSE(one);
      one.succeeded();
    }
    CHECK(breaker.state() == breaker_state::open);
    CHECK_FALSE(breaker.try_admit());
    co_await b::sleep_for(10s);
    {
      b::circuit_breaker::pass probe = breaker.try_admit();
      CHECK(probe);
      CHECK_FALSE(breaker.try_admit());
      const b::circuit_breaker::pass moved = std::move(probe);
      CHECK(moved);
    }
    breaker.try_admit().succeeded();
    CHECK(breaker.state() == breaker_state::closed);
  }());
  loop.forget_lost_errors();  // the failure that was only made for the pass
}

TEST_CASE(
    "circuit_breaker: a filter that throws is reported, and the call counts as a failure with its own error") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1,
         .failures = b::error_filter([](const b::failure&) -> bool { throw boom("filter"); })});
    b::outcome<int> how = co_await b::as_outcome(call(breaker, bad));
    CHECK(how.failure().find<outage>() != nullptr);
    CHECK(breaker.state() == breaker_state::open);
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("filter") != std::string::npos);
}

TEST_CASE("circuit_breaker: a rate replaces the rule of failures in a row that nobody has set") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker by_rate({.failure_rate = 0.5, .window = 10s});
    static_cast<void>(co_await try_all(by_rate, "SSSSSSSSSSSSSSFFFFFFFFFF"));  // ten of 24
    CHECK(by_rate.state() == breaker_state::closed);
    CHECK(by_rate.describe() ==
          "circuit breaker: opens at 50 % failures in 10 s (at least 20 calls), for 30 s, then 1 probe");
    const b::circuit_breaker both({.consecutive_failures = 5, .failure_rate = 0.5, .window = 10s});
    CHECK(co_await try_all(both, "SSSSSSFFFFFF") == "SSSSSSFFFFFR");
    const b::circuit_breaker usual;
    CHECK(co_await try_all(usual, "FFFFFF") == "FFFFFR");
    // A tiny rate is not none.
    const b::circuit_breaker tiny(
        {.failure_rate = 1e-10, .slow_call_rate = 1, .slow_call = 1s, .window_calls = 5, .minimum_calls = 1});
    CHECK(co_await try_all(tiny, "SSSS") == "SSSS");
    co_await tiny([]() -> b::task<> { co_await b::sleep_for(2s); });
    CHECK(tiny.state() == breaker_state::closed);
    CHECK(co_await try_all(tiny, "FS") == "FR");
  }());
}

TEST_CASE(
    "circuit_breaker: a probe that hangs longer than probe_limit keeps nobody out, and counts as nothing") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1, .open_for = 10s, .probe_limit = 30s});
    static_cast<void>(co_await try_all(breaker, "F"));
    co_await b::sleep_for(10s);
    b::event never;
    b::event late;
    int running = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, std::cref(breaker), std::ref(never), std::ref(running));
      co_await b::sleep_for(30s - 1ns);
      CHECK(co_await try_one(breaker, good) == 'R');
      co_await b::sleep_for(1ns);
      g.spawn(fail_late, std::cref(breaker), std::ref(late));
      co_await b::yield();
      CHECK(co_await try_one(breaker, good) == 'R');  // that one is young
      never.set();
      co_await b::sleep_for(1ms);
      CHECK(breaker.state() == breaker_state::half_open);  // the success of the lost probe decides nothing
      CHECK(breaker.statistics().stale == 1);
      late.set();
      co_await b::sleep_for(1ms);
      CHECK(breaker.state() == breaker_state::open);
    });
    CHECK_THROWS_AS(b::circuit_breaker({.probe_limit = 0s}), b::misuse_error);
  }());
  CHECK(loop.nothing_left());
}

TEST_CASE("circuit_breaker: half_open() by hand does not wait for probes that are still out") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    changes told;
    const b::circuit_breaker breaker(
        {.consecutive_failures = 1, .open_for = 10s, .listener = told.listener()});
    static_cast<void>(co_await try_all(breaker, "F"));
    co_await b::sleep_for(10s);
    b::event never;
    int running = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(hold, std::cref(breaker), std::ref(never), std::ref(running));
      co_await b::sleep_for(24h);
      breaker.half_open();
      CHECK(co_await try_one(breaker, good) == 'S');
      never.set();
    });
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(told.states == trail{"open", "half open", "closed"});
  }());
}

TEST_CASE("circuit_breaker: a pass that is told of no failure refuses that, and can still be told") {
  t::test_loop loop;
  loop.run([]() -> b::task<> {
    const b::circuit_breaker breaker({.consecutive_failures = 1});
    b::circuit_breaker::pass pass = breaker.try_admit();
    CHECK_THROWS_AS(pass.failed(b::failure()), b::misuse_error);
    CHECK(pass);
    b::failure down = b::failure::of(std::make_exception_ptr(outage("down")));
    down.observe();
    pass.failed(down);
    CHECK(breaker.state() == breaker_state::open);
    co_return;
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("call_window: a length that is no multiple of ten is no shorter than asked") {
  b::detail::call_window window(0, b::duration(19));
  window.add(true, false, b::time_point(b::duration(1000)));
  CHECK(window.counts(b::time_point(b::duration(1017))).calls == 1);
  CHECK(window.counts(b::time_point(b::duration(1020))).calls == 0);
}

TEST_CASE("circuit_breaker: options that would mean nothing are refused") {
  CHECK_THROWS_WITH_AS(b::circuit_breaker({.slow_call = 1s}),
                       "circuit breaker: slow_call is 1 s; it must be given together with slow_call_rate",
                       b::misuse_error);
  CHECK_THROWS_AS(b::circuit_breaker({.window = 10s}), b::misuse_error);
  CHECK_THROWS_AS(b::circuit_breaker({.window_calls = 10}), b::misuse_error);
  CHECK_THROWS_AS(b::circuit_breaker({.minimum_calls = 3}), b::misuse_error);
}

TEST_CASE("circuit_breaker: options out of range are refused by name, value and range") {
  const auto refused = [](b::circuit_breaker_options options) -> std::string {
    options.name = "q";
    try {
      const b::circuit_breaker made(options);
    } catch (const b::misuse_error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(refused({.failure_rate = 1.5}) ==
        "circuit breaker 'q': failure_rate is 1.5; it must be from 0 (off) to 1");
  CHECK(refused({.failure_rate = std::nan("")}) != "");
  CHECK(refused({.slow_call_rate = -0.1}) != "");
  CHECK(refused({.slow_call_rate = 0.5}) != "");
  CHECK(refused({.slow_call = 0s}) != "");
  CHECK(refused({.consecutive_failures = 0}) != "");
  CHECK(refused({.failure_rate = 0.5, .window_calls = 5, .minimum_calls = 6}) != "");
  CHECK(refused({.failure_rate = 0.5, .window_calls = 0}) != "");
  CHECK(refused({.failure_rate = 0.5, .window = -1s}) != "");
  CHECK(refused({.minimum_calls = 0}) != "");
  CHECK(refused({.open_for = 0s}) != "");
  CHECK(refused({.open_growth = 0.5}) != "");
  CHECK(refused({.longest_open = -1s}) != "");
  CHECK(refused({.probes = 0}) != "");
  CHECK(refused({.probes = static_cast<std::size_t>(-1)}) != "");
  CHECK(refused({.probes = 2, .probes_to_close = 3}) != "");
}
