// SPDX-License-Identifier: Apache-2.0
#include <belay/core/on_cancel.hpp>

#include <belay/core/all.hpp>
#include <belay/core/channel.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/race.hpp>
#include <doctest/doctest.h>
#include <memory>
#include <optional>

#include "support.hpp"

using namespace core_tests;
using belay::testing::test_loop;

namespace {

b::task<> naps_with(trail& out, b::duration length) {
  const farewell end(out, "unwound");
  co_await b::sleep_for(length);
}
template <class F>
concept is_hook = b::cancellation_hook<F>;

}  // namespace

TEST_CASE(
    "on_cancel: is called when the cancellation is requested, before the request returns, before the unwinding") {
  test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto work = [](trail& to) -> b::task<> {
      co_await b::on_cancel(naps_with(to, 1h), [&to](const b::cancel_record& why) {
        to.push_back("hook: " + std::string(why.who()));
      });
    };
    b::child<void> one = g.spawn(work, std::ref(out));
    co_await b::yield();
    CHECK(out.empty());
    one.cancel();
    CHECK(out == trail{"hook: child.cancel"});
    one.cancel();
    co_await b::yield();
  }));
  CHECK(out == trail{"hook: child.cancel", "unwound"});
}

TEST_CASE(
    "on_cancel: gives the value or error of the operation, and is not called when nothing was cancelled") {
  test_loop loop;
  int called = 0;
  CHECK(loop.run(b::on_cancel(gives_after(1s, 5), [&called] { ++called; })) == 5);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(loop.run(b::on_cancel(fails_after(1s, "own"), [&called] { ++called; }))), "own",
      boom);
  auto boxes = []() -> b::task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
  CHECK(*loop.run(b::on_cancel(boxes(), [&called] { ++called; })) == 3);
  int target = 0;
  auto refers = [](int& to) -> b::task<int&> { co_return to; };
  CHECK(&loop.run(b::on_cancel(refers(target), [&called] { ++called; })) == &target);
  CHECK(called == 0);
  // Cancelled when it is over: not called any more.
  auto over = [](int& count) -> b::task<> {
    co_await b::on_cancel(naps(1s), [&count] { ++count; });
    co_await b::sleep_for(1h);
  };
  CHECK_THROWS_AS(loop.run(b::with_timeout(2s, over(called))), b::timeout_error);
  CHECK(called == 0);
}

TEST_CASE("on_cancel: the record says who and why: a limit, a failing sibling, a lost race") {
  test_loop loop;
  std::vector<b::cancel_record> told;
  const auto notes = [&told](const b::cancel_record& why) { told.push_back(why); };
  CHECK_THROWS_AS(loop.run(b::with_timeout(1s, b::on_cancel(naps(1h), notes))), b::timeout_error);
  CHECK_THROWS_AS(loop.run(b::all(b::on_cancel(naps(1h), notes), fails_after(1s, "sibling"))), boom);
  static_cast<void>(loop.run(b::race(b::on_cancel(naps(1h), notes), naps(1s))));
  REQUIRE(told.size() == 3);
  CHECK(told[0].reason() == b::cancel_reason::deadline);
  CHECK(told[1].reason() == b::cancel_reason::sibling_failed);
  CHECK(told[1].cause().message() == "sibling");
  CHECK(told[2].reason() == b::cancel_reason::race_lost);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("on_cancel: is called while the operation is shielded, which goes on; not from outside a shield") {
  test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto inside = [](trail& to) -> b::task<> {
      co_await b::on_cancel(b::shielded(1h, naps_with(to, 2s)), [&to] { to.push_back("told"); });
    };
    auto outside = [](trail& to) -> b::task<> {
      co_await b::shielded(1h, b::on_cancel(naps_with(to, 3s), [&to] { to.push_back("never"); }));
    };
    g.spawn(inside, std::ref(out));
    g.spawn(outside, std::ref(out));
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(out == trail{"told", "unwound", "unwound"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("on_cancel: work that finishes nevertheless is delivered, although the hook was called") {
  test_loop loop;
  int called = 0;
  std::optional<int> got;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto work = [](b::group& in, int& count, std::optional<int>& result) -> b::task<> {
      auto cancels = [](b::group& whole) -> b::task<int> {
        whole.cancel();
        co_return 5;
      };
      result = co_await b::on_cancel(cancels(in), [&count] { ++count; });
    };
    g.spawn(work, std::ref(g), std::ref(called), std::ref(got));
    co_return;
  }));
  CHECK(called == 1);
  CHECK(got == 5);
}

TEST_CASE("on_cancel: cancelled before, neither the operation nor the hook runs") {
  test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    auto begins = [](trail& to) -> b::task<> {
      to.push_back("began");
      co_return;
    };
    co_await b::on_cancel(begins(out), [&out] { out.push_back("hook"); });
    out.push_back("after");
  }));
  CHECK(out.empty());
}

TEST_CASE("on_cancel: nested hooks are called from the outside to the inside, each once") {
  test_loop loop;
  trail out;
  auto nested = [](trail& to) -> b::task<> {
    co_await b::on_cancel(b::on_cancel(naps_with(to, 1h), [&to] { to.push_back("inner"); }),
                          [&to] { to.push_back("outer"); });
  };
  static_cast<void>(loop.run(b::move_on_after(1s, nested(out))));
  CHECK(out == trail{"outer", "inner", "unwound"});
}

TEST_CASE("on_cancel: what a hook throws goes to the sink; the cancellation and other hooks go on") {
  test_loop loop;
  int called = 0;
  auto both = [](int& count) -> b::task<> {
    co_await b::on_cancel(b::on_cancel(naps(1h), [&count] { ++count; }), [] { throw boom("hook"); });
  };
  CHECK(!loop.run(b::move_on_after(1s, both(called))));
  CHECK(called == 1);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("hook") != std::string::npos);
  CHECK(loop.lost_errors()[0].find("on_cancel") != std::string::npos);
  loop.forget_lost_errors();
}

TEST_CASE("on_cancel: a hook may cancel others, whose hooks follow; set events, close channels, spawn") {
  test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::event told;
    b::channel<int> items(1);
    auto work = [](trail& to) -> b::task<> {
      co_await b::on_cancel(naps(1h), [&to] { to.push_back("second"); });
    };
    b::child<void> other = g.spawn(work, std::ref(out));
    auto first = [&]() -> b::task<> {
      co_await b::on_cancel(naps(1h), [&] {
        out.push_back("first");
        other.cancel();
        out.push_back("first is done");
        told.set();
        items.close();
        g.spawn(naps_with, std::ref(out), 5s);
      });
    };
    b::child<void> one = g.spawn(first);
    co_await b::yield();
    one.cancel();
    co_await told.wait();
    CHECK(!co_await items.receive());
  }));
  CHECK(out == trail{"first", "first is done", "second", "unwound"});
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("on_cancel: a hook may drop the handle of the task whose failure cancels") {
  test_loop loop;
  b::child<int> failing;
  auto outer = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      failing = g.spawn(fails_after, 1s, "the cause");
      co_await b::on_cancel(naps(1h), [&] { failing = {}; });
    });
  };
  CHECK_THROWS_WITH_AS(loop.run(outer()), "the cause", boom);
  CHECK(failing.done());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("on_cancel: ten thousand hooks of one cancellation") {
  test_loop loop;
  int called = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto work = [](int& count) -> b::task<> { co_await b::on_cancel(naps(1h), [&count] { ++count; }); };
    for (int i = 0; i < 10'000; ++i) g.spawn(work, std::ref(called));
    co_await b::yield();
    g.cancel();
    CHECK(called == 10'000);
  }));
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("on_cancel: a hook that is a coroutine, which nobody would await, does not compile") {
  struct coroutine {
    b::task<> operator()() const;
  };
  struct plain {
    void operator()() const;
  };
  struct told {
    void operator()(const b::cancel_record&) const;
  };
  static_assert(!is_hook<coroutine>);
  static_assert(is_hook<plain>);
  static_assert(is_hook<told>);
}

TEST_CASE(
    "finally: a cleanup that takes an exit_status is told how the body ended, and may await on cancellation only") {
  test_loop loop;
  trail out;
  auto runs = [](trail& to, b::task<int> body) -> b::task<int> {
    co_return co_await b::finally([&body]() -> b::task<int> { co_return co_await std::move(body); },
                                  [&to](b::exit_status how) -> b::task<> {
                                    if (how.cancelled()) co_await b::sleep_for(1s);
                                    to.push_back(words(how));
                                  });
  };
  CHECK(loop.run(runs(out, gives(1))) == 1);
  CHECK_THROWS_AS(static_cast<void>(loop.run(runs(out, fails("x")))), boom);
  CHECK(!loop.run(b::move_on_after(1s, runs(out, gives_after(1h, 1)))));
  CHECK(out == trail{"succeeded", "failed", "cancelled"});
  CHECK(loop.elapsed() == 2s);
}

TEST_CASE("on_cancel: what a hook cancels has its hooks called after it, before the first request returns") {
  test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    auto with_hook = [](std::function<void()> hook) -> b::task<> { co_await b::on_cancel(naps(1h), hook); };
    b::child<void> inner = g.spawn(with_hook, std::function<void()>([&] { out.push_back("inner"); }));
    b::child<void> outer = g.spawn(with_hook, std::function<void()>([&] {
                                     inner.cancel();
                                     out.push_back("outer");
                                   }));
    co_await b::yield();
    outer.cancel();
    out.push_back("requested");
  }));
  CHECK(out == trail{"outer", "inner", "requested"});
}
