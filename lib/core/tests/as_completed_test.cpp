// SPDX-License-Identifier: Apache-2.0
#include <belay/core/as_completed.hpp>

#include <doctest/doctest.h>
#include <memory>
#include <optional>

#include "support.hpp"

using namespace core_tests;
using belay::testing::test_loop;

namespace {

using order = std::vector<std::size_t>;

std::vector<b::task<int>> three() {
  std::vector<b::task<int>> all;
  for (const int seconds : {3, 1, 2}) all.push_back(gives_after(std::chrono::seconds(seconds), seconds * 10));
  return all;
}
b::task<int> notes_its_end(trail& out, b::duration length, int value) {
  const farewell end(out, std::to_string(value) + " is gone");
  const int& opened = co_await b::use(resource(out, std::to_string(value), 0s, 1s));
  co_await b::sleep_for(length);
  co_return opened + value;
}
b::task<std::optional<b::completed<int>>> step(b::open_completions<int>& done) {
  co_return co_await done.next();
}
b::task<int> fails_in_cleanup(std::string words) {
  auto broken = [](std::string text) -> b::managed<int> {
    int value = 0;
    co_yield value;
    throw boom(text);
  };
  co_await b::use(broken(words));
  co_await b::sleep_for(1h);
  co_return 0;
}

}  // namespace

TEST_CASE("as_completed: items in the order of completion, each once, with its index [row 195]") {
  test_loop loop;
  order seen;
  loop.run(b::with(b::as_completed(three()), [&seen](b::open_completions<int>& done) -> b::task<> {
    CHECK(done.left() == 3);
    const b::time_point start = b::now();
    while (auto item = co_await done.next()) {
      seen.push_back(item->index);
      CHECK(item->value() == static_cast<int>((b::now() - start) / 1s) * 10);
    }
    CHECK(done.left() == 0);
    CHECK(!co_await done.next());
  }));
  CHECK(seen == order{1, 2, 0});
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("as_completed: of those that end in one turn, in the order of their ends; those that do not wait") {
  test_loop loop;
  order seen;
  loop.run(b::for_each(b::as_completed(gives(1), gives(2), gives_after(1s, 3), gives_after(1s, 4)),
                       [&seen](b::completed<int>& item) { seen.push_back(item.index); }));
  CHECK(seen == order{0, 1, 2, 3});
}

TEST_CASE("as_completed: the value of the block is the value; void tasks; a body that awaits") {
  test_loop loop;
  const int first = loop.run(b::with(b::as_completed(three()), [](auto& done) -> b::task<int> {
    auto item = co_await done.next();
    co_return std::move(*item).value();
  }));
  CHECK(first == 10);
  CHECK(loop.elapsed() == 1s);
  int ended = 0;
  loop.run(b::for_each(b::as_completed(naps(1s), naps(2s)), [&ended](b::completed<void>& item) -> b::task<> {
    static_cast<void>(item.value());
    co_await b::sleep_for(5s);
    ++ended;
  }));
  CHECK(ended == 2);
  CHECK(loop.elapsed() == 12s);
}

TEST_CASE(
    "as_completed: an item that failed throws when its value is read, and the iteration goes on [row 196]") {
  test_loop loop;
  trail seen;
  loop.run(b::with(b::as_completed(gives_after(3s, 3), fails_after(1s, "bad"), gives_after(2s, 2)),
                   [&seen](b::open_completions<int>& done) -> b::task<> {
                     while (auto item = co_await done.next()) {
                       try {
                         seen.push_back(std::to_string(item->value()));
                       } catch (const boom& e) {
                         seen.push_back(e.what());
                       }
                     }
                   }));
  CHECK(seen == trail{"bad", "2", "3"});
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("as_completed: the error of an item that nobody looked at goes to the sink, once") {
  test_loop loop;
  loop.run(b::for_each(b::as_completed(fails_after(1s, "unseen"), gives_after(2s, 1)), [&loop](auto& item) {
    CHECK(loop.lost_errors().size() == item.index);  // it is lost when its turn of the iteration is over
  }));
  REQUIRE(loop.lost_errors().size() == 1);
  CHECK(loop.lost_errors()[0].find("unseen") != std::string::npos);
  loop.forget_lost_errors();
  // Those that were never given, too.
  loop.run(b::with(b::as_completed(fails_after(1s, "ended"), fails_in_cleanup("closing")),
                   [](b::open_completions<int>&) -> b::task<> { co_await b::sleep_for(2s); }));
  CHECK(loop.lost_errors().size() == 2);
  loop.forget_lost_errors();
}

TEST_CASE(
    "as_completed: left by break, the rest is cancelled and awaited before the block's awaiter goes on") {
  test_loop loop;
  trail out;
  auto leaves = [](trail& to) -> b::task<> {
    auto work = b::as_completed(notes_its_end(to, 1s, 1), notes_its_end(to, 9s, 2));
    co_await b::with(std::move(work), [&to](b::open_completions<int>& done) -> b::task<> {
      while (auto item = co_await done.next()) {
        to.push_back("got " + std::to_string(item->index));
        break;
      }
    });
    to.push_back("after");
  };
  loop.run(leaves(out));
  CHECK(out == trail{"open 1", "open 2", "1 is gone", "close 1: succeeded", "closed 1", "got 0",
                     "close 2: cancelled", "closed 2", "2 is gone", "after"});
  CHECK(loop.elapsed() == 3s);
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE(
    "as_completed: an error of the loop's body is primary; the rest is cancelled, its errors attached [row 198]") {
  test_loop loop;
  auto catches = []() -> b::task<> {
    try {
      co_await b::for_each(b::as_completed(gives(1), fails_in_cleanup("closing"), gives_after(1h, 3)),
                           [](b::completed<int>&) { throw boom("in the loop"); });
      FAIL("no error");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "in the loop");
      const b::failure what = b::current_failure();
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "closing");
    }
  };
  loop.run(catches());
  CHECK(loop.elapsed() == 0s);
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("as_completed: a limit around it is a timeout_error; the rest is cancelled and awaited [row 199]") {
  test_loop loop;
  trail out;
  int got = 0;
  auto work = b::as_completed(notes_its_end(out, 1s, 1), notes_its_end(out, 9s, 2));
  auto limited = b::with_timeout(3s, b::for_each(std::move(work), [&got](b::completed<int>&) { ++got; }));
  CHECK_THROWS_AS(loop.run(std::move(limited)), b::timeout_error);
  CHECK(got == 1);
  CHECK(out.back() == "2 is gone");
  CHECK(loop.elapsed() == 4s);
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE(
    "as_completed: a limit around one step is a timeout_error of that step, and loses no item [row 199]") {
  test_loop loop;
  order seen;
  loop.run(b::with(b::as_completed(three()), [&seen](b::open_completions<int>& done) -> b::task<> {
    CHECK_THROWS_AS(static_cast<void>(co_await b::with_timeout(500ms, step(done))), b::timeout_error);
    // Due together with the limit: given, or left for the next.
    for (int i = 0; i < 3 && done.left() != 0; ++i) {
      auto item = co_await b::move_on_after(500ms, step(done));
      if (item) seen.push_back((*item)->index);
    }
    while (auto item = co_await done.next()) seen.push_back(item->index);
  }));
  CHECK(seen == order{1, 2, 0});
}

TEST_CASE("as_completed: an iteration that is left and taken up again goes on where it stopped [row 200]") {
  test_loop loop;
  order seen;
  loop.run(b::with(b::as_completed(three()), [&seen](b::open_completions<int>& done) -> b::task<> {
    while (auto item = co_await done.next()) {
      seen.push_back(item->index);
      break;
    }
    co_await b::sleep_for(10s);
    while (auto item = co_await done.next()) seen.push_back(item->index);
  }));
  CHECK(seen == order{1, 2, 0});
}

TEST_CASE("as_completed: of no tasks, no iterations [row 202]") {
  test_loop loop;
  int got = 0;
  loop.run(b::for_each(b::as_completed(std::vector<b::task<int>>()), [&got](b::completed<int>&) { ++got; }));
  CHECK(got == 0);
}

TEST_CASE("as_completed: move-only results and errors; those not taken are destroyed once [row 514]") {
  test_loop loop;
  int live = 0;
  struct holder {
    std::unique_ptr<counted> what;
  };
  auto makes = [](int& count, b::duration length) -> b::task<holder> {
    auto made = holder{std::make_unique<counted>(count)};
    co_await b::sleep_for(length);
    co_return made;
  };
  struct move_only_error {
    std::shared_ptr<counted> what;
    explicit move_only_error(int& count) : what(std::make_shared<counted>(count)) {}
  };
  auto throws = [](int& count) -> b::task<holder> {
    throw move_only_error(count);
    co_return holder();
  };
  std::vector<b::task<holder>> work;
  work.push_back(makes(live, 1s));
  work.push_back(makes(live, 1s));
  work.push_back(makes(live, 1h));
  work.push_back(throws(live));
  holder kept = loop.run(b::with(b::as_completed(std::move(work)), [](auto& done) -> b::task<holder> {
    auto failed = co_await done.next();
    CHECK(failed->index == 3);
    CHECK_THROWS_AS(static_cast<void>(failed->value()), move_only_error);
    auto item = co_await done.next();
    co_return std::move(*item).value();
  }));
  CHECK(live == 1);
  kept.what.reset();
  CHECK(live == 0);
}

TEST_CASE("as_completed: with a limit, not more than that run, in order; those that never began do not run") {
  test_loop loop;
  int running = 0;
  int most = 0;
  order began;
  auto works = [](int& now_running, int& highest, order& out, std::size_t index) -> b::task<int> {
    const counted here(now_running);
    highest = std::max(highest, now_running);
    out.push_back(index);
    co_await b::sleep_for(1s);
    co_return static_cast<int>(index);
  };
  const auto make = [&] {
    std::vector<b::task<int>> all;
    for (std::size_t i = 0; i < 7; ++i) all.push_back(works(running, most, began, i));
    return all;
  };
  int sum = 0;
  loop.run(b::for_each(b::as_completed(make(), 2), [&sum](b::completed<int>& item) { sum += item.value(); }));
  CHECK(sum == 21);
  CHECK(most == 2);
  CHECK(began == order{0, 1, 2, 3, 4, 5, 6});
  CHECK(loop.elapsed() == 4s);
  began.clear();
  loop.run(b::with(b::as_completed(make(), 2), [](b::open_completions<int>& done) -> b::task<> {
    static_cast<void>(co_await done.next());
  }));
  CHECK(running == 0);
  CHECK(began.size() <= 4);
  CHECK_THROWS_WITH_AS(loop.run(b::for_each(b::as_completed(make(), 0), [](b::completed<int>&) {})),
                       "as_completed with a limit of zero: nothing could ever run; give it one at the least",
                       b::misuse_error);
}

TEST_CASE("as_completed: cancelled from outside while a shielded step waits, all items come, cut short") {
  test_loop loop;
  int cancelled = 0;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    co_await b::with(b::as_completed(three(), 1), [&](b::open_completions<int>& done) -> b::task<> {
      g.cancel();
      const auto all = [](b::open_completions<int>& of, int& count) -> b::task<> {
        while (auto item = co_await of.next()) count += item->result.cancelled() ? 1 : 0;
      };
      co_await b::shielded(1h, all(done, cancelled));
    });
  }));
  CHECK(cancelled == 3);
  CHECK(loop.elapsed() == 0s);
}

TEST_CASE("as_completed: several tasks may ask; each item goes to one of them, and all hear of the end") {
  test_loop loop;
  order seen;
  loop.run(b::with(b::as_completed(three()), [&seen](b::open_completions<int>& done) -> b::task<> {
    co_await b::with_group([&](b::group& g) -> b::task<> {
      auto takes = [](b::open_completions<int>& of, order& out) -> b::task<> {
        while (auto item = co_await of.next()) out.push_back(item->index);
      };
      for (int i = 0; i < 5; ++i) g.spawn(takes, std::ref(done), std::ref(seen));
      co_return;
    });
  }));
  CHECK(seen == order{1, 2, 0});
}

TEST_CASE("as_completed: dropped, or with a body that fails before it waits, runs no task") {
  test_loop loop;
  trail out;
  {
    const auto dropped = b::as_completed(notes_its_end(out, 1s, 1));
  }
  auto refuses = [](b::open_completions<int>&) -> b::task<> {
    throw boom("at once");
    co_return;
  };
  CHECK_THROWS_AS(loop.run(b::with(b::as_completed(notes_its_end(out, 1s, 1)), refuses)), boom);
  CHECK(out.empty());
  CHECK(loop.live_tasks() == 0);
}

TEST_CASE("as_completed: left early, tasks that were given to those that never begin are no forgotten ones") {
  test_loop loop;
  loop.run([]() -> b::task<> {
    std::vector<b::task<int>> all;
    for (int i = 0; i < 3; ++i) all.push_back(b::with_timeout(5s, gives_after(1s, i)));
    co_await b::with(b::as_completed(std::move(all), 1),
                     [](auto& done) -> b::task<> { static_cast<void>(co_await done.next()); });
  }());
  CHECK(loop.diagnostics().empty());
}
