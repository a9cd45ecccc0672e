// SPDX-License-Identifier: Apache-2.0
// Cancellation: acts at awaits, unwinds inwards to outwards, cannot be caught, keeps its record.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/operation.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

// An operation that answers as the test says.
class scripted final : public b::operation {
 public:
  int started = 0;
  int aborted = 0;
  bool taken_back = true;
  std::function<void()> on_abort;
  void finish() noexcept { complete(); }
  void finish_cancelled() noexcept { complete_cancelled(); }
  int await_resume() noexcept { return 5; }

 private:
  void start() override { ++started; }
  bool abort() noexcept override {
    ++aborted;
    if (on_abort) on_abort();
    return taken_back;
  }
};

b::task<int> awaits(scripted& op, trail& out) {
  const farewell local(out, "~local");
  const int got = co_await op;
  out.push_back("goes on");
  co_return got;
}

}  // namespace

TEST_CASE("cancel: a task that sleeps, wakes at once and its timer is gone [row 31]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.spawn(naps, 100s);
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "cancel: before the first step, the body does not run and its arguments are destroyed once [row 32]") {
  b::testing::test_loop loop;
  bool ran = false;
  int live = 0;
  loop.run([](bool& r, int& l) -> b::task<> {
    co_await b::with_group([&r, &l](b::group& g) -> b::task<> {
      b::child<void> c = g.spawn(
          [](bool& flag, const counted&) -> b::task<> {
            flag = true;
            co_return;
          },
          std::ref(r), counted(l));
      CHECK(c.cancel());
      b::outcome<void> how = co_await b::as_outcome([](b::child<void>& of) -> b::task<> { co_await of; }(c));
      CHECK(how.failure().find<b::child_cancelled>() != nullptr);
    });
  }(ran, live));
  CHECK(!ran);
  CHECK(live == 0);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "cancel: cannot be caught: no handler runs, and no code after the await [row 33] [row 43] [row 44] [row 45]") {
  b::testing::test_loop loop;
  trail out;
  auto stubborn = [](trail& to) -> b::task<> {
    const farewell local(to, "~local");
    for (;;) {
      try {
        co_await b::sleep_for(10s);
        to.push_back("after");
      } catch (...) {
        to.push_back("caught");
      }
    }
  };
  loop.run([](auto& call, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(1s, call(to))); }(
                                         stubborn, out));
  CHECK(out == trail{"~local"});
}

TEST_CASE("cancel: unwinds the innermost frame first, then its awaiters [row 42]") {
  b::testing::test_loop loop;
  trail out;
  auto inner = [](trail& to) -> b::task<> {
    const farewell first(to, "~inner 1");
    const farewell second(to, "~inner 2");
    co_await b::sleep_for(9s);
  };
  auto middle = [](auto& call, trail& to) -> b::task<> {
    const farewell local(to, "~middle");
    co_await b::use(resource(to, "m"));
    co_await call(to);
  };
  loop.run([](auto& outer, auto& call, trail& to) -> b::task<> {
    co_await b::move_on_after(1s, outer(call, to));
  }(middle, inner, out));
  CHECK(out == trail{"open m", "~inner 2", "~inner 1", "close m: cancelled", "closed m", "~middle"});
}

TEST_CASE("cancel: twice, the first reason stays and there is one unwinding [row 12] [row 34]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::child<void> kept;
    co_await b::with_group([&kept](b::group& g) -> b::task<> {
      kept = g.spawn(naps, 9s);
      co_await b::yield();
      CHECK(kept.cancel(b::cancel_reason::overload));
      kept.cancel(b::cancel_reason::shutdown);
      co_await b::yield();
      CHECK(!kept.cancel());
    });
    b::outcome<void> how = co_await b::as_outcome([](b::child<void>& of) -> b::task<> { co_await of; }(kept));
    const b::failure what = how.failure();
    REQUIRE(what.find<b::child_cancelled>() != nullptr);
    CHECK(what.message().find("child.cancel") != std::string::npos);
    CHECK(what.message().find("overload") != std::string::npos);
    CHECK(what.message().find("shutdown") == std::string::npos);
  }());
}

TEST_CASE("cancel: the record says who, why and where, and what was behind it [row 11] [row 274]") {
  b::testing::test_loop loop;
  b::cancel_record seen;
  auto watched = [](b::cancel_record& to) -> b::managed<int> {
    int value = 0;
    const b::exit_status how = co_yield value;
    co_await b::sleep_for(1s);
    to = how.cancellation();
  };
  auto worker = [](auto& open, b::cancel_record& to) -> b::task<> {
    co_await b::use(open(to));
    co_await b::sleep_for(9s);
  };
  CHECK_THROWS_AS(loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(worker, std::ref(watched), std::ref(seen));
    co_await b::sleep_for(1s);
    throw boom("behind it");
  })),
                  boom);
  REQUIRE(seen);
  CHECK(seen.reason() == b::cancel_reason::sibling_failed);
  CHECK(seen.who() == "with_group");
  CHECK(std::string(seen.where().file_name()).find("cancel_test.cpp") != std::string::npos);
  CHECK(seen.cause().message() == "behind it");
  CHECK(b::describe(seen).find("sibling failed (behind it)") != std::string::npos);
}

TEST_CASE("cancel: of a task that has ended, gives false and leaves its error unobserved [row 36]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::child<int> kept;
    auto in_group = [](b::child<int>& keep) -> b::task<> {
      co_await b::with_group([&keep](b::group& g) -> b::task<> {
        keep = g.spawn(fails, std::string("unseen"));
        co_return;
      });
    };
    {
      b::outcome<void> how = co_await b::as_outcome(in_group(kept));
      CHECK(!kept.cancel());
      kept = {};
    }
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("unseen") != std::string::npos);
}

TEST_CASE(
    "cancel: requested before an await on what is ready, the await does not happen [row 38] [row 53] [row 234]") {
  b::testing::test_loop loop;
  b::semaphore one(1);
  b::event set;
  set.set();
  trail out;
  auto after = [](trail& to, auto&& make, b::group& g) -> b::task<> {
    g.cancel();
    co_await make();
    to.push_back("happened");
  };
  for (int i = 0; i < 3; ++i) {
    loop.run(b::with_group([&, i](b::group& g) -> b::task<> {
      if (i == 0) co_await after(out, [&]() -> b::task<> { auto p = co_await one.acquire(); }, g);
      if (i == 1) co_await after(out, [&]() -> b::task<> { co_await set.wait(); }, g);
      if (i == 2) co_await after(out, [&]() -> b::task<> { co_await b::yield(); }, g);
      out.push_back("past it");
    }));
  }
  CHECK(out.empty());
  CHECK(one.free() == 1);
}

TEST_CASE("cancel: requested before an operation starts, it is not started [row 38]") {
  b::testing::test_loop loop;
  scripted op;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    co_await awaits(op, out);
  }));
  CHECK(op.started == 0);
  CHECK(op.aborted == 0);
  CHECK(out == trail{"~local"});
}

TEST_CASE("cancel: of its own scope does not throw, and acts at the next await [row 40]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    out.push_back("still here");
    CHECK(b::cancel_requested());
    co_await b::sleep_for(100s);
    out.push_back("after");
  }));
  CHECK(out == trail{"still here"});
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("cancel: an operation that is taken back does not deliver; the task is unwound [row 95]") {
  b::testing::test_loop loop;
  scripted op;
  trail out;
  loop.run([](scripted& o, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(1s, awaits(o, to))); }(
                                          op, out));
  CHECK(op.aborted == 1);
  CHECK(out == trail{"~local"});
}

TEST_CASE(
    "cancel: an operation that finishes although it was asked to stop, its value is delivered [row 95] [row 119]") {
  b::testing::test_loop loop;
  scripted op;
  op.taken_back = false;
  trail out;
  loop.run([](scripted& o, trail& to) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](scripted& of) -> b::task<> {
            co_await b::sleep_for(3s);
            of.finish();
          },
          std::ref(o));
      CHECK(co_await b::with_timeout(1s, awaits(o, to)) == 5);
    });
  }(op, out));
  CHECK(op.aborted == 1);
  CHECK(out == trail{"goes on", "~local"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("cancel: an operation that answers later that nothing happened, unwinds the task then") {
  b::testing::test_loop loop;
  scripted op;
  op.taken_back = false;
  trail out;
  loop.run([](scripted& o, trail& to) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](scripted& of) -> b::task<> {
            co_await b::sleep_for(3s);
            of.finish_cancelled();
          },
          std::ref(o));
      CHECK(!co_await b::move_on_after(1s, awaits(o, to)));
    });
  }(op, out));
  CHECK(out == trail{"~local"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("cancel: an operation that completes inside of its abort, is delivered once") {
  b::testing::test_loop loop;
  scripted op;
  op.taken_back = false;
  op.on_abort = [&op] { op.finish(); };
  trail out;
  loop.run([](scripted& o, trail& to) -> b::task<> {
    CHECK(co_await b::with_timeout(1s, awaits(o, to)) == 5);
  }(op, out));
  CHECK(out == trail{"goes on", "~local"});
}

TEST_CASE("cancel: an abort that cancels others and spawns, leaves everything consistent") {
  b::testing::test_loop loop;
  scripted op;
  trail out;
  bool late_ran = false;
  loop.run([](scripted& o, trail& to, bool& ran) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      co_await b::with_group([&](b::group& inner) -> b::task<> {
        b::child<void> sleeper = inner.spawn(naps, 50s);
        b::child<void> other = g.spawn(naps, 60s);
        o.on_abort = [&] {
          sleeper.cancel();
          other.cancel();
          inner.cancel();
          inner.spawn(
              [](bool& flag) -> b::task<> {
                flag = true;
                co_return;
              },
              std::ref(ran));
          g.spawn(naps, 70s);
        };
        inner.spawn(awaits, std::ref(o), std::ref(to));
        inner.spawn(naps, 51s);
        co_await b::sleep_for(1s);
        g.cancel();
        co_await b::sleep_for(1s);
      });
    });
  }(op, out, late_ran));
  CHECK(!late_ran);
  CHECK(out == trail{"~local"});
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE("cancel: what is ready already goes on, and the cancellation acts at the next await [row 122]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::event go;
    b::child<void> waiter = g.spawn(
        [](b::event& e, trail& to) -> b::task<> {
          co_await e.wait();
          to.push_back("woken");
          co_await b::yield();
          to.push_back("past the next await");
        },
        std::ref(go), std::ref(out));
    co_await b::yield();
    go.set();
    waiter.cancel();
    co_await b::yield();
    co_await b::yield();
  }));
  CHECK(out == trail{"woken"});
}

TEST_CASE(
    "cancel: a computation without awaits, sees nothing before its checkpoint; cancel_requested can be asked [row 54] [row 55]") {
  b::testing::test_loop loop;
  int steps = 0;
  loop.run([](b::testing::test_loop& l, int& count) -> b::task<> {
    auto compute = [](b::testing::test_loop& on, int& n) -> b::task<> {
      for (;;) {
        on.clock().advance(1s);
        ++n;
        co_await b::checkpoint();
      }
    };
    CHECK(!co_await b::move_on_after(5s, compute(l, count)));
  }(loop, steps));
  CHECK(steps == 5);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "checkpoint: after a helper that waited has ended, a deadline that passed acts and names the checkpoint") {
  b::testing::test_loop loop;
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    auto work = [](b::testing::test_loop& on) -> b::task<> {
      co_await naps(1s);
      on.clock().advance(10s);
      co_await b::checkpoint();
      FAIL("went on");
    };
    b::outcome<void> how = co_await b::as_outcome(b::with_timeout(5s, work(l)));
    CHECK(how.failure().message().find("while awaiting cancel_test.cpp") != std::string::npos);
  }(loop));
}

TEST_CASE(
    "cancel: of one child, leaves its siblings and the group alone; its awaiter gets child_cancelled [row 60] [row 83]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives_after, 5s, 1);
    b::child<int> two = g.spawn(gives_after, 5s, 2);
    co_await b::yield();
    one.cancel();
    try {
      static_cast<void>(co_await one);
      FAIL("no error");
    } catch (const b::child_cancelled& e) {
      CHECK(e.kind() == b::error_kind::child_cancelled);
      CHECK(std::string(e.what()).find("child.cancel") != std::string::npos);
    }
    CHECK(co_await two == 2);
  }));
  CHECK(loop.elapsed() == 5s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "cancel: of the awaiter and of the child it awaits in the same turn, the awaiter's own cancellation acts [row 73]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<int> child = g.spawn(gives_after, 5s, 1);
    b::child<void> joiner = g.spawn(
        [](b::child<int>& on, trail& to) -> b::task<> {
          try {
            static_cast<void>(co_await on);
          } catch (const b::child_cancelled&) {
            to.push_back("child_cancelled");
          }
          to.push_back("goes on");
        },
        std::ref(child), std::ref(out));
    co_await b::yield();
    child.cancel();
    joiner.cancel();
    co_await b::sleep_for(1s);
    CHECK(joiner.done());
  }));
  CHECK(out.empty());
}

TEST_CASE("cancel: the awaiter of a child, does not touch the child [row 81] [row 193]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> child = g.spawn(gives_after, 5s, 1);
    for (int i = 0; i < 1000; ++i) {
      auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
      CHECK(!co_await b::move_on_after(1ms, waits(child)));
    }
    CHECK(!child.done());
    CHECK(co_await child == 1);
  }));
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("cancel: a scope whose body ends without a further await, ends normally [row 63]") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::with_group([](b::group& g) -> b::task<int> {
    g.cancel();
    co_return 5;
  })) == 5);
}

TEST_CASE("cancel: a deep tree of groups, ends every task once") {
  b::testing::test_loop loop;
  int live = 0;
  struct tree {
    static b::task<> grow(int depth, int& count) {
      const counted here(count);
      if (depth == 0) {
        co_await b::sleep_for(100s);
        co_return;
      }
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(grow, depth - 1, std::ref(count));
        g.spawn(grow, depth - 1, std::ref(count));
        co_await b::with_timeout(50s, grow(depth - 1, count));
      });
    }
  };
  loop.run([](int& count) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, tree::grow(6, count)));
    CHECK(count == 0);
  }(live));
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE("cancel: three thousand nested scopes, cancelled without recursion [row 30]") {
  b::testing::test_loop loop;
  struct nest {
    static b::task<> at(int depth) {
      if (depth == 0) {
        co_await b::sleep_for(100s);
      } else {
        co_await b::with_timeout(50s, at(depth - 1));
      }
    }
  };
  loop.run([]() -> b::task<> { CHECK(!co_await b::move_on_after(1s, nest::at(3'000))); }());
  CHECK(loop.nothing_left());
}

TEST_CASE("cancel: with no loop running, cancel_requested is false and now is the machine's time") {
  CHECK(!b::cancel_requested());
  CHECK(b::now() <= b::now());
  CHECK(b::current_deadline() == b::time_point::max());
}

TEST_CASE("operation: what start throws comes out of the await, and the task can go on") {
  struct broken final : b::operation {
    void start() override { throw boom("cannot start"); }
    bool abort() noexcept override { return true; }
    void await_resume() const noexcept {}
  };
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK_THROWS_AS(co_await broken(), boom);
    co_await b::sleep_for(1s);
  }());
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE("operation: that completes inside of its start, gives others a turn and delivers") {
  struct instant final : b::operation {
    void start() override { complete(); }
    bool abort() noexcept override { return true; }
    int await_resume() const noexcept { return 3; }
  };
  b::testing::test_loop loop;
  CHECK(loop.run([]() -> b::task<int> { co_return co_await instant() + co_await instant(); }()) == 6);
}
