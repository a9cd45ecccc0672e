// SPDX-License-Identifier: Apache-2.0
// Guards: once, whatever way an error goes; never for a cancellation; observers that fail.

#include <belay/core/single_flight.hpp>
#include <belay/errors/error_router.hpp>
#include <belay/errors/guard.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <optional>

#include "support.hpp"

using namespace errors_tests;

namespace {

struct fixture {
  b::testing::test_loop loop;
  counting seen;
  b::guard layer{seen, {.operation = "layer"}};

  // Runs it to its end; the error is looked at.
  std::string end_of(b::task<int> op) {
    const auto run = [](b::task<int> inner) -> b::task<std::string> {
      b::outcome<int> how = co_await b::as_outcome(std::move(inner));
      co_return how.failed() ? how.failure().message() : "value " + std::to_string(how.value());
    };
    return loop.run(run(std::move(op)));
  }
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "guard: five layers with a guard each: one record, one alert, the same object") {
  CHECK(end_of(layer(layer(layer(layer(layer(fails_with(broken("x")))))))) == "x");
  CHECK(seen.records.size() == 1);
  CHECK(seen.alerts.size() == 1);
  CHECK(seen.passes == 5);
  CHECK(end_of(layer(gives(3))) == "value 3");
  CHECK(seen.passes == 5);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture,
    "guard: rethrown in a handler, and kept as a failure across an await, it is still the same error") {
  const auto rethrows = [&]() -> b::task<int> {
    try {
      co_return co_await layer(fails_with(broken("x")));
    } catch (const broken&) {
      throw;
    }
  };
  const auto keeps = [&]() -> b::task<int> {
    b::failure kept;
    try {
      co_return co_await layer(rethrows());
    } catch (const b::error&) {
      kept = b::current_failure();
    }
    co_await b::sleep_for(1s);
    kept.rethrow();
  };
  const auto spawns = [&]() -> b::task<int> {
    int out = 0;
    co_await b::with_group([&](b::group& g) -> b::task<> { out = co_await g.spawn(keeps); });
    co_return out;
  };
  CHECK(end_of(layer(spawns())) == "x");
  CHECK(seen.records.size() == 1);
  CHECK(seen.alerts.size() == 1);
}

TEST_CASE_FIXTURE(
    fixture, "guard: wrapped on the way with the old one as cause: not told again, unless it became worse") {
  const auto wraps = [&]() -> b::task<int> {
    try {
      co_return co_await layer(fails_with(network_error("down")));
    } catch (const network_error&) {
      throw b::error(b::error_kind::unavailable, "profile", "no profile");
    }
  };
  CHECK(end_of(layer(layer(wraps()))) == "no profile");
  CHECK(seen.records.size() == 1);
  CHECK(seen.alerts.size() == 1);
  CHECK(seen.importance[0] == b::severity::warning);

  const auto worsens = [&]() -> b::task<int> {
    try {
      co_return co_await layer(wraps());
    } catch (const b::error&) {
      throw broken("the program relied on it");
    }
  };
  CHECK(end_of(layer(layer(worsens()))) == "the program relied on it");
  CHECK(seen.records.size() == 3);  // once more as a warning, and as a bug
  CHECK(seen.importance[2] == b::severity::critical);
  CHECK(seen.alerts.size() == 3);
}

TEST_CASE_FIXTURE(fixture,
                  "guard: what is attached later is told by the guard outside, once; what was told is not") {
  const auto group = [&]() -> b::task<int> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto first = [&]() -> b::task<> {
        static_cast<void>(co_await layer(fails_with(broken("first"))));
      };
      const auto second = [&]() -> b::task<> {
        co_await b::yield();
        co_await b::fail(network_error("second"));
      };
      g.spawn(first);
      g.spawn(second);
      co_return;
    });
    co_return 0;
  };
  CHECK(end_of(layer(layer(group()))) == "first");
  REQUIRE(seen.records.size() == 2);
  CHECK_FALSE(contains(seen.records[0], "second"));
  CHECK(contains(seen.records[1], "second"));
  CHECK(seen.importance[1] == b::severity::warning);  // of what is new
}

TEST_CASE_FIXTURE(fixture,
                  "guard: an attached error that was told by its own guard does not hide the first one") {
  const auto group = [&]() -> b::task<int> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto first = []() -> b::task<> {
        co_await b::yield();
        co_await b::fail(broken("first"));
      };
      const auto second = [&]() -> b::task<> {
        static_cast<void>(co_await layer(fails_with(broken("second"))));
      };
      g.spawn(first);
      g.spawn(second);
      co_return;
    });
    co_return 0;
  };
  CHECK(end_of(layer(layer(group()))) == "first");
  CHECK(seen.records.size() == 2);
  CHECK(seen.alerts.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "guard: the severity follows from the kind, and decides on alerts") {
  CHECK(end_of(layer(fails_with(user_not_found("x")))) == "x");
  CHECK(seen.importance.back() == b::severity::expected);
  CHECK(seen.alerts.empty());
  CHECK(end_of(layer(fails_with(b::timeout_error("t")))) == "t");
  CHECK(seen.importance.back() == b::severity::warning);
  CHECK(seen.alerts.size() == 1);
  CHECK(end_of(layer(fails_with(std::runtime_error("r")))) == "r");
  CHECK(seen.importance.back() == b::severity::critical);
  CHECK(seen.alerts.size() == 2);
  CHECK(b::severity_of(b::classify(std::make_exception_ptr(std::out_of_range("at"))).kind) ==
        b::severity::expected);
  CHECK(end_of(layer(fails_with(std::out_of_range("at")))) ==
        "at");  // nobody made it an error of the program
  CHECK(seen.importance.back() == b::severity::critical);
  CHECK(end_of(layer(fails_with(std::bad_alloc()))) == "std::bad_alloc");
  CHECK(seen.importance.back() == b::severity::warning);
  seen.alerts.resize(2);
  seen.records.resize(3);
  const b::guard only_bugs(seen, {.alert_from = b::severity::critical});
  CHECK(end_of(only_bugs(fails_with(b::timeout_error("t")))) == "t");
  CHECK(seen.alerts.size() == 2);
  CHECK(seen.records.size() == 4);
}

TEST_CASE_FIXTURE(fixture, "guard: never for a cancellation [row 409]") {
  const auto slow = []() -> b::task<int> {
    co_await b::sleep_for(1h);
    co_return 1;
  };
  CHECK_FALSE(loop.run(b::move_on_after(1s, layer(slow()))).has_value());
  CHECK_FALSE(loop.run(b::move_on_after(1s, layer.or_value(slow(), 7))).has_value());
  CHECK_FALSE(loop.run(b::move_on_after(1s, layer.map(slow(), [](const b::failure&) { return broken("m"); })))
                  .has_value());
  CHECK(seen.passes == 0);
  CHECK(seen.records.empty());
  CHECK(seen.alerts.empty());
}

TEST_CASE_FIXTURE(fixture, "guard: map replaces the error, keeps it as the cause, and is one story with it") {
  const auto to_user = [](const b::failure&) { return user_not_found("there is no user 7"); };
  const auto run = [&]() -> b::task<int> {
    try {
      co_return co_await layer(layer.map(fails_with(network_error("down")), to_user));
    } catch (const user_not_found& e) {
      CHECK(e.cause().message() == "down");
      co_return 1;
    }
  };
  CHECK(loop.run(run()) == 1);
  CHECK(seen.records.size() == 1);
  CHECK(seen.alerts.size() == 1);

  // A foreign type has no cause: the old one is attached. The given failure passes on. What throws is a new error.
  const auto foreign = [&]() -> b::task<int> {
    try {
      co_return co_await layer(layer.map(fails_with(broken("b")), [](const b::failure&) { return 17; }));
    } catch (int) {
      CHECK(b::current_failure().attached()[0].message() == "b");
      co_return 2;
    }
  };
  CHECK(loop.run(foreign()) == 2);
  CHECK(seen.records.size() == 2);
  CHECK(seen.alerts.size() == 2);
  CHECK(end_of(layer(layer.map(fails_with(broken("same")), [](const b::failure& w) { return w; }))) ==
        "same");
  CHECK(seen.records.size() == 3);
  const auto as_pointer = [](const b::failure&) { return std::make_exception_ptr(broken("pointer")); };
  CHECK(end_of(layer(layer.map(fails_with(broken("same")), as_pointer))) == "pointer");
  CHECK(end_of(layer.map(fails_with(broken("same")), [](const b::failure&) { return b::failure(); })) ==
        "same");
  CHECK(seen.records.size() == 5);
  seen.records.resize(3);
  CHECK(end_of(layer(layer.map(fails_with(broken("old")), [](const b::failure&) -> broken {
          throw std::runtime_error("mapping failed");
        }))) == "mapping failed");
  CHECK(seen.records.size() == 5);
  CHECK(contains(seen.records.back(), "thrown while handling: old"));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(fixture,
                  "guard: or_value and or_nothing answer for what failed, but not for what is fatal") {
  CHECK(end_of(layer.or_value(fails_with(broken("x")), 7)) == "value 7");
  CHECK(end_of(layer.or_value(gives(3), 7)) == "value 3");
  CHECK(seen.records.size() == 1);
  CHECK(end_of(layer.or_value(fails_with(b::misuse_error("bug")), 7)) == "bug");
  CHECK(seen.records.size() == 2);
  const auto fails = []() -> b::task<> { co_await b::fail(broken("y")); };
  loop.run(layer.or_nothing(fails()));
  CHECK(seen.records.size() == 3);
  int value = 1;
  int other = 2;
  const auto refers = [&](bool bad) -> b::task<int&> {
    if (bad) throw broken("z");
    co_return value;
  };
  CHECK(&loop.run(layer.or_value(refers(true), other)) == &other);
  CHECK(&loop.run(layer(refers(false))) == &value);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(fixture, "guard: a handler of a router that fails is a new error: one record for each") {
  b::error_router<int> routes;
  routes.on<broken>([](const broken&) -> int { throw broken("the handler"); });
  CHECK(end_of(layer(layer(routes.handle(layer(layer(fails_with(broken("first")))))))) == "the handler");
  REQUIRE(seen.records.size() == 2);
  CHECK(contains(seen.records[1], "thrown while handling: first"));
  CHECK(seen.alerts.size() == 2);
}

TEST_CASE(
    "guard: an observer that throws changes nothing for the error, and is reported; the others are told") {
  b::testing::test_loop loop;
  struct bad_observer : b::error_observer {
    void record(const b::error_event&) override { throw std::runtime_error("no log"); }
    void alert(const b::error_event&) override { throw 1; }
    void passed(const b::error_event&) override { throw 2; }
  } bad;
  counting good;
  b::error_observers all;
  all.add(bad);
  all.add(good);
  CHECK_THROWS_AS(all.add(all), b::misuse_error);
  const b::guard layer(all);
  CHECK_THROWS_AS(loop.run(layer(layer(fails_with(broken("x"))))), broken);
  CHECK(good.records.size() == 1);
  CHECK(good.alerts.size() == 1);
  CHECK(good.passes == 2);
  CHECK(loop.lost_errors().size() == 4);  // passed twice, record, alert
}

TEST_CASE_FIXTURE(fixture,
                  "guard: the observer learns the operation, the context, the meaning and the place") {
  struct checking : b::error_observer {
    int told = 0;
    void record(const b::error_event& event) override {
      ++told;
      CHECK(event.operation == "load user");
      CHECK(event.context.find("request")->text() == "r1");
      CHECK(event.as.code == "dns");
      CHECK(event.where.line() > 0);
      CHECK_FALSE(b::recorded(b::failure()));
    }
  } observer;
  // A guard may be gone before its task runs.
  std::optional<b::guard> gone(std::in_place, observer,
                               b::guard_options{.operation = "load user", .context = {{"request", "r1"}}});
  b::task<int> op = (*gone)(fails_with(dns_error("x")));
  gone.reset();
  CHECK(end_of(std::move(op)) == "x");
  CHECK(observer.told == 1);
}

TEST_CASE_FIXTURE(
    fixture, "guard: an error that nobody handles goes to the sink, which can ask whether it was recorded") {
  std::vector<bool> known;
  b::testing::virtual_clock clock;
  b::loop own({.clock = &clock,
               .on_lost_failure = [&](const b::failure& what) { known.push_back(b::recorded(what)); }});
  own.run([&]() -> b::task<> {
    {
      auto unseen = co_await b::as_outcome(layer(fails_with(broken("x"))));
    }
    {
      auto unseen = co_await b::as_outcome(fails_with(broken("y")));
    }
  }());
  CHECK(known == std::vector<bool>{true, false});
}

TEST_CASE_FIXTURE(fixture, "guard: tell, for a failure in hand, marks it like the others") {
  const auto run = [&]() -> b::task<> {
    b::outcome<int> how = co_await b::as_outcome(fails_with(broken("x")));
    layer.tell(how.failure());
    layer.tell(how.failure());
    layer.tell(b::failure());
    CHECK(b::recorded(how.failure()));
  };
  loop.run(run());
  CHECK(seen.records.size() == 1);
  CHECK(seen.passes == 2);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture, "guard: what is attached and nobody looks at, is reported, with guards and routers as without") {
  const auto two = []() -> b::task<int> {
    b::failure what = b::failure::of(std::make_exception_ptr(network_error("first")));
    what.attach(b::failure::of(std::make_exception_ptr(network_error("second"))));
    co_await b::fail(std::move(what));
    co_return 1;
  };
  b::error_router<int> breaks;
  breaks.on<b::error>([](const b::error&) -> int { throw std::runtime_error("handler"); });
  b::error_router<int> passes;
  passes.on<b::error>([](const b::error&) -> int { throw; });
  const auto lost_by = [&](b::task<int> op) {
    const auto run = [](b::task<int> inner) -> b::task<> {
      try {
        static_cast<void>(co_await std::move(inner));
      } catch (const std::exception&) {
        co_return;  // only the error itself is looked at
      }
    };
    loop.run(run(std::move(op)));
    std::size_t lost = 0;
    for (const std::string& one : loop.lost_errors()) lost += contains(one, "second") ? 1 : 0;
    loop.forget_lost_errors();
    return lost;
  };
  CHECK(lost_by(two()) == 1);
  CHECK(lost_by(layer(two())) == 1);
  CHECK(lost_by(breaks.handle(two())) == 1);
  CHECK(lost_by(passes.handle(two())) == 1);
  CHECK(lost_by(layer.map(two(), [](const b::failure&) { return broken("mapped"); })) == 1);
  CHECK(lost_by(layer.or_value(two(), 1)) == 0);  // an answer to all of it
}

TEST_CASE_FIXTURE(fixture, "guard: cancelled, and its cleanup fails: told, and no default") {
  int went_on = 0;
  const auto program = [&](b::task<> (*body)(const b::guard&, int&)) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(body, std::cref(layer), std::ref(went_on));
      co_await b::sleep_for(1s);
      one.cancel();
    });
  };
  const auto with_value = [](const b::guard& by, int& counts) -> b::task<> {
    static_cast<void>(co_await by.or_value(failing_cleanup<int>(), 42));
    ++counts;
  };
  const auto with_nothing = [](const b::guard& by, int& counts) -> b::task<> {
    co_await by.or_nothing(failing_cleanup<void>());
    ++counts;
  };
  CHECK_THROWS_WITH_AS(loop.run(program(with_value)), "rollback", network_error);
  CHECK_THROWS_WITH_AS(loop.run(program(with_nothing)), "rollback", network_error);
  CHECK(went_on == 0);
  CHECK(seen.records.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "guard: all who wait for one call that fails: it is told once") {
  b::single_flight<int, int> shared([](const int&) -> b::task<int> {
    co_await b::sleep_for(1s);
    throw broken("the load");
  });
  const auto one = [&]() -> b::task<> {
    const auto call = [](auto& in) -> b::task<int> { co_return co_await in.call(1); };
    const b::outcome<int> how = co_await b::as_outcome(layer(call(shared)));
    CHECK(b::recorded(how.failure()));
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 10; ++i) g.spawn(one);
    co_return;
  }));
  CHECK(seen.records.size() == 1);
  CHECK(seen.alerts.size() == 1);
  CHECK(seen.passes == 10);
  CHECK(loop.lost_errors().empty());
}
