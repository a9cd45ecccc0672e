// SPDX-License-Identifier: Apache-2.0
// map: a few at a time, results in order, the first failure cancels the rest.

#include <belay/core/finally.hpp>
#include <belay/core/map.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <numeric>
#include <ranges>
#include <string>

#include "support.hpp"

using namespace core_tests;

namespace {

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Counts how many run at the same time.
struct load {
  int now = 0;
  int most = 0;
  int begun = 0;
};
b::task<int> under(load& on, int item) {
  ++on.begun;
  const counted here(on.now);
  on.most = std::max(on.most, on.now);
  co_await b::sleep_for(std::chrono::seconds(1 + item % 3));
  co_return item * 2;
}

b::task<int> holds(int& count) {
  const counted here(count);
  co_return co_await gives_after(9s, 1);
}
// No coroutine itself: what it throws is thrown before there is a task.
struct refuses_two {
  int* live;
  BELAY_CORO_WRAPPER b::task<int> operator()(int item) const {
    if (item == 2) throw boom("no task");
    return holds(*live);
  }
};

}  // namespace

TEST_CASE("map: results in the order of the elements, not more than the limit at a time [row 176]") {
  b::testing::test_loop loop;
  load on;
  const std::vector<int> got = loop.run(
      b::map(numbers(100), [&on](int item) -> b::task<int> { co_return co_await under(on, item); }, 7));
  REQUIRE(got.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(got[static_cast<std::size_t>(i)] == i * 2);
  CHECK(on.most == 7);
  CHECK(loop.nothing_left());
}

TEST_CASE("map: the next begins as soon as one has ended") {
  b::testing::test_loop loop;
  loop.run(b::map(std::vector<b::duration>{5s, 1s, 1s, 1s, 1s, 1s}, naps, 2));
  CHECK(loop.elapsed() == 5s);
}

TEST_CASE("map: empty, gives an empty result at once; one at a time; more room than elements [row 176]") {
  b::testing::test_loop loop;
  load on;
  const auto work = [&on](int item) -> b::task<int> { co_return co_await under(on, item); };
  CHECK(loop.run(b::map(std::vector<int>(), work, 3)).empty());
  CHECK(loop.elapsed() == 0s);
  CHECK(loop.run(b::map(numbers(5), work, 1)).size() == 5);
  CHECK(on.most == 1);
  CHECK(loop.run(b::map(numbers(5), work, 1000)).size() == 5);
}

TEST_CASE("map: a limit of zero, is a misuse_error and nothing runs") {
  b::testing::test_loop loop;
  load on;
  CHECK_THROWS_AS(
      static_cast<void>(loop.run(b::map(
          numbers(3), [&on](int item) -> b::task<int> { co_return co_await under(on, item); }, 0))),
      b::misuse_error);
  CHECK(on.begun == 0);
}

TEST_CASE("map: one fails, those under way are cancelled, the rest never begins [row 185]") {
  b::testing::test_loop loop;
  std::vector<int> begun;
  int live = 0;
  const auto work = [&](int item) -> b::task<counted> {
    begun.push_back(item);
    const counted here(live);
    co_await b::sleep_for(std::chrono::seconds(1 + item));
    if (item == 1) throw boom("item 1");
    co_return here;
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::map(numbers(100), work, 2))), "item 1", boom);
  CHECK(begun == std::vector<int>{0, 1, 2});
  CHECK(live == 0);
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("map: several fail, the later ones are attached [row 131]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    const auto work = [](int item) -> b::task<int> {
      if (item == 0) co_await fails_after(1s, "first");
      co_return co_await b::finally([]() -> b::task<int> { co_return co_await gives_after(1000s, 1); },
                                    [item]() -> b::task<> {
                                      throw boom(std::to_string(item));
                                      co_return;
                                    });
    };
    try {
      static_cast<void>(co_await b::map(numbers(9), work, 3));
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "first");
      CHECK(b::current_failure().attached().size() == 2);
    }
  }());
}

TEST_CASE(
    "map: the function throws before there is a task, what has begun is cancelled and waited for [row 184]") {
  b::testing::test_loop loop;
  int live = 0;
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::map(numbers(9), refuses_two{&live}, 5))), "no task",
                       boom);
  CHECK(live == 0);
  CHECK(loop.elapsed() == 0s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("map: the range throws, that is the error [row 184]") {
  b::testing::test_loop loop;
  const auto bad = [](int i) {
    if (i == 2) throw boom("range");
    return i;
  };
  CHECK_THROWS_WITH_AS(static_cast<void>(loop.run(b::map(
                           std::views::iota(0, 9) | std::views::transform(bad),
                           [](int i) -> b::task<int> { co_return co_await gives_after(9s, i); }, 5))),
                       "range", boom);
  CHECK(loop.nothing_left());
}

TEST_CASE("map: elements are kept while their tasks run, also those that a view makes") {
  b::testing::test_loop loop;
  const auto length = [](const std::string& text) -> b::task<std::size_t> {
    co_await b::sleep_for(1s);
    co_return text.size();
  };
  const std::vector<std::string> texts{"a", std::string(100, 'b'), "ccc"};
  CHECK(loop.run(b::map(texts, length, 2)) == std::vector<std::size_t>{1, 100, 3});
  const auto makes = [](int i) { return std::string(static_cast<std::size_t>(i), 'x'); };
  CHECK(loop.run(b::map(std::views::iota(0, 50) | std::views::transform(makes), length, 5)).size() == 50);
  std::vector<int> mine = numbers(3);
  loop.run(b::map(
      std::views::all(mine),
      [](int& item) -> b::task<> {
        item += 10;
        co_return;
      },
      2));
  CHECK(mine == std::vector<int>{10, 11, 12});
  const auto refers = [](int& item) -> b::task<int&> { co_return item; };
  CHECK(&loop.run(b::map(std::views::all(mine), refers, 2))[1].get() == &mine[1]);
}

TEST_CASE("map: cancelled, those under way are waited for and the rest never begins") {
  b::testing::test_loop loop;
  load on;
  loop.run([](load& to) -> b::task<> {
    CHECK(!co_await b::move_on_after(
        1500ms,
        b::map(numbers(100), [&to](int item) -> b::task<int> { co_return co_await under(to, item); }, 2)));
  }(on));
  CHECK(on.begun == 3);
  CHECK(on.now == 0);
  CHECK(loop.nothing_left());
}

TEST_CASE("map: a hundred thousand elements, one at a time") {
  b::testing::test_loop loop;
  CHECK(loop.run(b::map(numbers(100'000), gives, 10)).back() == 99'999);
}
