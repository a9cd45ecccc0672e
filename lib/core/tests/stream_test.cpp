// SPDX-License-Identifier: Apache-2.0
#include <belay/core/stream.hpp>

#include <belay/core/finally.hpp>
#include <belay/core/task_local.hpp>
#include <belay/core/task_tree.hpp>
#include <doctest/doctest.h>
#include <exception>
#include <memory>
#include <optional>
#include <thread>

#include "support.hpp"

using namespace core_tests;
using belay::testing::test_loop;

namespace {

b::stream<int> counts(int from, int to) {
  for (int i = from; i < to; ++i) co_yield i;
}
b::stream<int> counts_slowly(int from, int to) {
  for (int i = from; i < to; ++i) {
    co_await b::sleep_for(1s);
    co_yield i;
  }
}
// Items out of a resource that takes a second to close.
b::stream<int> from_resource(trail& out, int count) {
  const farewell last(out, "locals gone");
  const int& first = co_await b::use(resource(out, "source", 0s, 1s));
  for (int i = 0; i < count; ++i) {
    co_await b::sleep_for(1s);
    co_yield first + i;
  }
  out.push_back("ran to its end");
}
b::stream<int> fails_after_two() {
  co_yield 1;
  co_yield 2;
  throw boom("no third");
}
b::stream<int> nested(int depth) {
  if (depth == 0) {
    for (int i = 0; i < 3; ++i) co_yield i;
    co_return;
  }
  b::open_stream<int>& inner = co_await b::use(nested(depth - 1));
  while (const int* item = co_await inner.next()) co_yield *item;
}
b::task<std::vector<int>> drain(b::open_stream<int>& items) {
  std::vector<int> got;
  while (const int* item = co_await items.next()) got.push_back(*item);
  co_return got;
}
b::task<int> one(b::open_stream<int>& items) {
  const int* item = co_await items.next();
  co_return item != nullptr ? *item : -1;
}

const std::vector<int> zero_to_two{0, 1, 2};
const trail closed_early{"open source", "close source: cancelled", "closed source", "locals gone"};

}  // namespace

TEST_CASE("stream: gives the items in order, then null, and again null") {
  test_loop loop;
  loop.run(b::with(counts(0, 3), [](b::open_stream<int>& items) -> b::task<> {
    CHECK(co_await drain(items) == zero_to_two);
    CHECK(items.ended());
    const int* none = co_await items.next();
    CHECK(none == nullptr);
  }));
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("stream: may wait between items; use, for_each and to_vector") {
  test_loop loop;
  auto all = []() -> b::task<> {
    b::open_stream<int>& items = co_await b::use(counts_slowly(0, 3));
    CHECK(co_await drain(items) == zero_to_two);
    int sum = 0;
    co_await b::for_each(counts_slowly(0, 3), [&sum](int item) { sum += item; });
    co_await b::for_each(counts_slowly(0, 3), [&sum](int& item) -> b::task<> {
      co_await b::sleep_for(1s);
      sum += item;
    });
    CHECK(sum == 6);
    CHECK(co_await b::to_vector(counts_slowly(0, 3)) == zero_to_two);
    CHECK((co_await b::to_vector(counts(0, 0))).empty());
  };
  loop.run(all());
  CHECK(loop.elapsed() == 15s);
}

TEST_CASE("stream: is lazy; dropped unopened it runs no code and destroys its arguments once") {
  test_loop loop;
  trail out;
  int live = 0;
  auto keeps = [](trail& to, counted) -> b::stream<int> {
    to.push_back("ran");
    co_yield 1;
  };
  {
    b::stream<int> dropped = keeps(out, counted(live));
    CHECK(live == 1);
    b::stream<int> moved = std::move(dropped);
    CHECK(live == 1);
  }
  CHECK(live == 0);
  loop.run(b::with(keeps(out, counted(live)), [](b::open_stream<int>&) -> b::task<> { co_return; }));
  CHECK(live == 0);
  CHECK(out.empty());
}

TEST_CASE("stream: items are handed over without a copy; constants are copied; move-only and const items") {
  test_loop loop;
  auto addresses = [](const std::string*& at) -> b::stream<std::string> {
    std::string mine = "a";
    at = &mine;
    co_yield mine;
    CHECK(mine == "changed");
    const std::string constant = "b";
    at = &constant;
    co_yield constant;
    CHECK(constant == "b");
    co_yield "c";
  };
  const std::string* at = nullptr;
  loop.run(b::with(addresses(at), [&at](b::open_stream<std::string>& items) -> b::task<> {
    std::string* item = co_await items.next();
    CHECK(item == at);
    *item = "changed";
    item = co_await items.next();
    CHECK(item != at);
    *item = "other";
    item = co_await items.next();
    CHECK(*item == "c");
  }));
  auto boxes = []() -> b::stream<std::unique_ptr<int>> {
    co_yield std::make_unique<int>(1);
    auto kept = std::make_unique<int>(2);
    co_yield kept;
    CHECK(kept == nullptr);
  };
  CHECK(*loop.run(b::to_vector(boxes())).at(1) == 2);
  auto views = [](const std::vector<int>& of) -> b::stream<const int> {
    for (const int& each : of) co_yield each;
  };
  loop.run(b::with(views(zero_to_two), [](b::open_stream<const int>& items) -> b::task<> {
    const int* first = co_await items.next();
    CHECK(first == zero_to_two.data());
  }));
}

TEST_CASE("stream: to_vector copies the variables of the generator, which goes on with them") {
  test_loop loop;
  auto prefixes = [](std::string of) -> b::stream<std::string> {
    std::string prefix;
    for (const char c : of) {
      prefix += c;
      co_yield prefix;
    }
  };
  CHECK(loop.run(b::to_vector(prefixes("abc"))) == std::vector<std::string>{"a", "ab", "abc"});
}

TEST_CASE("stream: run to its end, its resources close before next says that there is no more") {
  test_loop loop;
  trail out;
  loop.run(b::with(from_resource(out, 2), [&out](b::open_stream<int>& items) -> b::task<> {
    co_await drain(items);
    out.push_back("no more");
  }));
  CHECK(out == trail{"open source", "ran to its end", "locals gone", "close source: succeeded",
                     "closed source", "no more"});
}

TEST_CASE("stream: left early by break, its cleanup is awaited before the block's awaiter goes on") {
  test_loop loop;
  trail out;
  auto leaves = [](trail& to) -> b::task<int> {
    const int got = co_await b::with(from_resource(to, 9), [](b::open_stream<int>& items) -> b::task<int> {
      while (const int* item = co_await items.next()) {
        if (*item == 8) co_return *item;
      }
      co_return 0;
    });
    to.push_back("after");
    co_return got;
  };
  CHECK(loop.run(leaves(out)) == 8);
  trail expected = closed_early;
  expected.push_back("after");
  CHECK(out == expected);
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("stream: left by an error of the loop body, which stays the error and is told as the cause") {
  test_loop loop;
  trail out;
  b::cancel_record told;
  auto source = [](b::cancel_record& why) -> b::managed<int> {
    int value = 0;
    const b::exit_status how = co_yield value;
    why = how.cancellation();
  };
  auto items = [&source](b::cancel_record& why) -> b::stream<int> {
    co_await b::use(source(why));
    co_yield 1;
  };
  CHECK_THROWS_WITH_AS(loop.run(b::for_each(items(told), [](int) { throw boom("in the loop"); })),
                       "in the loop", boom);
  REQUIRE(told);
  CHECK(told.cause().message() == "in the loop");
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("stream: left by a cancellation between two items and within the generator") {
  for (const b::duration limit : {1500ms, 2500ms}) {
    test_loop loop;
    trail out;
    auto slow_consumer = [](trail& to) -> b::task<> {
      co_await b::for_each(from_resource(to, 9), [](int) -> b::task<> { co_await b::sleep_for(1s); });
    };
    CHECK_THROWS_AS(loop.run(b::with_timeout(limit, slow_consumer(out))), b::timeout_error);
    CHECK(out == closed_early);
    CHECK(loop.elapsed() == limit + 1s);
    CHECK(loop.live_tasks() == 0);
  }
}

TEST_CASE("stream: of use, left by break, is open until its coroutine ends, or close") {
  test_loop loop;
  trail out;
  auto uses = [](trail& to, bool closes) -> b::task<> {
    b::open_stream<int>& items = co_await b::use(from_resource(to, 9));
    while (co_await items.next() != nullptr) break;
    if (closes) {
      co_await items.close();
      co_await items.close();
      CHECK(items.ended());
    }
    to.push_back("the end of the coroutine");
  };
  loop.run(uses(out, false));
  trail expected = closed_early;
  expected.insert(expected.begin() + 1, "the end of the coroutine");
  CHECK(out == expected);
  out.clear();
  loop.run(uses(out, true));
  expected = closed_early;
  expected.push_back("the end of the coroutine");
  CHECK(out == expected);
}

TEST_CASE("stream: a failing cleanup of a stream that is left is attached to the error, or is the error") {
  test_loop loop;
  auto broken = []() -> b::managed<int> {
    int value = 0;
    co_yield value;
    throw boom("closing");
  };
  auto items = [&broken]() -> b::stream<int> {
    co_await b::use(broken());
    co_yield 1;
    co_yield 2;
  };
  auto leave = [](b::open_stream<int>& all) -> b::task<int> { co_return co_await one(all); };
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::with(items(), leave))), "closing", boom);
  auto catches = [&]() -> b::task<> {
    try {
      co_await b::for_each(items(), [](int) { throw boom("in the loop"); });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "in the loop");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "closing");
    }
    // At the end it comes out of next.
    CHECK_THROWS_WITH_AS(co_await b::for_each(items(), [](int) {}), "closing", boom);
  };
  loop.run(catches());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "stream: the cleanup of a stream that is left is bounded by the cleanup limit, each resource for itself") {
  test_loop loop({.cleanup_limit = 5s});
  trail out;
  auto items = [](trail& to) -> b::stream<int> {
    co_await b::use(resource(to, "quick", 0s, 1s));
    co_await b::use(resource(to, "hangs", 0s, 1h));
    co_yield 1;
  };
  CHECK_THROWS_AS(
      loop.run(
          b::with(items(out), [](b::open_stream<int>& all) -> b::task<int> { co_return co_await one(all); })),
      b::timeout_error);
  CHECK(out.back() == "closed quick");
  CHECK(loop.elapsed() == 6s);
}

TEST_CASE(
    "stream: an error comes out of next once, with the trace of the awaits within; then there is no more") {
  test_loop loop;
  auto items = []() -> b::stream<int> {
    co_yield 1;
    co_await fails_after(1s, "inside");
  };
  loop.run(b::with(items(), [](b::open_stream<int>& all) -> b::task<> {
    CHECK(co_await one(all) == 1);
    try {
      static_cast<void>(co_await all.next());
      FAIL("no error");
    } catch (const boom&) {
      const b::failure what = b::current_failure();
      REQUIRE(what.trace().size() >= 2);
      CHECK(what.trace()[0].line() < what.trace()[1].line());  // the await in the generator, then this one
    }
    CHECK(all.ended());
    CHECK(co_await one(all) == -1);
  }));
  loop.run(b::with(fails_after_two(), [](b::open_stream<int>& all) -> b::task<> {
    CHECK_THROWS_WITH_AS(co_await drain(all), "no third", boom);
    CHECK(co_await one(all) == -1);
  }));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("stream: fail in the generator comes out of next too") {
  test_loop loop;
  auto items = [](trail& to) -> b::stream<int> {
    co_await b::use(resource(to, "r"));
    co_yield 1;
    co_await b::fail(boom("failed"));
  };
  trail out;
  CHECK_THROWS_WITH_AS(loop.run(b::with(items(out),
                                        [](b::open_stream<int>& all) -> b::task<> {
                                          CHECK(co_await one(all) == 1);
                                          static_cast<void>(co_await all.next());
                                        })),
                       "failed", boom);
  CHECK(out == trail{"open r", "close r: failed", "closed r"});
}

TEST_CASE("stream: a loop over items that need no waiting ends when it is cancelled [row 53]") {
  test_loop loop;
  int seen = 0;
  auto endless = []() -> b::stream<int> {
    for (int i = 0;; ++i) co_yield i;
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await b::for_each(endless(), [&](int item) {
      seen = item;
      if (item == 100) g.cancel();
    });
  }));
  CHECK(seen == 100);
}

TEST_CASE(
    "stream: a limit around one step cuts the stream, not the consumer, and is never taken for its end [row 68]") {
  test_loop loop;
  trail out;
  auto limits = [](trail& to) -> b::task<> {
    b::open_stream<int>& items = co_await b::use(from_resource(to, 9));
    CHECK(co_await b::with_timeout(2s, one(items)) == 7);
    const auto late = co_await b::move_on_after(500ms, one(items));
    CHECK(!late);
    CHECK(to == closed_early);  // already here
    try {
      static_cast<void>(co_await items.next());
      FAIL("no error");
    } catch (const b::child_cancelled& e) {
      CHECK(std::string(e.what()).find("cut short") != std::string::npos);
      CHECK(std::string(e.what()).find("move_on_after") != std::string::npos);
    }
    co_await b::sleep_for(10s);  // nothing of what was open in the generator acts on the consumer
    to.push_back("goes on");
  };
  loop.run(limits(out));
  CHECK(out.back() == "goes on");
  CHECK(loop.elapsed() == 12500ms);
}

TEST_CASE(
    "stream: limits and groups within a step end with it; while the generator rests, no timer is left [row 68]") {
  test_loop loop;
  auto items = []() -> b::stream<int> {
    for (int i = 0; i < 3; ++i) {
      int got = 0;
      co_await b::with_timeout(2s, b::with_group([&got](b::group& g) -> b::task<> {
                                 got = co_await g.spawn(gives_after, 1s, 5);
                               }));
      co_yield got;
    }
  };
  int seen = 0;
  loop.run(b::for_each(items(), [&](int) -> b::task<> {
    CHECK(b::current_deadline() == b::time_point::max());
    co_await b::sleep_for(1h);
    ++seen;
  }));
  CHECK(seen == 3);
}

TEST_CASE("stream: each step runs under the deadline and the task_locals of whoever waits for it") {
  test_loop loop;
  static const b::task_local<int> level("level");
  auto items = []() -> b::stream<int> {
    for (;;) co_yield level.value_or(0);
  };
  loop.run(b::with(items(), [](b::open_stream<int>& all) -> b::task<> {
    CHECK(co_await one(all) == 0);
    CHECK(co_await level.with(3, one(all)) == 3);
    CHECK(co_await one(all) == 0);
  }));
}

TEST_CASE("stream: next from a second task while one waits is misuse, and harms nothing") {
  test_loop loop;
  loop.run(b::with(counts_slowly(0, 3), [](b::open_stream<int>& items) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<int> first = g.spawn(one, std::ref(items));
      co_await b::yield();
      CHECK_THROWS_AS(static_cast<void>(co_await items.next()), b::misuse_error);
      CHECK_THROWS_AS(co_await items.close(), b::misuse_error);
      CHECK(co_await first == 0);
    });
    CHECK(co_await drain(items) == std::vector<int>{1, 2});  // another task may go on with it
    co_await items.close();
    CHECK_THROWS_WITH_AS(static_cast<void>(co_await items.next()), "open_stream::next: the stream was closed",
                         b::misuse_error);
  }));
}

TEST_CASE("stream: next on another thread is misuse, and harms nothing") {
  test_loop loop;
  loop.run(b::with(counts(0, 3), [](b::open_stream<int>& items) -> b::task<> {
    std::thread([&items] {
      test_loop other;
      CHECK_THROWS_AS(static_cast<void>(other.run(one(items))), b::misuse_error);
    }).join();
    CHECK(co_await drain(items) == zero_to_two);
  }));
}

TEST_CASE("stream: may be built on another one") {
  test_loop loop;
  trail out;
  auto evens = [](trail& to) -> b::stream<int> {
    b::open_stream<int>& all = co_await b::use(from_resource(to, 9));
    while (const int* item = co_await all.next()) {
      if (*item % 2 == 0) co_yield *item;
    }
  };
  CHECK(loop.run(b::with(
            evens(out), [](b::open_stream<int>& all) -> b::task<int> { co_return co_await one(all); })) == 8);
  CHECK(out == closed_early);
}

TEST_CASE("stream: a task that waits in one shows the awaits within the generator in the task tree") {
  test_loop loop;
  std::vector<b::task_info> seen;
  auto looks = [&]() -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      auto drains = []() -> b::task<> { co_await b::for_each(counts_slowly(0, 3), [](int) {}); };
      g.spawn(drains);
      co_await b::sleep_for(1500ms);
      seen = b::live_tasks();
    });
  };
  loop.run(looks());
  REQUIRE(seen.size() == 2);
  const std::string text = b::describe(seen);
  CHECK(text.find("counts_slowly") != std::string::npos);
  CHECK(text.find("waits for a timer") != std::string::npos);
}

TEST_CASE("stream: a chain of thousands is stepped and closed without a deep stack") {
  test_loop loop;
  loop.run(b::with(nested(5000), [](b::open_stream<int>& all) -> b::task<> {
    CHECK(co_await one(all) == 0);
    CHECK(co_await one(all) == 1);
  }));
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("stream: a million items without waiting need no stack") {
  test_loop loop;
  std::uintptr_t low = UINTPTR_MAX;
  std::uintptr_t high = 0;
  long long sum = 0;
  loop.run(b::for_each(counts(0, 1'000'000), [&](int item) {
    const std::uintptr_t at = stack_address();
    low = std::min(low, at);
    high = std::max(high, at);
    sum += item;
  }));
  CHECK(sum == 499'999'500'000);
  CHECK(high - low < 4096);
}

TEST_CASE("stream: opened a second time or closed while a task is in next ends the process with a message") {
  const process_end twice = in_process([]() -> int {
    test_loop loop;
    b::stream<int> items = counts(0, 3);
    loop.run(b::for_each(std::move(items), [](int) {}));
    loop.run(b::for_each(std::move(items), [](int) {}));  // NOLINT(bugprone-use-after-move)
    return 0;
  });
  CHECK(!twice.exited);
  CHECK(twice.said.find("already opened") != std::string::npos);
  const process_end busy = in_process([]() -> int {
    test_loop loop;
    loop.run(b::with_group([](b::group& g) -> b::task<> {
      co_await b::with(counts_slowly(0, 3), [&g](b::open_stream<int>& items) -> b::task<> {
        g.spawn(one, std::ref(items));
        co_await b::yield();
      });
    }));
    return 0;
  });
  CHECK(!busy.exited);
  CHECK(busy.said.find("waits in its next()") != std::string::npos);
}

namespace {

struct bites {
  ~bites() noexcept(false) {
    if (std::uncaught_exceptions() == 0) throw boom("a destructor");
  }
};
b::stream<int> counts_with_bite(trail* out) {
  const bites last;
  if (out != nullptr) co_await b::use(resource(*out, "r"));
  for (int i = 0; i < 3; ++i) co_yield i;
}
b::stream<int> keeps_a_task(trail* out) {
  b::task<> later = naps(1s);
  if (out != nullptr) co_await b::use(resource(*out, "r"));
  co_yield 1;
  co_await std::move(later);
}
b::task<> takes_one(b::stream<int> from) {
  co_await b::with(std::move(from),
                   [](b::open_stream<int>& items) -> b::task<> { CHECK(co_await items.next() != nullptr); });
}

}  // namespace

TEST_CASE("stream: left early, a local's destructor throws, that is the error; with resources and without") {
  for (const bool with_resource : {false, true}) {
    CAPTURE(with_resource);
    test_loop loop;
    trail out;
    CHECK_THROWS_WITH_AS(loop.run(takes_one(counts_with_bite(with_resource ? &out : nullptr))),
                         "a destructor", boom);
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    if (with_resource) CHECK(out.back() == "closed r");
  }
}

TEST_CASE(
    "stream: left early, an unawaited task among its locals is no forgotten one; with resources and without") {
  for (const bool with_resource : {false, true}) {
    CAPTURE(with_resource);
    test_loop loop;
    trail out;
    loop.run(takes_one(keeps_a_task(with_resource ? &out : nullptr)));
    CHECK(loop.diagnostics().empty());
  }
}

TEST_CASE(
    "stream: a reader that goes without having been closed, what a local's destructor throws is reported") {
  test_loop loop;
  loop.run([]() -> b::task<> {
    b::open_stream<int> items(counts_with_bite(nullptr));
    CHECK(co_await items.next() != nullptr);
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("a destructor") != std::string::npos);
}

TEST_CASE("stream: close on the thread of another loop is misuse, and closes nothing") {
  test_loop loop;
  trail out;
  loop.run(b::with(from_resource(out, 2), [&out](b::open_stream<int>& items) -> b::task<> {
    CHECK(co_await items.next() != nullptr);
    std::thread([&items] {
      test_loop other;
      const auto closes = [](b::open_stream<int>& of) -> b::task<> { co_await of.close(); };
      CHECK_THROWS_AS(other.run(closes(items)), b::misuse_error);
    }).join();
    CHECK(out == trail{"open source"});
    CHECK(co_await items.next() != nullptr);
  }));
}
