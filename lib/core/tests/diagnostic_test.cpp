// SPDX-License-Identifier: Apache-2.0
// What the runtime notices that is no error: dropped tasks, slow cleanups, ignored cancellations; names; exceptions at the border to C.

#include <belay/core/all.hpp>
#include <belay/core/contain.hpp>
#include <belay/core/diagnostic.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/race.hpp>
#include <belay/core/stream.hpp>
#include <belay/core/task_local.hpp>
#include <belay/core/task_tree.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>
#include <csignal>
#include <memory>

#include "driven.hpp"
#include "support.hpp"

using namespace core_tests;

namespace {

using kind = b::diagnostic_kind;

bool says(const std::string& text, std::string_view part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

b::task<int> forgotten(counted /*argument*/) { co_return 1; }
b::task<> may_await(bool wanted, b::task<int> op) {
  if (wanted) static_cast<void>(co_await std::move(op));
}
b::task<> throws_with(b::task<int> /*op*/) {
  throw boom("early");
  co_return;
}
b::task<> naps_with(b::task<int> /*op*/) { co_await naps(1h); }
b::task<> gives_up_with(b::task<int> /*op*/) { co_await b::fail(boom("given up")); }

// Waits for what cannot be taken back.
class deaf final : public b::operation {
 public:
  explicit deaf(deaf*& self) noexcept { self = this; }
  void await_resume() const noexcept {}
  [[nodiscard]] b::awaited waits_for() const noexcept override { return {"a deaf device", "lpt1"}; }
  void answer() noexcept { complete(); }
  void give_up() noexcept { complete_cancelled(); }

 private:
  void start() override {}
  bool abort() noexcept override { return false; }
};
b::task<> prints(deaf*& device) { co_await deaf(device); }

// Waits for ever; its resource is told why it ended.
b::task<> told_why(b::cancel_record& into) {
  auto watcher = [](b::cancel_record& told) -> b::managed<b::unit> {
    const b::exit_status ended = co_yield b::unit{};
    told = ended.cancellation();
  };
  co_await b::with(watcher(into), [](b::unit&) -> b::task<> { co_await naps(1h); });
}

}  // namespace

// ---- dropped tasks

TEST_CASE("diagnostic: a task that is dropped unawaited, is told with its function; it is no error [row 1]") {
  b::testing::test_loop loop;
  int live = 0;
  loop.run([](int& count) -> b::task<> {
    {
      const b::task<int> lost = forgotten(counted(count));
    }
    b::task<int> replaced = gives(1);
    replaced = gives(2);
    CHECK(co_await std::move(replaced) == 2);
  }(live));
  CHECK(live == 0);
  CHECK(loop.lost_errors().empty());
  REQUIRE(loop.diagnostics().size() == 2);
  const b::diagnostic& first = loop.diagnostics()[0];
  CHECK(first.kind == kind::task_dropped);
  CHECK(!first.over);
  REQUIRE(first.places.size() == 1);
  CHECK(says(first.message, "a task of forgotten(counted) (diagnostic_test.cpp:"));
  CHECK(says(first.message, "never awaited or spawned"));
  CHECK(std::string(first.places[0].file_name()).find("diagnostic_test.cpp") != std::string::npos);
  CHECK(says(loop.diagnostics()[1].message, "gives(int)"));
  CHECK(b::to_json(first).find(
            "{\"kind\":\"task_dropped\",\"over\":false,\"message\":\"a task of forgotten(") == 0);
  CHECK(!b::testing::no_diagnostics(loop).ok());
  loop.forget_diagnostics();
  b::testing::no_diagnostics(loop).require();
}

TEST_CASE("diagnostic: who dropped a task is told by name and place; of tasks in tasks, the outer one") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.spawn([]() -> b::task<> {
       {
         const auto lost = b::with_timeout(1s, gives(1));
       }
       co_return;
     }).named("careless");
    co_return;
  }));
  REQUIRE(loop.diagnostics().size() == 1);
  CHECK(says(loop.diagnostics()[0].message, "with_timeout"));
  CHECK(says(loop.diagnostics()[0].message,
             "it was task 'careless' that dropped it, spawned at diagnostic_test.cpp:"));
  CHECK(loop.diagnostics()[0].task == "careless");
}

TEST_CASE("diagnostic: a task that its owner did not get to, is no news") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK_THROWS_AS(co_await throws_with(gives(1)), boom);       // an exception
    CHECK_THROWS_AS(co_await gives_up_with(gives(1)), boom);     // fail
    CHECK(!co_await b::move_on_after(1s, naps_with(gives(1))));  // cancelled while it had it
    CHECK(!co_await b::move_on_after(0s, gives(1)));             // refused: no time
    CHECK_THROWS_AS(co_await b::with_timeout(0s, gives(1)), b::timeout_error);
    co_await b::with_group([](b::group& g) -> b::task<> {
      g.cancel();
      g.spawn(may_await, true, gives(1));  // never begun
      g.spawn(gives, 1);
      co_return;
    });
    CHECK_THROWS_AS(co_await b::all(gives(1), fails("x"), naps_with(gives(3))), boom);
    try {
      const b::task<int> unlucky = gives(1);
      throw boom("passes through");
    } catch (const boom&) {
    }
    b::task<int> moved = gives(4);
    b::task<int> into = std::move(moved);
    CHECK(co_await std::move(into) == 4);
    b::discard(gives(5));
    b::discard(std::move(moved));  // empty: nothing
  }());
  for (const b::diagnostic& one : loop.diagnostics()) CHECK_MESSAGE(false, one.message);
}

TEST_CASE("diagnostic: a task that its owner ended well without, is told") {
  b::testing::test_loop loop;
  loop.run(may_await(true, gives(1)));
  CHECK(loop.diagnostics().empty());
  loop.run(may_await(false, gives(1)));
  CHECK(loop.diagnostics().size() == 1);
}

TEST_CASE("diagnostic: outside of a loop, and without a sink, it is a line on stderr") {
  const process_end outside = in_process([] {
    {
      const b::task<int> lost = gives(1);
    }
    b::loop plain;
    plain.run(may_await(false, gives(1)));
    return 0;
  });
  CHECK(outside.code == 0);
  const std::size_t first = outside.said.find("belay: a task of core_tests::gives(int) (support.hpp:");
  CHECK(first == 0);
  CHECK(outside.said.find("belay: a task of core_tests::gives(int)", first + 1) != std::string::npos);
}

TEST_CASE("diagnostic: a sink that throws is answered by a line on stderr; the program goes on [row 14]") {
  const process_end end = in_process([] {
    b::loop own({.on_diagnostic = [](const b::diagnostic&) { throw boom("sink"); }});
    own.run(may_await(false, gives(1)));
    return 3;
  });
  CHECK(end.code == 3);
  CHECK(end.said.find("the diagnostic sink threw") != std::string::npos);
}

// ---- cleanups

TEST_CASE("diagnostic: a slow cleanup is told at half of its limit, while it runs, and at its end") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    co_await b::finally([]() -> b::task<> { co_return; }, []() -> b::task<> { co_await naps(4900ms); });
  }());
  CHECK(loop.diagnostics().empty());
  std::vector<b::duration> told_at;
  loop.run([](b::testing::test_loop& l, std::vector<b::duration>& at) -> b::task<> {
    const b::time_point begin = b::now();
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([&]() -> b::task<> {
         co_await b::finally([]() -> b::task<> { co_return; }, []() -> b::task<> { co_await naps(7s); });
       }).named("slow one");
      while (l.diagnostics().size() < 2) {
        const std::size_t seen = l.diagnostics().size();
        co_await naps(100ms);
        if (l.diagnostics().size() != seen) at.push_back(b::now() - begin);
      }
    });
  }(loop, told_at));
  REQUIRE(loop.diagnostics().size() == 2);
  const b::diagnostic& slow = loop.diagnostics()[0];
  CHECK(slow.kind == kind::cleanup_slow);
  CHECK(!slow.over);
  CHECK(slow.lasted == 5s);
  CHECK(slow.task == "slow one");
  CHECK(says(slow.message, "takes long: 5000 ms by now, and it may take 10 s"));
  CHECK(says(slow.message, "'slow one' waits for a timer at support.hpp:"));
  CHECK(slow.places.size() >= 2);
  const b::diagnostic& over = loop.diagnostics()[1];
  CHECK(over.over);
  CHECK(over.lasted == 7s);
  CHECK(says(over.message, "has ended after 7000 ms, completely"));
  REQUIRE(told_at.size() == 2);
  CHECK(told_at[0] <= 5200ms);  // while it hung
  CHECK(loop.nothing_left());
}

TEST_CASE("diagnostic: a cleanup over its limit is cut short, and its fate is told") {
  b::testing::test_loop loop({.cleanup_limit = 2s});
  CHECK_THROWS_AS(
      loop.run(b::finally([]() -> b::task<> { co_return; }, []() -> b::task<> { co_await naps(1h); })),
      b::timeout_error);
  REQUIRE(loop.diagnostics().size() == 2);
  CHECK(loop.diagnostics()[0].lasted == 1s);
  CHECK(says(loop.diagnostics()[1].message, "has ended after 2000 ms, over its limit of 2000 ms, cut short"));
  loop.forget_diagnostics();
  // Of a managed resource, after an error, and failing.
  auto opened = []() -> b::managed<int> {
    int value = 1;
    co_yield value;
    co_await naps(1500ms);
    throw boom("stuck drawer");
  };
  loop.run([](auto open) -> b::task<> {
    const b::outcome<void> how =
        co_await b::as_outcome(b::with(open(), [](int&) -> b::task<> { co_await b::fail(boom("body")); }));
    CHECK(says(b::describe(how.failure()), "stuck drawer"));
  }(opened));
  REQUIRE(loop.diagnostics().size() == 2);
  CHECK(says(loop.diagnostics()[1].message, "with an error: stuck drawer"));
  CHECK(loop.nothing_left());
}

// ---- ignored cancellations

TEST_CASE(
    "diagnostic: a task that was asked to stop and has not ended, is told once, with what it waits for, and its end") {
  b::testing::test_loop loop;
  deaf* device = nullptr;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> printing = g.spawn(prints, std::ref(device)).named("printer");
    co_await naps(1s);
    printing.cancel(b::cancel_reason::overload);
    co_await naps(4s);
    CHECK(loop.diagnostics().empty());
    for (int i = 0; i < 20; ++i) co_await naps(1s);
    REQUIRE(loop.diagnostics().size() == 1);
    const b::diagnostic& late = loop.diagnostics()[0];
    CHECK(late.kind == kind::cancel_ignored);
    CHECK(late.task == "printer");
    CHECK(late.lasted >= 5s);
    CHECK(late.lasted < 7s);
    CHECK(says(late.message, "task 'printer' (spawned at diagnostic_test.cpp:"));
    CHECK(says(late.message, "was cancelled by child.cancel at diagnostic_test.cpp:"));
    CHECK(says(late.message, "overload, "));
    CHECK(says(
        late.message,
        "waits for a deaf device 'lpt1', which was asked to stop and has not answered at diagnostic_test.cpp:"));
    REQUIRE(late.places.size() == 1);
    device->give_up();
    for (int i = 0; i < 5; ++i) co_await naps(1s);
    REQUIRE(loop.diagnostics().size() == 2);
    const b::diagnostic& over = loop.diagnostics()[1];
    CHECK(over.over);
    CHECK(over.task == "printer");
    CHECK(says(over.message, "has ended after 2"));
  }));
  CHECK(loop.diagnostics().size() == 2);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "diagnostic: a shielded section that outlasts a cancellation, is named; a second request is not told again") {
  b::testing::test_loop loop({.ignored_cancel_limit = 2s});
  loop.run([](b::testing::test_loop& l) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([]() -> b::task<> {
        co_await b::shielded(1h, []() -> b::task<> {
          for (int i = 0; i < 100; ++i) co_await naps(100ms);
        }());
      });
      co_await naps(1s);
      g.cancel(b::cancel_reason::shutdown);
      g.cancel(b::cancel_reason::caller);
    });
    CHECK(b::now().time_since_epoch() > 0s);
    REQUIRE(l.diagnostics().size() >= 1);
  }(loop));
  REQUIRE(loop.diagnostics().size() == 2);
  CHECK(says(loop.diagnostics()[0].message, "is in a shielded section, set at diagnostic_test.cpp:"));
  CHECK(says(loop.diagnostics()[0].message, "and waits for a timer at support.hpp:"));
  CHECK(loop.diagnostics()[1].over);  // at the end of the loop, if not before
}

TEST_CASE("diagnostic: what answers a cancellation in time, and a cleanup within its limit, is no news") {
  b::testing::test_loop loop({.ignored_cancel_limit = 1s});
  loop.run([]() -> b::task<> {
    for (int i = 0; i < 10; ++i) {
      CHECK(!co_await b::move_on_after(1s, naps(1h)));
      CHECK(co_await b::race(gives(1), gives_after(1h, 2)) == 1);
    }
    co_await b::with_group([](b::group& g) -> b::task<> {
      g.spawn([]() -> b::task<> {
        co_await b::finally([]() -> b::task<> { co_await naps(1h); },
                            []() -> b::task<> { co_await naps(4s); });
      });
      g.spawn([]() -> b::task<> {
        for (;;) co_await naps(100ms);
      });
      co_await naps(1s);
      g.cancel();
    });
  }());
  for (const b::diagnostic& one : loop.diagnostics()) CHECK_MESSAGE(false, one.message);
  CHECK(loop.nothing_left());
}

TEST_CASE("diagnostic: looking for ignored cancellations moves no virtual clock and hides no deadlock") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run([]() -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, naps(1h)));
    b::event never;
    co_await never.wait();
  }()),
                  b::deadlock_error);
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("diagnostic: limits that are not more than zero are refused; max turns a look off") {
  CHECK_THROWS_AS(b::loop({.ignored_cancel_limit = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::loop({.ignored_cancel_limit = -1s}), b::misuse_error);
  CHECK_THROWS_AS(b::loop({.blocked_limit = 0s}), b::misuse_error);
  CHECK_THROWS_AS(b::loop({.blocked_limit = -1ms}), b::misuse_error);
  b::testing::test_loop loop({.ignored_cancel_limit = b::duration::max()});
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.spawn([]() -> b::task<> { co_await b::shielded(2h, naps(1h)); });
    co_await b::yield();
    g.cancel();
  }));
  CHECK(loop.diagnostics().empty());
}

// ---- names

TEST_CASE("child: a task that was named, is so in the task tree, in traces, and with a number") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    co_await b::with_group([](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(naps, 1h).named("purge");
      b::child<void> two = g.spawn(naps, 1h);
      two.named("first").named("worker", 3);
      CHECK(b::live_tasks()[1].name == "purge");
      CHECK(b::live_tasks()[1].state == b::task_state::not_begun);
      co_await b::yield();
      const std::vector<b::task_info> all = b::live_tasks();
      REQUIRE(all.size() == 3);
      CHECK(all[1].name == "purge");
      CHECK(all[1].function == "core_tests::naps(b::duration)");
      CHECK(all[2].name == "worker 3");
      CHECK(
          says(b::describe(all), "  purge = core_tests::naps(b::duration), spawned at diagnostic_test.cpp:"));
      CHECK(says(b::describe(all), "  worker 3 = core_tests::naps(b::duration), spawned at"));
      CHECK(says(b::to_json(all), "\"name\":\"worker 3\",\"function\":\"core_tests::naps(b::duration)\""));
      g.cancel();
    });
    b::child<void> empty;
    CHECK_THROWS_AS(empty.named("x"), b::misuse_error);
    const b::outcome<void> how = co_await b::as_outcome(b::with_group([](b::group& g) -> b::task<> {
      g.spawn(fails, "broken pipe").named("copier");
      co_return;
    }));
    CHECK(says(b::describe(how.failure()), "in task 'copier'"));
  }());
}

// ---- states

TEST_CASE("child: its state is pending, then succeeded, failed or cancelled, and stays so [row 7]") {
  b::testing::test_loop loop;
  loop.run(b::with_group({.policy = b::group_policy::supervise}, [](b::group& g) -> b::task<> {
    b::child<int> good = g.spawn(gives_after, 1s, 1);
    b::child<int> bad = g.spawn(fails_after, 1s, "x");
    b::child<int> cut = g.spawn(gives_after, 1h, 1);
    CHECK(good.state() == b::completion::pending);
    cut.cancel();
    CHECK(cut.state() == b::completion::pending);  // asked, not ended
    co_await naps(2s);
    const auto look = [&] {
      CHECK(b::to_string(good.state()) == "succeeded");
      CHECK(b::to_string(bad.state()) == "failed");
      CHECK(b::to_string(cut.state()) == "cancelled");
    };
    look();
    CHECK(!good.cancel());
    CHECK(!bad.cancel());
    CHECK(!cut.cancel(b::cancel_reason::overload));
    g.cancel();  // the whole group: what has ended has ended
    look();
    CHECK(b::as_outcome(cut).await_ready() == false);  // this task is cancelled itself
    CHECK(cut.ended_with().cancellation().reason() == b::cancel_reason::caller);
    static_cast<void>(bad.ended_with().failure());
    CHECK(good.ended_with().state() == b::completion::succeeded);
    const b::outcome<int> none;
    CHECK(b::to_string(none.state()) == "pending");
    const b::child<int> empty;
    CHECK_THROWS_AS(static_cast<void>(empty.state()), b::misuse_error);
  }));
}

// ---- timeouts with names

TEST_CASE("with_timeout: named, the error and the record name the scope, its place and the await [row 112]") {
  b::testing::test_loop loop;
  b::cancel_record seen;
  loop.run([](b::cancel_record& record) -> b::task<> {
    const auto here = std::source_location::current();
    const b::outcome<void> how = co_await b::as_outcome(
        b::with_timeout({.limit = 250ms, .name = "dashboard"}, told_why(record), here));
    const std::string set = "scope 'dashboard' at diagnostic_test.cpp:" + std::to_string(here.line());
    CHECK(says(how.failure().message(),
               "timed out after 250 ms, set by " + set + ", while awaiting support.hpp:"));
    REQUIRE(record);
    CHECK(record.who() == "scope 'dashboard'");
    CHECK(b::describe(record) == "cancelled by " + set + ": deadline passed");
  }(seen));
  CHECK_FALSE(loop.run(b::move_on_after({.limit = 1s, .name = "soft"}, naps(1h))).has_value());
  CHECK_THROWS_AS(loop.run(b::shielded({.limit = 1s, .name = "hard"}, naps(1h))), b::timeout_error);
}

// ---- the border to C

TEST_CASE(
    "contain: an exception does not leave a callback; the sink gets it, and the fallback is given [row 516]") {
  b::testing::test_loop loop;
  const auto callback = [](void* what, int value) noexcept -> int {
    return b::contain("the callback of qsort", -1, [&] {
      if (value == 0) throw boom("zero");
      *static_cast<int*>(what) += value;
      return value;
    });
  };
  int (*const c_pointer)(void*, int) noexcept = callback;
  int sum = 0;
  loop.run([](auto call, int& total) -> b::task<> {
    CHECK(call(&total, 2) == 2);
    CHECK(call(&total, 0) == -1);
    b::contain("one without a result", [] { throw 42; });
    b::contain("one that is fine", [&] { ++total; });
    co_return;
  }(c_pointer, sum));
  CHECK(sum == 3);
  REQUIRE(loop.lost_errors().size() == 2);
  CHECK(says(loop.lost_errors()[0], "zero"));
  CHECK(says(loop.lost_errors()[0], "in the callback of qsort"));
  const process_end foreign = in_process([&] {  // where no loop runs
    static_cast<void>(callback(nullptr, 0));
    return 4;
  });
  CHECK(foreign.code == 4);
  CHECK(foreign.said.find("in the callback of qsort") != std::string::npos);
}

TEST_CASE("loop: what a posted function throws goes to the sink, and says where from [row 516]") {
  b::testing::test_loop loop;
  loop.run([](b::loop& l) -> b::task<> {
    l.post([] { throw boom("in the post"); });
    co_await b::yield();
  }(loop.loop()));
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(says(loop.lost_errors()[0], "in a function given to loop::post"));
}

// ---- leftovers

TEST_CASE("loop: destroyed while it runs, says which tasks were in it, and aborts [row 241]") {
  const process_end end = in_process([] {
    auto own = std::make_unique<b::loop>();
    own->run([](std::unique_ptr<b::loop>& from) -> b::task<> {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(naps, 1h).named("left behind");
        co_await b::yield();
        from.reset();
      });
    }(own));
    return 0;
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.said.find("a loop was destroyed while it was running") != std::string::npos);
  CHECK(end.said.find("left behind = core_tests::naps(b::duration)") != std::string::npos);
}

TEST_CASE(
    "loop: when run returns, nothing of main is left, and an error in what was cancelled comes out [row 27] [row 28]") {
  b::testing::test_loop loop;
  trail out;
  try {
    loop.run([](trail& log) -> b::task<> {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn([&]() -> b::task<> {
          co_await b::finally([]() -> b::task<> { co_await naps(1h); },
                              [&]() -> b::task<> {
                                co_await naps(1s);
                                log.push_back("cleaned up");
                                throw boom("while it was stopped");
                              });
        });
        co_await naps(1s);
        g.cancel(b::cancel_reason::shutdown);
      });
    }(out));
    FAIL("no error");
  } catch (const boom& e) {
    CHECK(std::string(e.what()) == "while it was stopped");
  }
  CHECK(out == trail{"cleaned up"});
  CHECK(loop.nothing_left());
}

// ---- everywhere

TEST_CASE("diagnostic: names, discards and contained callbacks under all drivers") {
  drive("named and discarded", [](t::stage& s) -> b::task<> {
    auto& done = s.make<int>(0);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<int> one = g.spawn(gives_after, 1s, 1).named("one", 1);
      b::task<int> spare = gives(2);
      done += co_await one;
      b::discard(std::move(spare));
      done += b::contain("nothing", 0, [] { return 1; });
      co_await b::with_timeout({.limit = 10s, .name = "named"}, naps(1s));
    });
  });
}

namespace {

b::task<> passes_on(b::task<> inner) { co_await std::move(inner); }
b::stream<int> ones(b::stream<int> inner) {
  b::open_stream<int>& items = co_await b::use(std::move(inner));
  while (int* item = co_await items.next()) co_yield *item;
}
b::stream<int> one_item() { co_yield 1; }
b::managed<int> opens(b::managed<int> inner) {
  int& opened = co_await b::use(std::move(inner));
  co_yield opened;
}
BELAY_CORO_WRAPPER b::task<> nest(int depth) {
  b::task<> all = naps(1s);
  for (int i = 0; i < depth; ++i) all = passes_on(std::move(all));
  return all;
}
b::task<> has_arguments(std::unique_ptr<farewell> /*last*/, b::task<> /*inner*/) { co_return; }

}  // namespace

TEST_CASE("dropped: tasks, streams and resources that were given to one another a hundred thousand deep") {
  constexpr int deep = 100'000;
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::discard(nest(deep));
    bool late = false;
    try {
      co_await b::with_timeout(0s, nest(deep));
    } catch (const b::timeout_error&) {
      late = true;
    }
    CHECK(late);
    {
      b::stream<int> all = one_item();
      for (int i = 0; i < deep; ++i) all = ones(std::move(all));
    }
    trail out;
    {
      b::managed<int> all = resource(out, "r");
      for (int i = 0; i < deep; ++i) all = opens(std::move(all));
    }
    CHECK(out.empty());
  }());
  CHECK(loop.diagnostics().empty());
  loop.run([]() -> b::task<> {
    static_cast<void>(nest(deep));
    co_return;
  }());
  CHECK(loop.diagnostics().size() == 1);  // the outermost; the others were given away
  b::discard(nest(deep));                 // outside of a loop, too
}

TEST_CASE(
    "dropped: a task that was given to another goes in the midst of its arguments, in the usual order") {
  trail out;
  b::discard(has_arguments(std::make_unique<farewell>(out, "outer"),
                           has_arguments(std::make_unique<farewell>(out, "inner"), naps(1s))));
  CHECK(out == trail{"inner", "outer"});
}
