// SPDX-License-Identifier: Apache-2.0
// Tasks: lazy, owned, three outcomes, any type of result, any depth.

#include <belay/core/all.hpp>
#include <belay/core/error.hpp>
#include <belay/core/task_function.hpp>
#include <doctest/doctest.h>

#include <csignal>
#include <memory>
#include <optional>

#include "support.hpp"

using namespace core_tests;

namespace {

static_assert(std::is_nothrow_move_constructible_v<b::task<int>>);
static_assert(!std::is_copy_constructible_v<b::task<int>>);
static_assert(std::is_nothrow_move_constructible_v<b::outcome<std::unique_ptr<int>>>);

b::task<> sets(bool& ran, counted) {
  ran = true;
  co_return;
}

struct not_copyable_argument {
  not_copyable_argument() = default;
  not_copyable_argument(const not_copyable_argument&) { throw boom("copy"); }
};
b::task<int> takes(not_copyable_argument) { co_return 1; }

b::task<std::unique_ptr<int>> gives_box(int value) { co_return std::make_unique<int>(value); }
b::task<std::unique_ptr<int>> passes_box(int value) {
  std::unique_ptr<int> got = co_await gives_box(value);
  co_return got;
}
b::task<int&> gives_reference(int& to) { co_return to; }
b::task<const std::string&> gives_const_reference(const std::string& to) {
  co_await b::yield();
  co_return to;
}
b::task<std::pair<int, std::string>> gives_braces() { co_return {4, "four"}; }
b::task<std::optional<int>> gives_nothing() { co_return std::nullopt; }

struct cannot_be_copied {
  cannot_be_copied() = default;
  cannot_be_copied(const cannot_be_copied&) { throw boom("result copy"); }
};
b::task<cannot_be_copied> gives_what_cannot_be_copied() {
  static const cannot_be_copied here;
  co_return here;
}

}  // namespace

TEST_CASE("task: never awaited, its body does not run and its arguments are destroyed once [row 1]") {
  bool ran = false;
  int live = 0;
  {
    const b::task<> never = sets(ran, counted(live));
    CHECK(never.valid());
    CHECK(live == 1);
  }
  CHECK(!ran);
  CHECK(live == 0);
}

TEST_CASE("task: moved from, it is not valid, and assigning over one destroys it") {
  bool ran = false;
  int live = 0;
  b::task<> first = sets(ran, counted(live));
  b::task<> second = std::move(first);
  CHECK(!first.valid());
  CHECK(second.valid());
  second = sets(ran, counted(live));
  CHECK(live == 1);
  b::testing::test_loop loop;
  loop.run(std::move(second));
  CHECK(ran);
  CHECK(live == 0);
}

TEST_CASE("task: an argument that throws when copied, the error comes out of the call [row 19]") {
  b::testing::test_loop loop;
  const not_copyable_argument argument;
  CHECK_THROWS_AS(static_cast<void>(takes(argument)), boom);
  CHECK(loop.nothing_left());
}

TEST_CASE("task: results may be void, move-only, references, and made from braces") {
  b::testing::test_loop loop;
  CHECK(*loop.run(passes_box(4)) == 4);
  int here = 1;
  CHECK(&loop.run(gives_reference(here)) == &here);
  const std::string text = "x";
  CHECK(&loop.run(gives_const_reference(text)) == &text);
  CHECK(loop.run(gives_braces()).second == "four");
  CHECK(!loop.run(gives_nothing()));
  loop.run([](int& to) -> b::task<> {
    int& got = co_await gives_reference(to);
    got = 9;
  }(here));
  CHECK(here == 9);
}

TEST_CASE("task: a result that throws when it is copied, the task fails with that") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(static_cast<void>(loop.run(gives_what_cannot_be_copied())), boom);
}

TEST_CASE("task: locals are destroyed when it ends, before its awaiter goes on") {
  b::testing::test_loop loop;
  trail out;
  auto inner = [](trail& to) -> b::task<> {
    const farewell local(to, "~inner");
    co_await b::yield();
  };
  loop.run([](trail& to, auto& call) -> b::task<> {
    co_await call(to);
    to.push_back("outer goes on");
  }(out, inner));
  CHECK(out == trail{"~inner", "outer goes on"});
}

TEST_CASE(
    "task: an error keeps its type and is the very object that was thrown, through any number of awaits [row 254]") {
  b::testing::test_loop loop;
  const void* thrown = nullptr;
  auto origin = [](const void*& where) -> b::task<> {
    co_await b::yield();
    try {
      throw boom("origin");
    } catch (const boom& e) {
      where = &e;
      throw;
    }
  };
  auto middle = [](auto& call, const void*& where) -> b::task<> {
    co_await b::with_timeout(1s, call(where));
  };
  loop.run([](auto& outer, auto& inner, const void*& where) -> b::task<> {
    try {
      co_await outer(inner, where);
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(static_cast<const void*>(&e) == where);
    }
  }(middle, origin, thrown));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "task: an exception that is no std::exception, passes through awaits, groups and reports [row 261]") {
  b::testing::test_loop loop;
  auto forty_two = []() -> b::task<> {
    co_await b::yield();
    throw 42;
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await b::with_group([&call](b::group& g) -> b::task<> {
        g.spawn(call);
        co_await b::sleep_for(1s);
      });
      FAIL("no error");
    } catch (int number) {
      CHECK(number == 42);
      CHECK(b::describe(b::current_failure()).find("int: an exception of a type without a message") == 0);
    }
  }(forty_two));
  CHECK_THROWS_AS(loop.run(forty_two()), int);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("task: a loop of children that complete at once does not grow the stack [row 30]") {
  b::testing::test_loop loop;
  auto child = [](std::uintptr_t& lowest) -> b::task<int> {
    lowest = std::min(lowest, stack_address());
    co_return 1;
  };
  auto sum = [](auto& call, long count, std::uintptr_t& lowest) -> b::task<long> {
    long total = 0;
    co_await call(lowest);
    const std::uintptr_t first = lowest;
    for (long i = 0; i < count; ++i) total += co_await call(lowest);
    CHECK(lowest == first);
    co_return total;
  };
  std::uintptr_t lowest = UINTPTR_MAX;
  CHECK(loop.run(sum(child, 200'000, lowest)) == 200'000);
}

namespace {

b::task<int> counts_down(int n) {
  if (n == 0) co_return 0;
  co_return 1 + co_await counts_down(n - 1);
}
b::task<int> counts_down_then_waits(int n) {
  if (n > 0) co_return 1 + co_await counts_down_then_waits(n - 1);
  co_await b::sleep_for(1s);
  co_return 0;
}
b::task<> fails_deep_down(int n, bool wait) {
  if (n > 0) {
    co_await b::or_fail(fails_deep_down(n - 1, wait));
  } else {
    if (wait) co_await b::yield();
    co_await b::fail(boom("deep down"));
  }
}
b::task<> waits_deep_down(int n, int& live) {
  const counted here(live);
  if (n > 0) {
    co_await waits_deep_down(n - 1, live);
  } else {
    co_await b::sleep_for(100s);
  }
}

constexpr int deep = 100'000;

}  // namespace

TEST_CASE("task: a chain 100,000 deep, completes at once and after waiting [row 30]") {
  b::testing::test_loop loop;
  CHECK(loop.run(counts_down(deep)) == deep);
  CHECK(loop.run(counts_down_then_waits(deep)) == deep);
  CHECK(loop.nothing_left());
}

TEST_CASE("task: a chain 100,000 deep, fails without a throw [row 30]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(loop.run(fails_deep_down(deep, false)), boom);
  CHECK_THROWS_AS(loop.run(fails_deep_down(deep, true)), boom);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("task: a chain 100,000 deep, is cancelled without recursion [row 30]") {
  b::testing::test_loop loop;
  int live = 0;
  auto main = [](int& count) -> b::task<> {
    CHECK(!co_await b::move_on_after(1s, waits_deep_down(deep, count)));
    CHECK(count == 0);
  };
  loop.run(main(live));
  CHECK(loop.elapsed() == 1s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "or_fail: a value is given, a failure ends the awaiting task with the same error, without running its handlers") {
  b::testing::test_loop loop;
  trail out;
  auto asks = [](trail& to, bool good) -> b::task<int> {
    const farewell local(to, "~local");
    try {
      const int got = co_await b::or_fail(good ? gives(3) : fails("no"));
      to.push_back("goes on");
      co_return got;
    } catch (...) {
      to.push_back("caught");
    }
    co_return -1;
  };
  CHECK(loop.run(asks(out, true)) == 3);
  CHECK_THROWS_WITH_AS(loop.run(asks(out, false)), "no", boom);
  CHECK(out == trail{"goes on", "~local", "~local"});
}

TEST_CASE("fail: ends the task without a throw: locals are destroyed, no handler and no line after it runs") {
  b::testing::test_loop loop;
  trail out;
  auto work = [](trail& to) -> b::task<int> {
    const farewell local(to, "~local");
    try {
      co_await b::fail(boom("failed"));
      to.push_back("after");
    } catch (...) {
      to.push_back("caught");
    }
    co_return 1;
  };
  CHECK_THROWS_WITH_AS(loop.run(work(out)), "failed", boom);
  CHECK(out == trail{"~local"});
  loop.run([](auto& call, trail& to) -> b::task<> {
    b::outcome<int> how = co_await b::as_outcome(call(to));
    CHECK(how.failed());
    CHECK(how.failure().find<boom>() != nullptr);
    CHECK(how.failure().trace().size() == 2);
  }(work, out));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("fail: with a failure that was looked at, the same record goes on") {
  b::testing::test_loop loop;
  auto relays = []() -> b::task<int> {
    b::outcome<int> how = co_await b::as_outcome(fails("inner"));
    b::failure what = how.failure();
    what.note("relayed");
    co_await b::fail(what);
    co_return 1;
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
      FAIL("no error");
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.notes().size() == 1);
      CHECK(what.notes()[0] == "relayed");
    }
  }(relays));
}

TEST_CASE("as_outcome: value and error can be looked at; void, references and move-only too") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::outcome<int> value = co_await b::as_outcome(gives(3));
    CHECK(value.succeeded());
    CHECK(static_cast<bool>(value));
    CHECK(value.value() == 3);
    CHECK(!value.failure());
    CHECK(!value.cancellation());

    b::outcome<int> error = co_await b::as_outcome(fails("x"));
    CHECK(error.failed());
    CHECK_THROWS_AS(static_cast<void>(error.value()), boom);
    CHECK_THROWS_AS(static_cast<void>(error.value()), boom);

    b::outcome<void> nothing = co_await b::as_outcome(naps(1s));
    CHECK(nothing.succeeded());
    int here = 0;
    b::outcome<int&> reference = co_await b::as_outcome(gives_reference(here));
    CHECK(&reference.value() == &here);
    b::outcome<std::unique_ptr<int>> box = co_await b::as_outcome(gives_box(2));
    const std::unique_ptr<int> got = std::move(box).value();
    CHECK(*got == 2);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("outcome: moved from, it says so instead of giving what is no longer there") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::outcome<int> error = co_await b::as_outcome(fails("x"));
    b::outcome<int> taken = std::move(error);
    CHECK(taken.failed());
    CHECK(!error.failed());
    CHECK_THROWS_AS(static_cast<void>(error.value()), b::misuse_error);
    b::outcome<int> value = co_await b::as_outcome(gives(4));
    taken = std::move(value);
    CHECK(taken.value() == 4);
    CHECK_THROWS_AS(static_cast<void>(value.value()), b::misuse_error);
    b::outcome<int> empty;
    CHECK_THROWS_AS(static_cast<void>(empty.value()), b::misuse_error);
  }());
  CHECK(loop.lost_errors().size() == 1);  // the error was overwritten, and nobody had looked
}

TEST_CASE(
    "outcome: assigning what throws when moved leaves it without a value, and destroys everything once") {
  struct fragile {
    explicit fragile(int& live) : here(live) {}
    fragile(fragile&& other) : here(other.here) {
      if (armed) throw boom("move");
    }
    counted here;
    bool armed = false;
  };
  int live = 0;
  {
    b::outcome<fragile> first;
    first.emplace(live);
    b::outcome<fragile> second;
    second.emplace(live);
    CHECK(live == 2);
    second = std::move(first);
    CHECK(live == 1);
  }
  CHECK(live == 0);
}

TEST_CASE("task: awaiting one that was awaited before ends the process with the place") {
  const process_end end = in_process([] {
    b::testing::test_loop loop;
    return loop.run([]() -> b::task<int> {
      b::task<int> once = gives(1);
      co_await std::move(once);
      co_return co_await std::move(once);
    }());
  });
  CHECK(end.signal == SIGABRT);
  CHECK(end.said.find("task_test.cpp") != std::string::npos);
  CHECK(end.said.find("already awaited") != std::string::npos);
}

TEST_CASE(
    "task: giving one that was awaited before to as_outcome, or_fail, spawn or all ends the process, too") {
  const auto said = [](auto misuse) {
    const process_end end = in_process([&misuse] {
      b::testing::test_loop loop;
      loop.run([](auto& use) -> b::task<> {
        b::task<int> once = gives(1);
        co_await std::move(once);
        co_await use(once);
      }(misuse));
      return 0;
    });
    return end.signal == SIGABRT ? end.said : "not aborted";
  };
  CHECK(said([](b::task<int>& used) -> b::task<> {
          static_cast<void>(co_await b::as_outcome(std::move(used)));
        }).find("already awaited") != std::string::npos);
  CHECK(said([](b::task<int>& used) -> b::task<> {
          co_await b::or_fail(std::move(used));
        }).find("already awaited") != std::string::npos);
  CHECK(said([](b::task<int>& used) -> b::task<> {
          co_await b::all(std::move(used));
        }).find("already awaited") != std::string::npos);
  CHECK(said([](b::task<int>& used) -> b::task<> {
          co_await b::with_timeout(1s, std::move(used));
        }).find("already awaited") != std::string::npos);
}

TEST_CASE("task_function: holds callables with captures, and says when it is empty") {
  b::testing::test_loop loop;
  int base = 10;
  const b::task_function<b::task<int>(int)> add = [&base](int more) -> b::task<int> {
    co_return base + more;
  };
  CHECK(static_cast<bool>(add));
  CHECK(loop.run(add(5)) == 15);
  const b::task_function<b::task<int>(int)> none;
  CHECK(!none);
  CHECK_THROWS_AS(static_cast<void>(none(1)), b::misuse_error);
}
