// SPDX-License-Identifier: Apache-2.0
// Single flight: one call for all who want the same; it is given up by the last of them only.

#include <belay/core/finally.hpp>
#include <belay/core/single_flight.hpp>
#include <memory>

#include "driven.hpp"

using namespace core_tests;

namespace {

struct source {
  int calls = 0;
  int live = 0;
  int cleaned = 0;
  bool fail = false;
};

b::task<std::string> loads(source& from, int key) {
  const counted here(from.live);
  const int call = ++from.calls;
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(2s); },
                      [&from]() -> b::task<> {
                        co_await b::sleep_for(500ms);
                        ++from.cleaned;
                      });
  if (from.fail) throw boom("no " + std::to_string(key));
  co_return std::to_string(key) + "/" + std::to_string(call);
}

using flights = b::single_flight<int, std::string>;

flights over(source& from) {
  return flights([&from](const int& key) -> b::task<std::string> { co_return co_await loads(from, key); },
                 "flights");
}

b::task<> wants(flights& in, int key, trail& out) { out.push_back(co_await in.call(key)); }

}  // namespace

TEST_CASE("single_flight: callers of one key share a call; another key has its own; nothing is cached") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    g.spawn(wants, std::ref(all), 2, std::ref(out));
    co_await b::sleep_for(1s);
    CHECK(all.size() == 2);
    co_await wants(all, 1, out);
    CHECK(all.size() == 0);
    co_await wants(all, 1, out);
  }));
  std::sort(out.begin(), out.end());
  CHECK(out == trail{"1/1", "1/1", "1/1", "1/3", "2/2"});
  CHECK(from.calls == 3);
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("single_flight: the first caller is cancelled, the call goes on for the others") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::yield();
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(1s);
    first.cancel();
    co_await b::yield();
    CHECK(first.done());
    CHECK(from.live == 1);
  }));
  CHECK(out == trail{"1/1"});
  CHECK(from.calls == 1);
}

TEST_CASE("single_flight: the last caller who leaves cancels the call, and waits for its cleanup") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(wants, std::ref(all), 1, std::ref(out));
    b::child<void> second = g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(1s);
    first.cancel();
    second.cancel();
    CHECK(all.size() == 0);
    co_await b::sleep_for(100ms);
    CHECK(first.done());
    CHECK(!second.done());
    CHECK(from.live == 1);
    co_await b::sleep_for(500ms);
    CHECK(second.done());
    CHECK(from.live == 0);
    CHECK(from.cleaned == 1);
  }));
  CHECK(out.empty());
}

TEST_CASE("single_flight: a caller who comes while a call that was given up cleans up starts a new one") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(1s);
    first.cancel();
    co_await wants(all, 1, out);
  }));
  CHECK(out == trail{"1/2"});
  CHECK(from.cleaned == 2);
}

TEST_CASE("single_flight: given up before it has begun, it does not run") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> first = g.spawn(wants, std::ref(all), 1, std::ref(out));
    g.spawn(
        [](b::child<void>& other) -> b::task<> {
          other.cancel();
          co_return;
        },
        std::ref(first));
    co_await b::sleep_for(100ms);
    CHECK(first.done());
  }));
  CHECK(from.calls == 0);
  CHECK(all.size() == 0);
}

TEST_CASE("single_flight: each caller has his own deadline, the call has none of them") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto hurried = [](flights& in, trail& to) -> b::task<> {
      CHECK(!co_await b::move_on_after(1s, wants(in, 1, to)));
    };
    g.spawn(hurried, std::ref(all), std::ref(out));
    co_await b::yield();
    co_await wants(all, 1, out);
  }));
  CHECK(out == trail{"1/1"});
  CHECK(loop.elapsed() == 2500ms);
}

TEST_CASE("single_flight: an error goes to all who wait, and is not kept") {
  b::testing::test_loop loop;
  source from;
  from.fail = true;
  flights all = over(from);
  int failed = 0;
  auto tries = [](flights& in, int& count) -> b::task<> {
    trail unused;
    try {
      co_await wants(in, 1, unused);
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "no 1");
      ++count;
    }
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(tries, std::ref(all), std::ref(failed));
    g.spawn(tries, std::ref(all), std::ref(failed));
    co_await tries(all, failed);
    from.fail = false;
    CHECK(co_await all.call(1) == "1/2");
  }));
  CHECK(failed == 3);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("single_flight: cancelled in the turn in which the call ends: its result is delivered") {
  b::testing::test_loop loop;
  b::event done;
  b::single_flight<int, int> all([&done](const int& key) -> b::task<int> {
    co_await done.wait();
    co_return key;
  });
  int got = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> caller = g.spawn([](auto& in, int& to) -> b::task<> { to = co_await in.call(3); },
                                    std::ref(all), std::ref(got));
    co_await b::sleep_for(1s);
    done.set();
    caller.cancel();  // the call is ready to end: it ends with its value
  }));
  CHECK(got == 3);
}

TEST_CASE("single_flight: values may be void, shared or references; an empty function is a misuse_error") {
  b::testing::test_loop loop;
  int calls = 0;
  b::single_flight<std::string, void> nothing([&calls](const std::string&) -> b::task<> {
    ++calls;
    co_await b::yield();
  });
  b::single_flight<int, std::shared_ptr<int>> shared(
      [](const int& key) -> b::task<std::shared_ptr<int>> { co_return std::make_shared<int>(key); });
  b::single_flight<int, int&> there([&calls](const int&) -> b::task<int&> { co_return calls; });
  loop.run([](auto& x, auto& y, auto& z, int& n) -> b::task<> {
    co_await x.call("key");
    CHECK(*co_await y.call(4) == 4);
    CHECK(&co_await z.call(1) == &n);
  }(nothing, shared, there, calls));
  CHECK(calls == 1);
  CHECK_THROWS_AS((b::single_flight<int, int>(b::task_function<b::task<int>(const int&)>())),
                  b::misuse_error);
}

TEST_CASE("single_flight: a call that waits for itself is a misuse_error") {
  b::testing::test_loop loop;
  b::single_flight<int, int>* self = nullptr;
  b::single_flight<int, int> all(
      [&self](const int& key) -> b::task<int> {
        if (key == 0) co_return 1;
        auto inner = [](b::single_flight<int, int>& in, int k) -> b::task<int> {
          co_return co_await in.call(k);
        };
        co_return co_await b::with_timeout(1s, inner(*self, key == 1 ? 1 : 0));
      },
      "self");
  self = &all;
  loop.run([](auto& in) -> b::task<> {
    CHECK(co_await in.call(2) == 1);
    try {
      static_cast<void>(co_await in.call(1));
      FAIL("no error");
    } catch (const b::misuse_error& e) {
      CHECK(std::string(e.what()).find("single_flight 'self'") != std::string::npos);
    }
  }(all));
}

TEST_CASE("single_flight: a main task that is cancelled from outside ends its calls") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(out.empty());
  CHECK(from.live == 0);
  CHECK(from.cleaned == 1);
  CHECK(loop.nothing_left());
}

TEST_CASE("everywhere: single_flight") {
  struct world {
    source from;
    flights all = over(from);
    int got = 0;
    bool finished = false;
  };
  drive("single_flight", [](t::stage& s) -> b::task<> {
    auto& w = s.make<world>();
    s.expect("no call is left", [&w] { return w.all.size() == 0 && w.from.live == 0; });
    s.expect("undisturbed, all get it from one call",
             [&w] { return !w.finished || (w.got == 3 && w.from.calls == 1); });
    s.afterwards([&w]() -> b::task<> { static_cast<void>(co_await w.all.call(1)); });
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto caller = [](world& in) -> b::task<> {
        if (co_await in.all.call(1) == "1/1") ++in.got;
      };
      g.spawn(caller, std::ref(w));
      g.spawn(
          [](world& in) -> b::task<> {
            auto call = [](world& to) -> b::task<> { static_cast<void>(co_await to.all.call(1)); };
            static_cast<void>(co_await b::move_on_after(1s, call(in)));
          },
          std::ref(w));
      co_await b::yield();
      g.spawn(caller, std::ref(w));
      co_await caller(w);
    });
    w.finished = true;
  });
}

TEST_CASE("single_flight: each of those who wait gets the error with a record of his own") {
  b::testing::test_loop loop;
  b::single_flight<int, int> all([](const int&) -> b::task<int> {
    co_await b::sleep_for(1s);
    b::failure what = b::failure::of(std::make_exception_ptr(boom("the load")));
    what.attach(b::failure::of(std::make_exception_ptr(boom("beside it"))));
    what.note("of the load");
    co_await b::fail(std::move(what));
    co_return 1;
  });
  std::vector<b::failure> got;
  const auto caller = [&](int number) -> b::task<> {
    const auto call = [](auto& in) -> b::task<int> { co_return co_await in.call(1); };
    const b::outcome<int> how = co_await b::as_outcome(call(all));
    b::failure mine = how.failure();
    CHECK(mine.attached().size() == 1);
    mine.note("caller " + std::to_string(number));
    got.push_back(mine);
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 3; ++i) g.spawn(caller, i);
    co_return;
  }));
  REQUIRE(got.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(got[i].exception() == got[0].exception());
    REQUIRE(got[i].notes().size() == 2);
    CHECK(got[i].notes()[0] == "of the load");
    CHECK(got[i].notes()[1] == "caller " + std::to_string(i));
    CHECK(got[i].trace().size() == got[0].trace().size());
  }
  CHECK(!(got[0] == got[1]));
  CHECK(!(got[1] == got[2]));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("single_flight: an error that only one of two callers looks at, is reported for the other") {
  b::testing::test_loop loop;
  b::single_flight<int, int> all([](const int&) -> b::task<int> {
    co_await b::sleep_for(1s);
    throw boom("the load");
  });
  const auto caller = [&](bool looks) -> b::task<> {
    const auto call = [](auto& in) -> b::task<int> { co_return co_await in.call(1); };
    const b::outcome<int> how = co_await b::as_outcome(call(all));
    if (looks) CHECK(how.failure().message() == "the load");
  };
  for (const bool first : {true, false}) {
    loop.run(b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(caller, first);
      g.spawn(caller, !first);
      co_return;
    }));
  }
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
}

TEST_CASE(
    "single_flight: calls that would wait for each other are a misuse_error, through other objects too") {
  b::testing::test_loop loop;
  using texts = b::single_flight<std::string, int>;
  using numbers = b::single_flight<int, int>;
  texts* second = nullptr;
  bool tangled = true;
  numbers first(
      [&](const int& key) -> b::task<int> {
        co_await b::sleep_for(1s);
        if (!tangled) co_return key;
        // In a task of its own, and within a limit.
        const auto inner = [](texts& in) -> b::task<int> { co_return co_await in.call("a"); };
        co_return co_await b::with_timeout(1h, inner(*second));
      },
      "first");
  texts other(
      [&](const std::string&) -> b::task<int> {
        co_await b::sleep_for(2s);
        int sum = 0;
        co_await b::with_group([&](b::group& g) -> b::task<> {
          const auto inner = [&sum](numbers& in) -> b::task<> { sum += co_await in.call(7); };
          g.spawn(inner, std::ref(first));
          co_return;
        });
        co_return sum;
      },
      "other");
  second = &other;
  const auto calls = [](numbers& in) -> b::task<int> { co_return co_await in.call(7); };
  const auto program = [&]() -> b::task<> {
    try {
      static_cast<void>(co_await calls(first));
      FAIL("no error");
    } catch (const b::misuse_error& e) {
      CHECK(std::string(e.what()).find(
                "single_flight 'first': the call for this key waits for the one that asks") !=
            std::string::npos);
    }
    CHECK(loop.elapsed() == 3s);
    tangled = false;
    CHECK(co_await calls(first) == 7);
    CHECK(co_await other.call("a") == 7);
    // Two that go the same way, and one that is asked from inside of another: no circle.
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto both = [&]() -> b::task<> { CHECK(co_await other.call("b") == 7); };
      g.spawn(both);
      g.spawn(both);
      CHECK(co_await first.call(7) == 7);
    });
  };
  loop.run(program());
  CHECK(first.size() == 0);
  CHECK(other.size() == 0);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("single_flight: of two calls that wait for each other, one that is left is no reason to refuse") {
  b::testing::test_loop loop;
  using numbers = b::single_flight<int, int>;
  numbers* self = nullptr;
  trail out;
  numbers all([&](const int& key) -> b::task<int> {
    const auto inner = [](numbers& in, int other) -> b::task<int> { co_return co_await in.call(other); };
    if (key == 0) {
      // Waits for 1 for a second, and then goes its own way.
      const auto got = co_await b::move_on_after(1s, inner(*self, 1));
      CHECK(!got);
      co_await b::sleep_for(3s);
      co_return 10;
    }
    co_await b::sleep_for(2s);
    co_return co_await inner(*self, 0);
  });
  self = &all;
  const auto program = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto wants_one = [&]() -> b::task<> { CHECK(co_await all.call(1) == 10); };
      const auto wants_zero = [&]() -> b::task<> { CHECK(co_await all.call(0) == 10); };
      g.spawn(wants_one);
      g.spawn(wants_zero);
      co_return;
    });
  };
  loop.run(program());
  CHECK(loop.elapsed() == 4s);
}

TEST_CASE("single_flight: what is forgotten goes on for those who wait; others start anew") {
  b::testing::test_loop loop;
  source from;
  flights all = over(from);
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(500ms);
    all.forget(1);
    all.forget(77);
    CHECK(all.size() == 0);
    g.spawn(wants, std::ref(all), 1, std::ref(out));
    co_await b::sleep_for(500ms);
    CHECK(all.size() == 1);
    all.forget_all();
    CHECK(all.size() == 0);
    co_await wants(all, 1, out);
  }));
  CHECK(out == trail{"1/1", "1/2", "1/3"});
  CHECK(from.calls == 3);
  CHECK(from.live == 0);
}
