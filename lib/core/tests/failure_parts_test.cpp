// SPDX-License-Identifier: Apache-2.0
// Several errors at once: which are kept, how they are told apart, taken apart, and what becomes of each.

#include <belay/core/all.hpp>
#include <belay/core/error.hpp>
#include <belay/core/exit_stack.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

struct key_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct value_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class E>
b::failure make(std::string words) {
  b::failure made = b::failure::of(std::make_exception_ptr(E(words)));
  made.observe();
  return made;
}

// "first(second third(fourth))": a failure with what is attached.
std::string shape(const b::failure& what) {
  std::string text = what.message();
  const auto attached = what.attached();
  if (attached.empty()) return text;
  for (std::size_t i = 0; i < attached.size(); ++i) text += (i == 0 ? "(" : " ") + shape(attached[i]);
  return text + ")";
}

template <class E>
b::task<> fails_with(std::string words, b::duration after = 1s) {
  co_await b::sleep_for(after);
  throw E(words);
}
b::task<> key_and_values() {
  co_await b::with_group([](b::group& g) -> b::task<> {
    g.spawn(fails_with<key_error>, std::string("k"), 1s);
    g.spawn(fails_with<value_error>, std::string("v1"), 1s);
    g.spawn(fails_with<value_error>, std::string("v2"), 1s);
    co_return;
  });
}

}  // namespace

TEST_CASE("split: takes a tree apart, the nesting kept, nothing empty left [row 255]") {
  b::failure top = make<value_error>("v1");
  b::failure middle = make<key_error>("k1");
  middle.attach(make<value_error>("v2"));
  middle.attach(make<key_error>("k2"));
  top.attach(middle);
  top.attach(make<key_error>("k3"));
  top.attach(make<value_error>("v3"));
  top.note("a note");
  const auto [keys, rest] = top.split<key_error>();
  CHECK(shape(keys) == "k1(k2 k3)");
  CHECK(shape(rest) == "v1(v2 v3)");
  CHECK(rest.notes().size() == 1);
  CHECK(rest.exception() == top.exception());
  CHECK(keys.exception() == middle.exception());
  rest.observe();
  CHECK(shape(top) == "v1(k1(v2 k2) k3 v3)");  // as it was
}

TEST_CASE("split: all of them or none: the failure itself, and no other [row 255]") {
  b::failure top = make<key_error>("k1");
  top.attach(make<key_error>("k2"));
  const b::failure_parts all = top.split<std::runtime_error>();
  CHECK(all.matching == top);
  CHECK(!all.rest);
  const b::failure_parts none = top.split<value_error>();
  CHECK(!none.matching);
  CHECK(none.rest == top);
  top.observe();
  const b::failure_parts empty = b::failure().split<key_error>();
  CHECK(!empty.matching);
  CHECK(!empty.rest);
}

TEST_CASE(
    "split: a handler for some, the rest is rethrown and caught outside, with its story [row 255] [row 256]") {
  b::testing::test_loop loop;
  int handled = 0;
  auto handles_keys = [&handled]() -> b::task<> {
    try {
      co_await key_and_values();
    } catch (...) {
      const auto [keys, rest] = b::current_failure().split<key_error>();
      if (keys) ++handled;  // once, for all of them
      if (rest) rest.rethrow();
    }
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
      FAIL("no error");
    } catch (const value_error& e) {
      CHECK(std::string(e.what()) == "v1");
      const b::failure what = b::current_failure();
      CHECK(shape(what) == "v1(v2)");
      CHECK(what.trace().size() >= 2);
    }
  }(handles_keys));
  CHECK(handled == 1);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("split: the rest has the same first error as the whole, but is told apart from it [row 256]") {
  b::testing::test_loop loop;
  auto drops_values = []() -> b::task<> {
    try {
      co_await key_and_values();
    } catch (...) {
      const auto [values, rest] = b::current_failure().split<value_error>();
      CHECK(shape(values) == "v1(v2)");
      rest.rethrow();
    }
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const key_error&) {
      CHECK(shape(b::current_failure()) == "k");
    }
  }(drops_values));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("split: a rest that nobody throws or looks at, goes to the sink [row 256]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await key_and_values();
    } catch (...) {
      CHECK(b::current_failure().split<key_error>().matching);
    }
    co_await b::yield();
  }());
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("value_error: v1") != std::string::npos);
  CHECK(loop.lost_errors()[0].find("value_error: v2") != std::string::npos);
  CHECK(loop.lost_errors()[0].find("key_error") == std::string::npos);
}

TEST_CASE("split: a hundred thousand beside each other and below each other, without recursion [row 30]") {
  b::failure wide = make<value_error>("first");
  for (int i = 0; i < 100'000; ++i) wide.attach(i % 2 == 0 ? make<key_error>("k") : make<value_error>("v"));
  {
    const auto [keys, rest] = wide.split<key_error>();
    CHECK(keys.attached().size() == 49'999);
    CHECK(rest.attached().size() == 50'000);
    rest.observe();
  }
  b::failure deep = make<value_error>("deepest");
  for (int i = 0; i < 100'000; ++i) {
    b::failure outer = i % 2 == 0 ? make<key_error>("k") : make<value_error>("v");
    outer.attach(std::move(deep));
    deep = std::move(outer);
  }
  const auto [keys, rest] = deep.split<key_error>();
  CHECK(keys.flatten().size() == 50'000);
  CHECK(rest.flatten().size() == 50'001);
}

TEST_CASE(
    "failure: a chain of 100,000 replaced errors, each built in a handler, made by awaiting tasks [row 30]") {
  b::testing::test_loop loop;
  struct chain {
    static b::task<> down(int n) {
      if (n == 0) throw boom("deepest");
      try {
        co_await down(n - 1);
      } catch (const std::exception&) {
        throw b::error("level");
      }
    }
  };
  loop.run([]() -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(chain::down(100'000));
    const b::failure what = how.failure();
    CHECK(what.flatten().size() == 100'001);
    CHECK(what.find<boom>() != nullptr);
    CHECK(b::describe(what).size() < 32'000);
    CHECK(b::to_json(what).size() < 256'000);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("failure: nested by std::throw_with_nested, is the cause, also for foreign types [row 258]") {
  b::testing::test_loop loop;
  auto converts = []() -> b::task<> {
    try {
      co_await fails("below");
    } catch (const boom&) {
      std::throw_with_nested(value_error("above"));
    }
  };
  loop.run([](auto& call) -> b::task<> {
    try {
      co_await call();
    } catch (const value_error&) {
      const b::failure what = b::current_failure();
      CHECK(what.cause().message() == "below");
      CHECK(what.find<boom>() != nullptr);
      CHECK(what.flatten().size() == 2);
      CHECK(b::describe(what).find("replaced: core_tests::boom: below") != std::string::npos);
    }
  }(converts));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "failure: two branches that fail together are beside each other, whichever comes first, never one replaced by the other [row 248]") {
  for (const bool other_way : {false, true}) {
    b::testing::test_loop loop;
    loop.run([](bool swap) -> b::task<> {
      auto both = [](bool turned) -> b::task<> {
        co_await b::with_group([turned](b::group& g) -> b::task<> {
          if (turned) g.spawn(fails_with<value_error>, std::string("b"), 1s);
          g.spawn(fails_with<key_error>, std::string("a"), 1s);
          if (!turned) g.spawn(fails_with<value_error>, std::string("b"), 1s);
          co_return;
        });
      };
      b::outcome<void> how = co_await b::as_outcome(both(swap));
      const b::failure what = how.failure();
      REQUIRE(what.flatten().size() == 2);
      CHECK(what.find<key_error>() != nullptr);
      CHECK(what.find<value_error>() != nullptr);
      CHECK(!what.cause());
      CHECK(!what.attached()[0].cause());
    }(other_way));
  }
}

TEST_CASE(
    "failure: what happened while handling is a cause, what happened besides is attached: the two are kept apart [row 248] [row 250]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto work = []() -> b::task<> {
      co_await b::finally(
          []() -> b::task<> {
            try {
              co_await fails("original");
            } catch (const boom&) {
              throw b::error("translated");
            }
          },
          []() -> b::task<> { co_await fails("cleanup"); });
    };
    b::outcome<void> how = co_await b::as_outcome(work());
    const b::failure what = how.failure();
    CHECK(what.message() == "translated");
    CHECK(what.cause().message() == "original");
    REQUIRE(what.attached().size() == 1);
    CHECK(what.attached()[0].message() == "cleanup");
    // The tree as a list: first itself, then what is attached, then what was replaced.
    std::string list;
    for (const b::failure& one : what.flatten()) list += one.message() + " ";
    CHECK(list == "translated cleanup original ");
  }());
}

TEST_CASE(
    "failure: no failure attached changes nothing; what is attached again, or to one that has it below, is there once [row 249]") {
  b::failure one = make<key_error>("one");
  one.attach(b::failure());
  CHECK(shape(one) == "one");
  b::failure two = make<key_error>("two");
  b::failure three = make<key_error>("three");
  b::failure none;
  none.attach(two);
  CHECK(!none);
  // (one + two) + three has the same members as one + (two + three).
  b::failure left = make<key_error>("one");
  left.attach(two);
  left.attach(three);
  left.attach(two);
  CHECK(shape(left) == "one(two three)");
  b::failure right = make<key_error>("one");
  two.attach(three);
  right.attach(two);
  CHECK(right.flatten().size() == 3);
}

TEST_CASE("failure: an expected error, a bug and an interruption can be told apart [row 251]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto expected = []() -> b::task<> {
      co_await b::fail(b::error(b::error_kind::not_found, "no_user", "user 7"));
    };
    auto defect = []() -> b::task<> {
      static_cast<void>(std::vector<int>().at(3));
      co_return;
    };
    b::outcome<void> typed = co_await b::as_outcome(expected());
    const b::failure known = typed.failure();
    REQUIRE(known.find<b::error>() != nullptr);
    CHECK(known.find<b::error>()->kind() == b::error_kind::not_found);
    b::outcome<void> bug = co_await b::as_outcome(defect());
    const b::failure unknown = bug.failure();
    CHECK(unknown.find<b::error>() == nullptr);
    CHECK(unknown.find<std::out_of_range>() != nullptr);
    co_await b::with_group([](b::group& g) -> b::task<> {
      b::child<void> one = g.spawn(naps, 9s);
      co_await b::yield();
      one.cancel(b::cancel_reason::overload);
      const b::outcome<void>& how = co_await b::as_outcome(one);
      CHECK(how.cancelled());
      CHECK(!how.failure());
      CHECK(how.cancellation().reason() == b::cancel_reason::overload);
    });
  }());
}

TEST_CASE("failure: handled or not is known of each: only what went to the sink is lost [row 246]") {
  std::vector<bool> lost;
  std::vector<std::string> json;
  b::loop_options options;
  options.on_lost_failure = [&](const b::failure& what) {
    lost.push_back(what.lost());
    json.push_back(b::to_json(what));
  };
  b::loop loop(std::move(options));
  loop.run([&]() -> b::task<> {
    try {
      co_await fails("caught");
    } catch (const boom&) {
      CHECK(!b::current_failure().lost());
      CHECK(b::to_json(b::current_failure()).find("\"handled\":true") != std::string::npos);
    }
    b::outcome<int> dropped = co_await b::as_outcome(fails("dropped"));
  }());
  CHECK(lost == std::vector<bool>{true});
  REQUIRE(json.size() == 1);
  CHECK(json[0].find("\"handled\":false") != std::string::npos);
}

TEST_CASE(
    "failure: an attached error that nobody looked at reaches the sink, also deep below a failure that was handled [row 172]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto work = []() -> b::task<> {
      co_await b::finally([]() -> b::task<> { co_await fails("body"); },
                          []() -> b::task<> { co_await key_and_values(); });
    };
    try {
      co_await work();
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "body");
    }
    co_await b::yield();
  }());
  // The error of the cleanup, with those attached to it, in one report.
  REQUIRE(loop.lost_errors().size() == 1);
  for (const char* words : {"key_error: k", "value_error: v1", "value_error: v2"})
    CHECK(loop.lost_errors()[0].find(words) != std::string::npos);
}

TEST_CASE("failure: error while being cancelled, kept with who had cancelled [row 98]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto work = []() -> b::task<> {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn([]() -> b::task<> {
          co_await b::finally([]() -> b::task<> { co_await b::sleep_for(9s); },
                              []() -> b::task<> { co_await fails("cleanup"); });
        });
        co_await b::yield();
        g.cancel(b::cancel_reason::shutdown);
      });
    };
    b::outcome<void> how = co_await b::as_outcome(work());
    const b::failure what = how.failure();
    CHECK(what.message() == "cleanup");
    REQUIRE(!what.notes().empty());
    CAPTURE(what.notes()[0]);
    CHECK(what.notes()[0].find("during cleanup after: cancelled by with_group at failure_parts_test.cpp:") ==
          0);
    CHECK(what.notes()[0].find("shutdown") != std::string::npos);
  }());
}

TEST_CASE(
    "cleanup: errors of closing go through the awaited close; destructors close at once, cannot fail, and report nothing away [row 263]") {
  static_assert(std::is_nothrow_destructible_v<b::task<int>>);
  static_assert(std::is_nothrow_destructible_v<b::managed<int>>);
  static_assert(std::is_nothrow_destructible_v<b::child<int>>);
  static_assert(std::is_nothrow_destructible_v<b::group>);
  static_assert(std::is_nothrow_destructible_v<b::exit_stack>);
  static_assert(std::is_nothrow_destructible_v<b::permit>);
  static_assert(std::is_nothrow_destructible_v<b::mutex_guard>);
  static_assert(std::is_nothrow_destructible_v<b::failure>);
  static_assert(std::is_nothrow_destructible_v<b::outcome<int>>);
  b::testing::test_loop loop;
  int closed = 0;
  auto fails_to_close = [](int& count) -> b::managed<int> {
    co_yield 1;
    ++count;
    throw boom("close");
  };
  {
    const b::managed<int> dropped = fails_to_close(closed);  // never opened: no code of it runs
  }
  CHECK(closed == 0);
  auto block = [](int&) -> b::task<> { co_return; };
  CHECK_THROWS_WITH_AS(loop.run(b::with(fails_to_close(closed), block)), "close", boom);
  CHECK(closed == 1);
  // A failure that is dropped by a destructor, while another error unwinds, goes to the sink.
  auto drops = []() -> b::task<> {
    b::outcome<int> nobody_looks = co_await b::as_outcome(fails("dropped"));
    throw boom("other");
  };
  CHECK_THROWS_WITH_AS(loop.run(drops()), "other", boom);
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("boom: dropped") != std::string::npos);
}

TEST_CASE(
    "split: of very many that are attached, in their order, and without looking each up among the others") {
  b::failure top = make<value_error>("top");
  constexpr int many = 100'000;
  for (int i = 0; i < many; ++i)
    top.attach(i % 100 == 0 ? make<key_error>(std::to_string(i)) : make<value_error>("v"));
  const auto [keys, rest] = top.split<key_error>();
  rest.observe();
  REQUIRE(keys.attached().size() == many / 100 - 1);
  CHECK(keys.message() == "0");
  CHECK(keys.attached()[0].message() == "100");
  CHECK(keys.attached().back().message() == std::to_string(many - 100));
  CHECK(rest.attached().size() == many - many / 100);
}
