// SPDX-License-Identifier: Apache-2.0
// Values that tasks inherit.

#include <belay/core/all.hpp>
#include <belay/core/task_local.hpp>
#include <belay/core/thread.hpp>
#include <belay/testing/everywhere.hpp>
#include <doctest/doctest.h>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task_local<std::string> user{"user"};
b::task_local<int> depth{"depth"};

b::task<std::string> who(b::duration after = 0s) {
  co_await b::sleep_for(after);
  co_return user.value_or("nobody");
}

template <class F>
void in_loop(F body) {
  b::testing::test_loop loop;
  loop.run(body());
  CHECK(loop.nothing_left());
}

}  // namespace

TEST_CASE("task_local: holds below `with`, is covered further in, and is gone afterwards [row 15]") {
  in_loop([]() -> b::task<> {
    CHECK(user.find() == nullptr);
    CHECK(co_await user.with("ada", who()) == "ada");
    const auto nested = []() -> b::task<> {
      CHECK(user.get() == "ada");
      CHECK(co_await user.with("bob", who(1s)) == "bob");
      CHECK(user.get() == "ada");
      CHECK(depth.find() == nullptr);
      const auto both = []() -> b::task<int> {
        CHECK(user.get() == "ada");
        co_return depth.get();
      };
      CHECK(co_await depth.with(3, both()) == 3);
    };
    co_await user.with("ada", nested());
    CHECK(user.find() == nullptr);
  });
}

TEST_CASE(
    "task_local: children get what holds where they are spawned, siblings do not see each other's [row 15]") {
  in_loop([]() -> b::task<> {
    const auto body = []() -> b::task<> {
      co_await b::with_group([](b::group& g) -> b::task<> {
        b::child<std::string> inherits = g.spawn(who, 1s);
        b::child<std::string> own =
            g.spawn([]() -> b::task<std::string> { co_return co_await user.with("bob", who(1s)); });
        CHECK(co_await inherits == "ada");
        CHECK(co_await own == "bob");
      });
      auto [x, y] = co_await b::all(who(1s), user.with("eve", who(1s)));
      CHECK(x == "ada");
      CHECK(y == "eve");
    };
    co_await user.with("ada", body());
  });
}

TEST_CASE(
    "task_local: a task that is spawned into another's group inherits from its spawner, not from the owner [row 15]") {
  in_loop([]() -> b::task<> {
    std::vector<std::string> seen;
    const auto owner = [](std::vector<std::string>& out) -> b::task<> {
      co_await b::with_group([&out](b::group& g) -> b::task<> {
        const auto notes = [](std::vector<std::string>& into) -> b::task<> {
          into.push_back(co_await who(5s));
        };
        const auto spawns = [](b::group& into, std::vector<std::string>& to, auto what) -> b::task<> {
          into.spawn(what, std::ref(to));
          co_return;
        };
        co_await user.with("request 1", spawns(g, out, notes));
        co_await user.with("request 2", spawns(g, out, notes));
        g.spawn(notes, std::ref(out));
        co_return;
      });
    };
    co_await user.with("server", owner(seen));
    CHECK(seen == std::vector<std::string>{"request 1", "request 2", "server"});
    seen.clear();
    co_await owner(seen);
    CHECK(seen == std::vector<std::string>{"request 1", "request 2", "nobody"});
  });
}

TEST_CASE(
    "task_local: functions on threads see the caller's values, the next call on the same thread does not [row 16]") {
  b::loop_options options;
  options.blocking_threads = 1;
  b::testing::test_loop loop(std::move(options));
  loop.run([]() -> b::task<> {
    const auto ask = []() -> b::task<std::string> {
      co_return co_await b::to_thread([] { return user.value_or("nobody"); });
    };
    CHECK(co_await user.with("ada", ask()) == "ada");
    CHECK(co_await ask() == "nobody");
    CHECK(co_await user.with("bob", ask()) == "bob");
  }());
}

TEST_CASE("task_local: asked for without a value, it names itself; outside of tasks there is none") {
  CHECK(user.find() == nullptr);
  CHECK(user.value_or("nobody") == "nobody");
  try {
    static_cast<void>(depth.get());
    FAIL("there is a value");
  } catch (const b::misuse_error& e) {
    CHECK(std::string(e.what()) == "task_local 'depth' has no value here; run this below task_local::with");
  }
}

TEST_CASE("task_local: whatever await is hit, values are destroyed with the last task that has them") {
  struct counted_value {
    explicit counted_value(int& live) : here(live) {}
    counted here;
  };
  static b::task_local<counted_value> tracked{"tracked"};
  const auto found = b::testing::everywhere(
      [](b::testing::stage& s) -> b::task<> {
        int& live = s.make<int>(0);
        s.expect("no value is left", [&live] { return live == 0; });
        co_await b::with_group([&live](b::group& g) -> b::task<> {
          const auto spawns = [](b::group& into) -> b::task<> {
            into.spawn(naps, 2s);
            co_await naps(1s);
          };
          co_await tracked.with(counted_value(live), spawns(g));
          CHECK(tracked.find() == nullptr);
        });
      },
      {.schedules = 3});
  CHECK_MESSAGE(found.ok(), found.text());
}
