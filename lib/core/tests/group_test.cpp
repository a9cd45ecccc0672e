// SPDX-License-Identifier: Apache-2.0
// Groups: own their tasks, fail fast, wait for all, lose nothing.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <new>
#include <thread>

#include "support.hpp"

using namespace core_tests;

namespace {

b::task<> writes(trail& out, std::string what) {
  out.push_back(what);
  co_return;
}
b::task<> cleanup_fails_after(b::duration length, std::string words) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                      [&]() -> b::task<> {
                        co_await b::sleep_for(length);
                        throw boom(words);
                      });
}
b::task<> cleans_up(b::duration length, trail& out, std::string name) {
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1000s); },
                      [&]() -> b::task<> {
                        co_await b::sleep_for(length);
                        out.push_back(name);
                      });
}

std::vector<std::string> messages(std::span<const b::failure> of) {
  std::vector<std::string> texts;
  for (const b::failure& one : of) texts.push_back(one.message());
  return texts;
}

struct copies_badly {
  copies_badly() = default;
  copies_badly(const copies_badly&) { throw std::bad_alloc(); }
};

}  // namespace

TEST_CASE("group: spawn is deferred: the parent's next line comes first [row 2]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(writes, std::ref(out), std::string("child"));
    out.push_back("spawned");
    co_await b::yield();
    out.push_back("parent");
  }));
  CHECK(out == trail{"spawned", "child", "parent"});
}

TEST_CASE(
    "group: waits for its tasks and for those that they spawn; their handles may be dropped [row 17] [row 125] [row 152]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::group& in, trail& to) -> b::task<> {
          co_await b::sleep_for(1s);
          in.spawn(
              [](b::group& deeper, trail& t) -> b::task<> {
                co_await b::sleep_for(1s);
                deeper.spawn(writes, std::ref(t), std::string("grandchild"));  // as its last act
              },
              std::ref(in), std::ref(to));
        },
        std::ref(g), std::ref(out));
    co_return;
  }));
  CHECK(out == trail{"grandchild"});
  CHECK(loop.elapsed() == 2s);
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "group: a task that awaited the last child spawns into the group when that ended, and is waited for [row 152]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outer) -> b::task<> {
    co_await b::with_group([&](b::group& inner) -> b::task<> {
      auto last = std::make_shared<b::child<void>>(inner.spawn(naps, 1s));
      outer.spawn(
          [](b::group& into, std::shared_ptr<b::child<void>> on, trail& to) -> b::task<> {
            co_await *on;
            into.spawn(
                [](trail& t) -> b::task<> {
                  co_await b::sleep_for(1s);
                  t.push_back("late child");
                },
                std::ref(to));
          },
          std::ref(inner), last, std::ref(out));
      co_return;
    });
    out.push_back("inner ended");
  }));
  CHECK(out == trail{"late child", "inner ended"});
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "group: one task fails, the others and the body are cancelled and waited for, the error is rethrown bare [row 126] [row 127] [row 134]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    try {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(cleans_up, 5s, std::ref(to), std::string("sibling"));
        g.spawn(fails_after, 1s, std::string("first"));
        co_await b::sleep_for(100s);
        to.push_back("body went on");
      });
      to.push_back("went on");
    } catch (const boom& e) {
      to.push_back(e.what());
      CHECK(b::current_failure().attached().empty());
    }
  }(out));
  CHECK(out == trail{"sibling", "first"});
  CHECK(loop.elapsed() == 6s);
  CHECK(loop.nothing_left());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("group: the body fails, the tasks are cancelled and waited for [row 128]") {
  b::testing::test_loop loop;
  trail out;
  CHECK_THROWS_WITH_AS(loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(cleans_up, 2s, std::ref(out), std::string("child"));
    co_await b::sleep_for(1s);
    throw boom("body");
  })),
                       "body", boom);
  CHECK(out == trail{"child"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE("group: body and task fail in the same turn, both are kept once: tasks first [row 129] [row 132]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(fails_after, 1s, std::string("a"));
        g.spawn(fails_after, 1s, std::string("b"));
        co_await b::yield();
        co_await b::sleep_for(1s);
        throw boom("body");
      });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "a");
      CHECK(messages(b::current_failure().attached()) == std::vector<std::string>{"b", "body"});
    }
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "group: what fails while being cancelled is attached to the first error [row 71] [row 130] [row 131]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(cleanup_fails_after, 2s, std::string("second cleanup"));
        g.spawn(cleanup_fails_after, 1s, std::string("first cleanup"));
        g.spawn(fails_after, 1s, std::string("root"));
        co_await cleanup_fails_after(3s, "body cleanup");
      });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "root");
      const b::failure what = b::current_failure();
      CHECK(messages(what.attached()) ==
            std::vector<std::string>{"first cleanup", "second cleanup", "body cleanup"});
      REQUIRE(!what.attached()[0].notes().empty());
      CHECK(what.attached()[0].notes()[0].find("during cleanup after: cancelled by with_group") == 0);
    }
    CHECK(!b::cancel_requested());
    co_await b::sleep_for(1s);
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("group: many tasks fail in the same turn, each is there once [row 133]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        for (int i = 0; i < 10; ++i) g.spawn(fails_after, 1s, std::to_string(i));
        co_return;
      });
    } catch (const boom&) {
      CHECK(b::current_failure().flatten().size() == 10);
    }
  }());
}

TEST_CASE(
    "group: errors of an inner group pass the outer one with what is attached to them [row 135] [row 136]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(fails_after, 2s, std::string("outer child"));
        co_await b::with_group([](b::group& inner) -> b::task<> {
          inner.spawn(fails_after, 1s, std::string("a"));
          inner.spawn(cleanup_fails_after, 5s, std::string("b"));
          co_await b::sleep_for(100s);
        });
      });
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "outer child");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "a");
      CHECK(messages(what.attached()[0].attached()) == std::vector<std::string>{"b"});
      CHECK(what.flatten().size() == 3);
    }
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "group: the outer group fails while the body waits in an inner one, no noise is attached [row 136]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(fails_after, 1s, std::string("outer child"));
        co_await b::with_group([](b::group& inner) -> b::task<> {
          inner.spawn(naps, 100s);
          co_return;
        });
      });
    } catch (const boom&) {
      CHECK(b::current_failure().flatten().size() == 1);
    }
  }());
}

TEST_CASE("group: its parent is cancelled while it waits, all tasks are cancelled and waited for [row 137]") {
  b::testing::test_loop loop;
  trail out;
  auto grouped = [](trail& to) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(cleans_up, 2s, std::ref(to), std::string("a"));
      g.spawn(cleans_up, 1s, std::ref(to), std::string("b"));
      co_return;
    });
    to.push_back("went on");
  };
  loop.run([](auto& call, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(1s, call(to))); }(
                                         grouped, out));
  CHECK(out == trail{"b", "a"});
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE(
    "group: its parent is cancelled and a task fails in its cleanup, the error beats the cancellation [row 138] [row 165]") {
  b::testing::test_loop loop;
  trail out;
  auto grouped = [](trail& to) -> b::task<> {
    try {
      co_await b::with_group([](b::group& g) -> b::task<> {
        g.spawn(cleanup_fails_after, 1s, std::string("cleanup"));
        co_await b::sleep_for(100s);
      });
    } catch (const boom& e) {
      to.push_back(e.what());
    }
    co_await b::yield();  // the cancellation is not lost: it acts here
    to.push_back("went on");
  };
  loop.run([](auto& call, trail& to) -> b::task<> { CHECK(!co_await b::move_on_after(1s, call(to))); }(
                                         grouped, out));
  CHECK(out == trail{"cleanup"});
}

TEST_CASE("group: cancelled by its owner or by a task of it, ends without an error; idempotent [row 146]") {
  b::testing::test_loop loop;
  trail out;
  loop.run([](trail& to) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(cleans_up, 1s, std::ref(to), std::string("sibling"));
      g.spawn(
          [](b::group& in) -> b::task<> {
            co_await b::sleep_for(1s);
            in.cancel();
            in.cancel();
          },
          std::ref(g));
      co_await b::sleep_for(100s);
      to.push_back("body went on");
    });
    to.push_back("after");
    co_await b::yield();
  }(out));
  CHECK(out == trail{"sibling", "after"});
}

TEST_CASE(
    "group: cancelled by itself with a value wanted, gives child_cancelled; with the value there, the value [row 146]") {
  b::testing::test_loop loop;
  CHECK_THROWS_AS(static_cast<void>(loop.run(b::with_group([](b::group& g) -> b::task<int> {
                    g.cancel();
                    co_await b::yield();
                    co_return 1;
                  }))),
                  b::child_cancelled);
  CHECK(loop.run(b::with_group([](b::group& g) -> b::task<int> {
    g.spawn(naps, 9s);
    g.cancel();
    co_return 1;
  })) == 1);
}

TEST_CASE("group: cancelled by itself, a cleanup that fails is still an error [row 148]") {
  b::testing::test_loop loop;
  CHECK_THROWS_WITH_AS(loop.run(b::with_group([](b::group& g) -> b::task<> {
    g.spawn(cleanup_fails_after, 1s, std::string("cleanup"));
    co_await b::sleep_for(1s);
    g.cancel();
  })),
                       "cleanup", boom);
}

TEST_CASE("group: its own scope and its parent's are cancelled, the parent's cancellation leaves [row 166]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outer) -> b::task<> {
    co_await b::with_group([&](b::group& inner) -> b::task<> {
      inner.cancel();
      outer.cancel();
      co_await b::yield();
    });
    out.push_back("went on");
  }));
  CHECK(out.empty());
}

TEST_CASE("group: spawn into a cancelled one, is accepted and born cancelled [row 149] [row 153]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.cancel();
    b::child<void> born = g.spawn(writes, std::ref(out), std::string("ran"));
    CHECK(!born.done());
    CHECK(g.size() == 1);
    co_return;
  }));
  CHECK(out.empty());
  CHECK(loop.nothing_left());
}

TEST_CASE(
    "group: opened inside a cancelled scope, a task spawned before the body begins is born cancelled [row 163]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outer) -> b::task<> {
    outer.cancel();
    struct {
      BELAY_CORO_WRAPPER b::task<> operator()(b::group& g) const {
        g.spawn(writes, std::ref(*to), std::string("ran"));
        return naps(1s);
      }
      trail* to;
    } spawns_at_once{&out};
    co_await b::with_group(spawns_at_once);
    out.push_back("went on");
  }));
  CHECK(out.empty());
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE(
    "group: opened inside a cancelled scope and empty, ends without an error of its own [row 163] [row 164]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& outer) -> b::task<> {
    outer.cancel();
    co_await b::with_group([](b::group&) -> b::task<> { co_return; });
    out.push_back("past the group");
    co_await b::yield();
    out.push_back("past the next await");
  }));
  CHECK(out == trail{"past the group"});
}

TEST_CASE(
    "child: awaited several times and by several tasks, each gets the same value or the same error object [row 6]") {
  b::testing::test_loop loop;
  const void* seen[3] = {};
  loop.run([](const void** to) -> b::task<> {
    b::outcome<void> all_of_it = co_await b::as_outcome(b::with_group([to](b::group& g) -> b::task<> {
      b::child<int> bad = g.spawn(fails, std::string("same"));
      for (int i = 0; i < 2; ++i) {
        try {
          static_cast<void>(co_await bad);
        } catch (const boom& e) {
          to[i] = &e;
        }
        if (b::cancel_requested()) break;
      }
    }));
    CHECK(all_of_it.failure().message() == "same");
    to[2] = all_of_it.failure().find<boom>();
  }(seen));
  CHECK(seen[0] == seen[2]);
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives_after, 1s, 8);
    auto waits = [](b::child<int>& on) -> b::task<int> { co_return co_await on; };
    auto [x, y] = co_await b::all(waits(one), waits(one));
    CHECK(x + y == 16);
    CHECK(co_await one == 8);
    int& value = co_await one;
    value = 9;
    CHECK(one.take() == 9);
  }));
}

TEST_CASE("child: its result is kept beyond the end of its group") {
  b::testing::test_loop loop;
  int live = 0;
  loop.run([](int& count) -> b::task<> {
    b::child<counted> kept;
    CHECK(kept.done());
    co_await b::with_group([&](b::group& g) -> b::task<> {
      kept = g.spawn([](int& c) -> b::task<counted> { co_return counted(c); }, std::ref(count));
      co_return;
    });
    CHECK(count == 1);
    const counted& value = co_await kept;
    static_cast<void>(value);
    kept = {};
    CHECK(count == 0);
  }(live));
}

TEST_CASE("child: awaited through a handle that goes, gives the value itself") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    auto box = [](int value) -> b::task<std::unique_ptr<int>> {
      co_await b::yield();
      co_return std::make_unique<int>(value);
    };
    const std::unique_ptr<int> got = co_await g.spawn(box, 4);
    CHECK(*got == 4);
    const auto& kept = co_await g.spawn(box, 5);  // lives as long as the reference
    CHECK(*kept == 5);
    b::child<int> one = g.spawn(gives, 6);
    CHECK(co_await std::move(one) == 6);
    co_await g.spawn(naps, 1s);
    static_assert(
        std::is_same_v<decltype(g.spawn(box, 1).belay_await().await_resume()), std::unique_ptr<int>>);
  }));
}

TEST_CASE("spawn: function and arguments go when the task has ended, although a handle keeps the result") {
  b::testing::test_loop loop;
  int live = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::semaphore one(1);
    auto works = [kept = counted(live)](const b::permit&, const counted&) -> b::task<int> {
      co_await b::yield();
      co_return 3;
    };
    b::child<int> child = g.spawn(works, co_await one.acquire(), counted(live));
    CHECK(live == 3);
    CHECK(co_await child == 3);
    CHECK(live == 1);
    CHECK(one.free() == 1);
    CHECK(co_await child == 3);
  }));
}

TEST_CASE("child: its result asked for too early or of an empty handle, is a misuse_error [row 9]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(gives_after, 1s, 1);
    CHECK_THROWS_AS(static_cast<void>(one.take()), b::misuse_error);
    b::child<int> none;
    CHECK_THROWS_AS(static_cast<void>(co_await none), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(none.take()), b::misuse_error);
    CHECK(!none.cancel());
    co_return;
  }));
}

TEST_CASE("child: a task that waits for itself, gets a misuse_error instead of a deadlock [row 8]") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    auto self = std::make_shared<b::child<void>>();
    *self = g.spawn(
        [](std::shared_ptr<b::child<void>> me) -> b::task<> {
          CHECK_THROWS_AS(co_await *me, b::misuse_error);
        },
        self);
    co_await *self;
    *self = {};
  }));
  CHECK(loop.nothing_left());
}

TEST_CASE("child: results may be void, move-only and references; arguments may be move-only") {
  b::testing::test_loop loop;
  int here = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    b::child<std::unique_ptr<int>> box = g.spawn(
        [](const std::unique_ptr<int>& in) -> b::task<std::unique_ptr<int>> {
          co_await b::yield();
          co_return std::make_unique<int>(*in + 1);
        },
        std::make_unique<int>(1));
    b::child<int&> reference = g.spawn([](int& to) -> b::task<int&> { co_return to; }, std::ref(here));
    CHECK(*co_await box == 2);
    CHECK(&co_await reference == &here);
    const std::unique_ptr<int> mine = box.take();
    CHECK(*mine == 2);
    b::task<int> made = gives_after(1s, 5);
    b::child<int> given = g.adopt(std::move(made));
    CHECK(co_await given == 5);
  }));
}

TEST_CASE("spawn: a move-only argument can be taken by value") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::child<int> one = g.spawn(
        [](std::unique_ptr<int> in, int more) -> b::task<int> {
          co_await b::yield();
          co_return *in + more;
        },
        std::make_unique<int>(1), 2);
    CHECK(co_await one == 3);
  }));
}

TEST_CASE("spawn: functions, lambdas with captures and members are kept until the task has ended") {
  b::testing::test_loop loop;
  struct service {
    int base;
    b::task<int> add(int more) {
      co_await b::yield();
      co_return base + more;
    }
  };
  service s{10};
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    std::string captured(100, 'x');
    b::child<std::size_t> size = g.spawn([captured]() -> b::task<std::size_t> {
      co_await b::sleep_for(1s);
      co_return captured.size();
    });
    captured.clear();
    b::child<int> member = g.spawn(&service::add, &s, 5);
    b::child<int> on_reference = g.spawn(&service::add, std::ref(s), 6);
    CHECK(co_await size == 100);
    CHECK(co_await member == 15);
    CHECK(co_await on_reference == 16);
  }));
}

TEST_CASE("spawn: an argument that throws when copied, leaves the group as it was [row 18]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    const copies_badly argument;
    CHECK_THROWS_AS(g.spawn([](const copies_badly&) -> b::task<> { co_return; }, argument), std::bad_alloc);
    CHECK(g.size() == 0);
    // Here the copy into the frame throws.
    CHECK_THROWS_AS(g.spawn([](copies_badly) -> b::task<> { co_return; }, std::ref(argument)),
                    std::bad_alloc);
    CHECK(g.size() == 0);
    g.spawn(writes, std::ref(out), std::string("healthy"));
    co_return;
  }));
  CHECK(out == trail{"healthy"});
  CHECK(loop.nothing_left());
}

TEST_CASE("group: a million short tasks, memory does not grow [row 171]") {
  b::testing::test_loop loop;
  int live = 0;
  int most = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 1'000'000; ++i) {
      g.spawn(
          [](int& count, int& peak, const counted&) -> b::task<> {
            peak = std::max(peak, count);
            co_return;
          },
          std::ref(live), std::ref(most), counted(live));
      if (i % 16 == 15) {
        co_await b::yield();
        CHECK_EQ(g.size(), 0);
      }
    }
  }));
  CHECK(live == 0);
  CHECK(most <= 17);
  CHECK(loop.nothing_left());
}

TEST_CASE("group: ten thousand tasks at once, all cancelled by one failure, all ended") {
  b::testing::test_loop loop;
  int live = 0;
  CHECK_THROWS_AS(loop.run(b::with_group([&](b::group& g) -> b::task<> {
    for (int i = 0; i < 10'000; ++i) {
      g.spawn(
          [](int& count) -> b::task<> {
            const counted here(count);
            co_await b::sleep_for(100s);
          },
          std::ref(live));
    }
    co_await b::sleep_for(1s);
    CHECK(live == 10'000);
    throw boom("now");
  })),
                  boom);
  CHECK(live == 0);
  CHECK(loop.elapsed() == 1s);
}

TEST_CASE("group: a task's destructors may cancel and spawn while it is unwound") {
  b::testing::test_loop loop;
  trail out;
  struct on_end {
    std::function<void()> act;
    ~on_end() { act(); }
  };
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](b::group& in, trail& to) -> b::task<> {
          const on_end last{[&] {
            in.spawn(writes, std::ref(to), std::string("must not run"));
            in.cancel();
            to.push_back("destroyed");
          }};
          co_await b::sleep_for(100s);
        },
        std::ref(g), std::ref(out));
    co_await b::sleep_for(1s);
    g.cancel();
  }));
  CHECK(out == trail{"destroyed"});
  CHECK(loop.nothing_left());
}

TEST_CASE("group: the body is kept until all have ended, its locals are not") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([captured = std::make_shared<std::string>("alive"), &out](b::group& g) -> b::task<> {
    const farewell local(out, "~local");
    g.spawn(
        [](const std::string& text, trail& to) -> b::task<> {
          co_await b::sleep_for(1s);
          to.push_back(text);
        },
        std::ref(*captured), std::ref(out));
    co_return;
  }));
  CHECK(out == trail{"~local", "alive"});
}

TEST_CASE("group: a task fails, the body ends with a value all the same, the error comes out [row 142]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto goes_on = [](b::group& g) -> b::task<int> {
      g.spawn(fails_after, 1s, std::string("child"));
      co_await b::shielded(9s, naps(2s));  // deaf to the cancellation
      co_return 5;
    };
    try {
      static_cast<void>(co_await b::with_group(goes_on));
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "child");
    }
    co_await b::sleep_for(1s);  // nothing is left of the cancellation
  }());
  CHECK(loop.elapsed() == 3s);
}

TEST_CASE(
    "group: no error is so grave that the others are lost: out of memory, or what is no std::exception [row 162]") {
  b::testing::test_loop loop;
  auto grave = [](int what) -> b::task<> {
    co_await b::sleep_for(1s);
    if (what == 0) throw std::bad_alloc();
    throw what;
  };
  loop.run([](auto& call) -> b::task<> {
    for (int what = 0; what < 2; ++what) {
      b::outcome<void> how = co_await b::as_outcome(b::with_group([&](b::group& g) -> b::task<> {
        g.spawn(cleanup_fails_after, 1s, std::string("cleanup"));
        g.spawn(call, what);
        co_return;
      }));
      const b::failure first = how.failure();
      CHECK((what == 0 ? first.find<std::bad_alloc>() != nullptr : *first.find<int>() == what));
      CHECK(messages(first.attached()) == std::vector<std::string>{"cleanup"});
    }
  }(grave));
  CHECK(loop.lost_errors().empty());
}

TEST_CASE(
    "group: spawn from outside of its tasks is allowed, from another thread it is a misuse_error [row 168]") {
  b::testing::test_loop loop;
  trail out;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    std::string said;
    std::thread([&] {
      try {
        g.spawn(writes, std::ref(out), std::string("from a thread"));
      } catch (const b::misuse_error& e) {
        said = e.what();
      }
    }).join();
    CHECK(said.find("called from a thread that is not the group's") != std::string::npos);
    CHECK(g.size() == 0);
    b::loop& here = loop.loop();
    std::thread([&] { here.post([&] { g.spawn(writes, std::ref(out), std::string("posted")); }); }).join();
    co_await b::sleep_for(1s);
  }));
  CHECK(out == trail{"posted"});
}
