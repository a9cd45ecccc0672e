// SPDX-License-Identifier: Apache-2.0
// as_outcome_or_wait: what is needed beside a task that waits is made when it first waits, and not before.

#include <belay/core/all.hpp>
#include <belay/core/detail/first_wait.hpp>
#include <belay/core/group.hpp>
#include <belay/core/timeout.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<int> at_once() { co_return 7; }
b::task<int> fails_at_once() {
  throw boom("at once");
  co_return 0;
}

}  // namespace

TEST_CASE("first wait: a task that ends at once is not waited for") {
  b::testing::test_loop loop;
  int calls = 0;
  const auto count = [&calls]() noexcept { ++calls; };
  loop.run([](const auto& on_wait) -> b::task<> {
    const b::outcome<int> good = co_await b::detail::as_outcome_or_wait(at_once(), on_wait);
    CHECK(good.succeeded());
    const b::outcome<int> bad = co_await b::detail::as_outcome_or_wait(fails_at_once(), on_wait);
    CHECK(bad.failure().message() == "at once");
  }(count));
  CHECK(calls <= 1);  // one that fails at once may look like one that waits; a value never does
  CHECK(loop.nothing_left());
}

TEST_CASE("first wait: told once, before anything else of the loop, however often the task waits") {
  b::testing::test_loop loop;
  int calls = 0;
  const auto count = [&calls]() noexcept { ++calls; };
  loop.run([](const auto& on_wait, const int& seen) -> b::task<> {
    const auto waits_often = [](const int& told) -> b::task<int> {
      CHECK(told == 0);
      for (int i = 0; i < 5; ++i) {
        co_await b::sleep_for(1s);
        CHECK(told == 1);
      }
      co_return 3;
    };
    const b::outcome<int> how = co_await b::detail::as_outcome_or_wait(waits_often(seen), on_wait);
    CHECK(b::outcome<int>(co_await b::as_outcome(at_once())).succeeded());
    CHECK(how.succeeded());
  }(count, calls));
  CHECK(calls == 1);
  CHECK(loop.nothing_left());
}

TEST_CASE("first wait: what it spawns lives beside the task, and can cancel it") {
  b::testing::test_loop loop;
  bool ended = false;
  loop.run([](bool& after) -> b::task<> {
    const b::outcome<void> how = co_await b::as_outcome(b::with_group([&after](b::group& work) -> b::task<> {
      const auto cancel_later = [](b::group& all) -> b::task<> {
        co_await b::sleep_for(2s);
        all.cancel();
      };
      const auto begin = [&]() noexcept { work.spawn(cancel_later, std::ref(work)); };
      static_cast<void>(co_await b::detail::as_outcome_or_wait(naps(1h), begin));
      after = true;
    }));
    CHECK(how.succeeded());  // the group was ended by itself
  }(ended));
  CHECK_FALSE(ended);
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.nothing_left());
}
