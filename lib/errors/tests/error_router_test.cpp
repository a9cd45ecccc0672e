// SPDX-License-Identifier: Apache-2.0
// Routing: sync and async handlers, composition, handlers that fail, cancellation.

#include <belay/core/failure.hpp>
#include <belay/errors/error_router.hpp>
#include <doctest/doctest.h>

#include <functional>
#include <memory>

#include "support.hpp"

using namespace errors_tests;
using router = b::error_router<std::string>;

namespace {

template <class E>
b::task<std::string> raises(E what) {
  co_await b::yield();
  throw what;
}
b::task<std::string> answers() { co_return "value"; }

struct fixture {
  b::testing::test_loop loop;
  std::string ask(const router& with, b::task<std::string> op) {
    return loop.run(with.handle(std::move(op)));
  }
};

}  // namespace

TEST_CASE_FIXTURE(fixture,
                  "router: a value passes; handlers are sync or async, and take as much as they want") {
  router r;
  r.on<network_error>([](const network_error& e) { return "network " + std::string(e.what()); });
  r.on<dns_error>([](const dns_error& e, const b::failure& what) -> b::task<std::string> {
    co_await b::sleep_for(1s);
    co_return "dns " + std::string(e.code()) + (what.trace().empty() ? "" : " with a trace");
  });
  r.on_code("broken", [](const b::failure& leaf) { return "code " + leaf.message(); });
  r.on_kind(b::error_kind::not_found, []() -> b::task<std::string> { co_return "kind"; });
  r.otherwise([] { return "default"; });
  CHECK(ask(r, answers()) == "value");
  CHECK(ask(r, raises(network_error("down"))) == "network down");
  CHECK(ask(r, raises(dns_error("x"))) == "dns dns with a trace");
  CHECK(ask(r, raises(broken("x"))) == "code x");
  CHECK(ask(r, raises(user_not_found("x"))) == "kind");
  CHECK(ask(r, raises(std::runtime_error("x"))) == "default");
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(fixture,
                  "router: exceptions that do not derive from std::exception go to the catch-all [row 414]") {
  router r;
  r.on<std::exception>([] { return "std"; });
  r.otherwise([](const b::failure& what) { return what.type_name(); });
  CHECK(ask(r, raises(17)) == "int");
  r.on<int>([](int number) { return std::to_string(number); });
  CHECK(ask(r, raises(17)) == "17");
}

TEST_CASE_FIXTURE(fixture, "router: no handler: the very same object comes out [row 406]") {
  router r;
  r.on<network_error>([] { return "network"; });
  const void* thrown = nullptr;
  const void* caught = nullptr;
  const auto op = [&]() -> b::task<std::string> {
    co_await b::yield();
    try {
      throw broken("x");
    } catch (const broken& e) {
      thrown = &e;
      throw;
    }
  };
  const auto outside = [&]() -> b::task<std::string> {
    try {
      co_return co_await r.handle(op());
    } catch (const broken& e) {
      caught = &e;
      co_return "outside";
    }
  };
  CHECK(loop.run(outside()) == "outside");
  CHECK(thrown == caught);
  CHECK(thrown != nullptr);
}

TEST_CASE_FIXTURE(fixture, "router: inner handlers first, then those of the router outside [row 413]") {
  router app;
  app.on<user_not_found>([] { return "app: user"; });
  app.on<network_error>([] { return "app: network"; });
  app.otherwise([] { return "app: default"; });
  router sub;
  sub.on<network_error>([] { return "sub: network"; });
  router route;
  route.on<dns_error>([] { return "route: dns"; });
  route.falls_back_to(sub);
  sub.falls_back_to(app);
  CHECK(ask(route, raises(dns_error("x"))) == "route: dns");
  CHECK(ask(route, raises(network_error("x"))) == "sub: network");
  CHECK(ask(sub, raises(dns_error("x"))) == "sub: network");
  CHECK(ask(route, raises(user_not_found("x"))) == "app: user");
  CHECK(ask(route, raises(broken("x"))) == "app: default");
  // The same by putting one around the other.
  router inner;
  inner.on<dns_error>([] { return "inner: dns"; });
  CHECK(ask(app, inner.handle(raises(dns_error("x")))) == "inner: dns");
  CHECK(ask(app, inner.handle(raises(user_not_found("x")))) == "app: user");
  CHECK_THROWS_AS(app.falls_back_to(route), b::misuse_error);
  CHECK_THROWS_AS(route.falls_back_to(route), b::misuse_error);
  CHECK(ask(route, raises(broken("x"))) == "app: default");
}

TEST_CASE_FIXTURE(fixture, "router: two routers know nothing of each other [row 412]") {
  router one;
  one.on<network_error>([] { return "one"; });
  const router two;
  CHECK(ask(one, raises(network_error("x"))) == "one");
  CHECK_THROWS_AS(ask(two, raises(network_error("x"))), network_error);
}

TEST_CASE_FIXTURE(
    fixture,
    "router: a handler that fails: its error goes outside, once, with what it handled as cause [row 407]") {
  int calls = 0;
  router r;
  r.on<b::error>([&](const b::error&) -> std::string {
    ++calls;
    throw broken("the handler");
  });
  const auto outside = [&]() -> b::task<> {
    try {
      static_cast<void>(co_await r.handle(raises(network_error("the first"))));
      FAIL("it throws");
    } catch (const broken& e) {
      const b::failure what = b::current_failure();
      CHECK(std::string(e.what()) == "the handler");
      CHECK(what.cause().message() == "the first");
      CHECK(what.attached().empty());  // in one place only
      CHECK(contains(b::describe(what), "thrown while handling: the first"));
    }
  };
  loop.run(outside());
  CHECK(calls == 1);  // broken is a b::error too: not routed to the same handler
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture,
    "router: an async handler that fails, or one with a foreign exception: what it handled is attached [row 407]") {
  int outer_calls = 0;
  router app;
  app.on<std::runtime_error>([&](const std::runtime_error& e, const b::failure& what) {
    ++outer_calls;
    return std::string("app: ") + e.what() + " / " + what.attached()[0].message();
  });
  router r;
  r.falls_back_to(app);
  r.on<network_error>([](const network_error&) -> b::task<std::string> {
    co_await b::yield();
    throw std::runtime_error("async handler");
  });
  r.on<std::logic_error>([](const std::logic_error&) -> std::string { throw std::runtime_error("handler"); });
  CHECK(ask(r, raises(network_error("first"))) == "app: async handler / first");
  CHECK(ask(r, raises(std::logic_error("second"))) == "app: handler / second");
  CHECK(outer_calls == 2);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(fixture, "router: a handler may let the error pass to the router outside, sync and async") {
  router app;
  app.otherwise([](const b::failure& what) { return "app: " + what.message(); });
  router r;
  r.falls_back_to(app);
  r.on<network_error>([](const network_error&) -> std::string { throw; });
  r.on<broken>([](const broken&, b::failure what) -> b::task<std::string> {
    co_await b::yield();
    what.rethrow();
  });
  CHECK(ask(r, raises(network_error("x"))) == "app: x");
  CHECK(ask(r, raises(broken("y"))) == "app: y");
  router alone;
  alone.on<network_error>([](const network_error&) -> std::string { throw; });
  CHECK_THROWS_AS(ask(alone, raises(network_error("z"))), network_error);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture,
    "router: an error attached to an unknown one decides; what the handler does not look at is reported") {
  router r;
  r.on<network_error>([](const network_error& e) { return std::string(e.what()); });
  const auto both = []() -> b::task<std::string> {
    b::failure first = b::failure::of(std::make_exception_ptr(std::runtime_error("unknown")));
    first.attach(b::failure::of(std::make_exception_ptr(network_error("known"))));
    co_await b::fail(first);
    co_return "none";
  };
  CHECK(ask(r, both()) == "known");
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(contains(loop.lost_errors()[0], "unknown"));
  loop.forget_lost_errors();
  r.on<network_error>([](const network_error&, const b::failure& what) { return b::describe(what); });
  CHECK(contains(ask(r, both()), "unknown"));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture,
    "router: an attached error that its handler lets pass: the first one goes on, and has to be looked at again") {
  router r;
  r.on<network_error>([](const network_error&, const b::failure& what) -> std::string {
    static_cast<void>(b::describe(what));
    throw;
  });
  const auto both = []() -> b::task<std::string> {
    b::failure first = b::failure::of(std::make_exception_ptr(broken("unknown")));
    first.attach(b::failure::of(std::make_exception_ptr(network_error("known"))));
    co_await b::fail(first);
    co_return "none";
  };
  const auto looks = [&]() -> b::task<> {
    b::outcome<std::string> how = co_await b::as_outcome(r.handle(both()));
    CHECK(how.failure().message() == "unknown");
    CHECK(how.failure().notes().empty());
    CHECK(how.failure().attached().size() == 1);
  };
  loop.run(looks());
  CHECK(loop.lost_errors().empty());
  const auto looks_away = [&]() -> b::task<> { auto how = co_await b::as_outcome(r.handle(both())); };
  loop.run(looks_away());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(contains(loop.lost_errors()[0], "unknown"));
}

TEST_CASE_FIXTURE(fixture, "router: a cancellation is not routed [row 409]") {
  int calls = 0;
  router r;
  r.otherwise([&] {
    ++calls;
    return "handled";
  });
  const auto slow = []() -> b::task<std::string> {
    co_await b::sleep_for(1h);
    co_return "late";
  };
  const auto out = loop.run(b::move_on_after(1s, r.handle(slow())));
  CHECK_FALSE(out.has_value());
  CHECK(calls == 0);
  // The limit inside is an ordinary error.
  CHECK(ask(r, b::with_timeout(1s, slow())) == "handled");
  CHECK(calls == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "router: cancelled during a handler: it is unwound, and no second one is asked [row 410]") {
  int calls = 0;
  bool cleaned = false;
  router app;
  app.otherwise([&] {
    ++calls;
    return "app";
  });
  router r;
  r.falls_back_to(app);
  struct leaves {
    bool& flag;
    ~leaves() { flag = true; }
  };
  r.on<network_error>([&](const network_error&) -> b::task<std::string> {
    const leaves at_end{cleaned};
    co_await b::sleep_for(1h);
    co_return "late";
  });
  const auto out = loop.run(b::move_on_after(1s, app.handle(r.handle(raises(network_error("x"))))));
  CHECK_FALSE(out.has_value());
  CHECK(cleaned);
  CHECK(calls == 0);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE_FIXTURE(
    fixture,
    "router: unknown errors: the default reports once and gives a value; what is fatal passes by [row 415]") {
  std::vector<std::string> reports;
  router r;
  r.otherwise([&](const b::failure& what) {
    reports.push_back(b::describe(what));
    return "system error";
  });
  CHECK(ask(r, raises(std::runtime_error("odd"))) == "system error");
  CHECK(reports.size() == 1);
  CHECK_THROWS_AS(ask(r, raises(std::bad_alloc())), std::bad_alloc);
  CHECK_THROWS_AS(ask(r, raises(b::misuse_error("bug"))), b::misuse_error);
  CHECK(reports.size() == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "router: context goes to the handlers, by reference and by value; nothing, references and move-only results") {
  b::testing::test_loop loop;
  struct request {
    std::string path;
    int handled = 0;
  };
  b::error_router<std::string, request&, int> r;
  r.on<broken>([](const broken&, const b::failure&, request& of, int status) {
    ++of.handled;
    return of.path + " " + std::to_string(status);
  });
  r.on<network_error>([](const network_error&, request& of, int) -> b::task<std::string> {
    ++of.handled;
    co_return of.path;
  });
  request asked{"/users"};
  CHECK(loop.run(r.handle(raises(broken("x")), asked, 500)) == "/users 500");
  CHECK(loop.run(r.handle(raises(network_error("x")), asked, 500)) == "/users");
  CHECK(asked.handled == 2);

  b::error_router<> nothing;
  int ended = 0;
  nothing.on<broken>([&] { ++ended; });
  nothing.on<network_error>([&]() -> b::task<> {
    ++ended;
    co_return;
  });
  loop.run(nothing.handle([]() -> b::task<> { co_await b::fail(broken("x")); }()));
  loop.run(nothing.handle([]() -> b::task<> { co_await b::fail(network_error("x")); }()));
  CHECK(ended == 2);

  b::error_router<std::unique_ptr<int>> moved;
  moved.otherwise([] { return std::make_unique<int>(3); });
  CHECK(*loop.run(moved.handle([]() -> b::task<std::unique_ptr<int>> {
    throw 1;
    co_return nullptr;
  }())) == 3);

  int value = 5;
  b::error_router<int&> referring;
  referring.otherwise([&]() -> int& { return value; });
  CHECK(&loop.run(referring.handle([]() -> b::task<int&> {
    throw 1;
    static int never = 0;
    co_return never;
  }())) == &value);
}

TEST_CASE_FIXTURE(fixture, "router: route takes a failure in hand; none is a misuse") {
  router r;
  r.on<broken>([] { return "broken"; });
  const auto run = [&]() -> b::task<std::string> {
    b::outcome<std::string> how = co_await b::as_outcome(raises(broken("x")));
    co_return co_await r.route(how.failure());
  };
  CHECK(loop.run(run()) == "broken");
  CHECK_THROWS_AS(loop.run(r.route(b::failure())), b::misuse_error);
}

TEST_CASE_FIXTURE(fixture, "router: many tasks use one at the same time") {
  router r;
  r.on<network_error>([](const network_error& e) -> b::task<std::string> {
    co_await b::sleep_for(1s);
    co_return e.what();
  });
  loop.run([&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      for (int i = 0; i != 100; ++i) {
        const auto one = [&r](int number) -> b::task<> {
          const std::string got = co_await r.handle(raises(network_error(std::to_string(number))));
          CHECK(got == std::to_string(number));
        };
        g.spawn(one, i);
      }
      co_return;
    });
  }());
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE_FIXTURE(fixture,
                  "router: a status that cannot be read is reported, and the error is routed without one") {
  router r;
  r.status_of<b::error>([](const b::error&) -> int { throw std::runtime_error("no status"); });
  r.on_status(404, [] { return "404"; });
  r.on<network_error>([] { return "network"; });
  CHECK(ask(r, raises(network_error("down"))) == "network");
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(contains(loop.lost_errors()[0], "no status"));
  loop.forget_lost_errors();
}

TEST_CASE_FIXTURE(fixture, "router: no way leads back to itself, by assignment neither") {
  router a;
  router outer;
  a.otherwise([] { return "a"; });
  outer.otherwise([] { return "outer"; });
  a.falls_back_to(outer);
  CHECK_THROWS_AS(outer = std::move(a), b::misuse_error);
  CHECK_THROWS_AS(outer.falls_back_to(a), b::misuse_error);
  CHECK(ask(outer, raises(broken("x"))) == "outer");
  CHECK(ask(a, raises(broken("x"))) == "a");  // refused, it is as it was
  router other;
  other = std::move(a);
  CHECK(ask(other, raises(broken("x"))) == "a");
  router made(std::move(other));
  CHECK(ask(made, raises(broken("x"))) == "a");
}

TEST_CASE_FIXTURE(fixture, "router: an empty handler is refused when it is given") {
  router r;
  const std::function<std::string()> none;
  std::string (*no_function)() = nullptr;
  CHECK_THROWS_AS(r.otherwise(none), b::misuse_error);
  CHECK_THROWS_AS(r.on<broken>(no_function), b::misuse_error);
  CHECK_THROWS_AS(r.on_kind(b::error_kind::internal, none), b::misuse_error);
  CHECK_THROWS_AS(ask(r, raises(broken("x"))), broken);
}

TEST_CASE_FIXTURE(fixture, "router: cancelled, and its cleanup fails: no handler runs, the error goes on") {
  int handled = 0;
  bool went_on = false;
  router r;
  r.otherwise([&handled] {
    ++handled;
    return "handled";
  });
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn([&]() -> b::task<> {
        static_cast<void>(co_await r.handle(failing_cleanup<std::string>()));
        went_on = true;
      });
      co_await b::sleep_for(1s);
      one.cancel();
    });
  };
  CHECK_THROWS_WITH_AS(loop.run(program()), "rollback", network_error);
  CHECK(handled == 0);
  CHECK_FALSE(went_on);
  CHECK(loop.lost_errors().empty());
}
