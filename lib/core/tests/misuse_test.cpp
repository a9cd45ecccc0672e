// SPDX-License-Identifier: Apache-2.0
// Misuse that the compiler cannot see: each call says what was wrong and what to do, and nothing is damaged by it.

#include <belay/core/as_completed.hpp>
#include <belay/core/barrier.hpp>
#include <belay/core/channel.hpp>
#include <belay/core/condition.hpp>
#include <belay/core/deadline.hpp>
#include <belay/core/exit_stack.hpp>
#include <belay/core/map.hpp>
#include <belay/core/mutex.hpp>
#include <belay/core/race.hpp>
#include <belay/core/settle.hpp>
#include <belay/core/shared_mutex.hpp>
#include <belay/core/single_flight.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/core/task_function.hpp>
#include <belay/core/task_local.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>

#include <memory>
#include <thread>

#include "support.hpp"

using namespace core_tests;

namespace {

// `act` must throw a misuse_error with `words` in it.
struct misuse {
  const char* words;
  b::task<> (*act)();
};
// `act` must end the process with `words` on stderr.
struct fatal {
  const char* words;
  void (*act)();
};

// As a group that has ended, to which somebody still refers.
b::task<> in_ended_group(b::task<> (*use)(b::group&)) {
  b::group ended;
  co_await use(ended);
}

const b::task_local<int> answer("answer");

// Calls `act` on a thread of its own while the loop waits for it.
void on_another_thread(const std::function<void()>& act) { std::thread(act).join(); }

constexpr misuse misuses[] = {
    {"as_completed: these tasks were already given",
     []() -> b::task<> {
       std::vector<b::task<int>> one;
       one.push_back(gives(1));
       auto tasks = b::as_completed(std::move(one));
       int items = 0;
       const auto count = [&items](b::completed<int>& item) { items += item.value(); };
       co_await b::for_each(std::move(tasks), count);
       CHECK(items == 1);
       co_await b::for_each(std::move(tasks), count);  // NOLINT(bugprone-use-after-move)
     }},
    // limits of zero, and less
    {"semaphore(0): nobody could ever acquire",
     []() -> b::task<> {
       const b::semaphore none(0);
       co_return;
     }},
    {"semaphore: a negative number of permits",
     []() -> b::task<> {
       const b::semaphore negative(static_cast<std::size_t>(-2));
       co_return;
     }},
    {"barrier(0): nobody could ever arrive",
     []() -> b::task<> {
       const b::barrier none(0);
       co_return;
     }},
    {"barrier: a negative number of parties",
     []() -> b::task<> {
       const b::barrier negative(static_cast<std::size_t>(-2));
       co_return;
     }},
    {"channel: a negative capacity",
     []() -> b::task<> {
       const b::channel<int> negative(static_cast<std::size_t>(-2));
       co_return;
     }},
    {"with_group with most_live = 0",
     []() -> b::task<> {
       co_await b::with_group({.most_live = 0}, [](b::group&) -> b::task<> { co_return; });
     }},
    {"map with a limit of zero",
     []() -> b::task<> {
       const std::vector<int> items{1, 2};
       static_cast<void>(co_await b::map(items, [](int one) -> b::task<int> { co_return one; }, 0));
     }},
    {"race", []() -> b::task<> { static_cast<void>(co_await b::race(std::vector<b::task<int>>())); }},
    {"any", []() -> b::task<> { static_cast<void>(co_await b::any(std::vector<b::task<int>>())); }},
    {"loop_options::cleanup_limit must be more than zero",
     []() -> b::task<> {
       const b::loop never({.cleanup_limit = 0s});
       co_return;
     }},
    {"loop_options::blocking_threads must be at least 1",
     []() -> b::task<> {
       const b::loop none({.blocking_threads = 0});
       co_return;
     }},

    // used twice, or by whoever waits for himself
    {"mutex 'door': lock() by the task that holds it already",
     []() -> b::task<> {
       b::mutex door("door");
       const b::mutex_guard here = co_await door.lock();
       const b::mutex_guard again = co_await door.lock();
     }},
    {"shared_mutex 'book'",
     []() -> b::task<> {
       b::shared_mutex book("book");
       const auto here = co_await book.lock();
       const auto again = co_await book.lock();
     }},
    {"with_deadline: this deadline was used before",
     []() -> b::task<> {
       b::deadline limit(9s);
       co_await b::with_deadline(limit, naps(1s));
       co_await b::with_deadline(limit, naps(1s));
     }},
    {"task_status::started was called a second time",
     []() -> b::task<> {
       co_await b::with_group([](b::group& g) -> b::task<> {
         co_await g.start([](b::task_status<>& ready) -> b::task<> {
           ready.started();
           ready.started();
           co_return;
         });
       });
     }},
    {"group::start: the task ended without having called started()",
     []() -> b::task<> {
       co_await b::with_group([](b::group& g) -> b::task<> {
         co_await g.start([](b::task_status<>&) -> b::task<> { co_return; });
       });
     }},
    {"a task cannot wait for itself to end",
     []() -> b::task<> {
       co_await b::with_group([](b::group& g) -> b::task<> {
         b::child<void> self;
         self = g.spawn([](b::child<void>& me) -> b::task<> { co_await me; }, std::ref(self));
         co_await self;
       });
     }},
    {"a managed resource ended without co_yield",
     []() -> b::task<> {
       auto never = [](bool hands_out) -> b::managed<int> {
         int value = 1;
         if (hands_out) co_yield value;
       };
       co_await b::with(never(false), [](int&) -> b::task<> { co_return; });
     }},
    {"a managed resource used co_yield a second time",
     []() -> b::task<> {
       auto twice = []() -> b::managed<int> {
         int value = 1;
         co_yield value;
         co_yield value;
       };
       co_await b::with(twice(), [](int&) -> b::task<> { co_return; });
     }},
    {"loop::run was called inside of a running loop",
     []() -> b::task<> {
       b::loop inner;
       inner.run(naps(1s));
       co_return;
     }},
    {"loop::run: this loop is running on another thread",
     []() -> b::task<> {
       b::loop& here = *b::loop::current();
       co_await b::to_thread([&here] { here.run(naps(1s)); });
     }},

    // used after its end, or empty
    {"group::spawn: the group has ended",
     []() -> b::task<> {
       co_await in_ended_group([](b::group& g) -> b::task<> {
         g.spawn(naps, 1s);
         co_return;
       });
     }},
    {"group::adopt: the group has ended",
     []() -> b::task<> {
       co_await in_ended_group([](b::group& g) -> b::task<> {
         g.adopt(naps(1s));
         co_return;
       });
     }},
    {"group::try_spawn: the group has ended",
     []() -> b::task<> {
       co_await in_ended_group([](b::group& g) -> b::task<> {
         static_cast<void>(g.try_spawn(naps, 1s));
         co_return;
       });
     }},
    {"group::spawn_when_free: the group has ended",
     []() -> b::task<> {
       co_await in_ended_group(
           [](b::group& g) -> b::task<> { static_cast<void>(co_await g.spawn_when_free(naps, 1s)); });
     }},
    {"group::start: the group has ended",
     []() -> b::task<> {
       co_await in_ended_group([](b::group& g) -> b::task<> {
         co_await g.start([](b::task_status<>&) -> b::task<> { co_return; });
       });
     }},
    {"deadline::extend: its with_deadline has ended",
     []() -> b::task<> {
       b::deadline limit(9s);
       co_await b::with_deadline(limit, naps(1s));
       limit.extend(1s);
     }},
    {"co_await child",
     []() -> b::task<> {
       b::child<int> none;
       static_cast<void>(co_await none);
     }},
    {"as_outcome(child)",
     []() -> b::task<> {
       b::child<int> none;
       static_cast<void>(co_await b::as_outcome(none));
     }},
    {"cancel_and_join",
     []() -> b::task<> {
       b::child<int> none;
       co_await b::cancel_and_join(none);
     }},
    {"child::take before its end",
     []() -> b::task<> {
       co_await b::with_group([](b::group& g) -> b::task<> {
         b::child<int> early = g.spawn(gives_after, 1s, 1);
         static_cast<void>(early.take());
         co_return;
       });
     }},
    {"outcome::value: there is no outcome yet (or it was moved from)",
     []() -> b::task<> {
       b::outcome<int> how = co_await b::as_outcome(gives(1));
       const b::outcome<int> moved = std::move(how);
       static_cast<void>(how.value());  // NOLINT(bugprone-use-after-move)
     }},
    {"sender::try_send: this handle was closed or moved from",
     []() -> b::task<> {
       b::channel<int> c(1);
       b::sender<int> out = c.new_sender();
       out.close();
       static_cast<void>(out.try_send(1));
       co_return;
     }},
    {"receiver::receive: this handle was closed or moved from",
     []() -> b::task<> {
       b::channel<int> c(1);
       b::receiver<int> in = c.new_receiver();
       in.close();
       static_cast<void>(co_await in.receive());
     }},
    {"condition 'news': wait() with a guard that holds no mutex",
     []() -> b::task<> {
       b::condition news("news");
       b::mutex_guard none;
       co_await news.wait(none);
     }},
    {"failure::rethrow on an empty failure",
     []() -> b::task<> {
       b::failure().rethrow();
       co_return;
     }},
    {"task_function: called while empty",
     []() -> b::task<> {
       b::task_function<b::task<>()> none;
       co_await none();
     }},
    {"single_flight: made with an empty function",
     []() -> b::task<> {
       const b::single_flight<int, int> none({});
       co_return;
     }},
    {"answer",
     []() -> b::task<> {
       static_cast<void>(answer.get());
       co_return;
     }},

    // on another thread
    {"group::spawn: called from a thread that is not the group's",
     []() -> b::task<> {
       co_await b::with_group(
           [](b::group& g) -> b::task<> { co_await b::to_thread([&g] { g.spawn(naps, 1s); }); });
     }},
    {"deadline::restart: this is not the thread of its loop",
     []() -> b::task<> {
       co_await b::with_deadline(
           9s, [](b::deadline& limit) -> b::task<> { co_await b::to_thread([&limit] { limit.restart(); }); });
     }},
    {"mutex::try_lock was called outside of a running loop",
     []() -> b::task<> {
       b::mutex door;
       co_await b::to_thread([&door] { static_cast<void>(door.try_lock()); });
     }},
};

// A loop in which one task waits for `event`, `permit`, ... and another does something from a thread of its own.
template <class Wait, class Act>
void waits_while(Wait wait, Act act) {
  b::testing::test_loop loop;
  loop.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(wait);
    co_await b::yield();
    on_another_thread(act);
  }));
}

constexpr fatal fatals[] = {
    {"a task that was already awaited, spawned or moved from",
     [] {
       b::testing::test_loop loop;
       loop.run([]() -> b::task<> {
         b::task<> once = naps(1s);
         co_await std::move(once);
         co_await std::move(once);  // NOLINT(bugprone-use-after-move)
       }());
     }},
    {"a managed resource was used that was already used or moved from",
     [] {
       b::testing::test_loop loop;
       trail out;
       loop.run([](trail& to) -> b::task<> {
         b::managed<int> once = resource(to, "a");
         co_await b::use(std::move(once));
         co_await b::use(std::move(once));  // NOLINT(bugprone-use-after-move)
       }(out));
     }},
    {"an exit_stack was destroyed with open resources",
     [] {
       b::testing::test_loop loop;
       trail out;
       loop.run([](trail& to) -> b::task<> {
         b::exit_stack stack;
         static_cast<void>(co_await stack.enter(resource(to, "a")));
       }(out));
     }},
    {"an exit_stack was closed while another task waits in its enter()",
     [] {
       b::testing::test_loop loop;
       trail out;
       loop.run(b::with_group([&out](b::group& g) -> b::task<> {
         co_await b::with_exit_stack([&](b::exit_stack& open) -> b::task<> {
           g.spawn(
               [](b::exit_stack& into, trail& to) -> b::task<> {
                 static_cast<void>(co_await into.enter(resource(to, "late", 5s)));
               },
               std::ref(open), std::ref(out));
           co_await b::sleep_for(1s);
         });
       }));
     }},
    {"supervisor 'feeds' was destroyed while its run was under way",
     [] {
       b::testing::test_loop loop;
       loop.run(b::with_group([](b::group& g) -> b::task<> {
         auto feeds = std::make_unique<b::supervisor>(b::supervisor_options{.name = "feeds"});
         feeds->add("one", naps, b::duration(1h));
         g.spawn([](b::supervisor& of) -> b::task<> { co_await of.run(); }, std::ref(*feeds));
         co_await b::sleep_for(1s);
         feeds.reset();
       }));
     }},
    {"a deadline was destroyed while its with_deadline was running",
     [] {
       b::testing::test_loop loop;
       loop.run([]() -> b::task<> {
         auto limit = std::make_unique<b::deadline>(2s);
         auto destroys = [](std::unique_ptr<b::deadline>& of) -> b::task<> {
           of.reset();
           co_return;
         };
         co_await b::with_deadline(*limit, destroys(limit));
       }());
     }},
    {"event 'ready' was destroyed while tasks were waiting for it",
     [] {
       b::testing::test_loop loop;
       loop.run(b::with_group([](b::group& g) -> b::task<> {
         b::event ready("ready");
         g.spawn(waits_for, std::ref(ready));
         co_await b::yield();
       }));
     }},
    {"a task waits for event 'ready' on the loop of another thread",
     [] {
       b::event ready("ready");
       waits_while([&]() -> b::task<> { co_await ready.wait(); }, [&] { ready.set(); });
     }},
    {"a task waits for semaphore 'seats' on the loop of another thread",
     [] {
       b::semaphore seats(1, "seats");
       b::permit taken = seats.try_acquire();
       waits_while([&]() -> b::task<> { static_cast<void>(co_await seats.acquire()); },
                   [&] { taken.release(); });
     }},
    {"a task waits for an item of channel 'jobs' on the loop of another thread",
     [] {
       b::channel<int> jobs(1, "jobs");
       waits_while([&]() -> b::task<> { static_cast<void>(co_await jobs.receive()); },
                   [&] { static_cast<void>(jobs.try_send(1)); });
     }},
    {"a task waits for event 'ready' on the loop of another thread",
     [] {
       b::event ready("ready");
       waits_while([&]() -> b::task<> { co_await ready.wait(); },
                   [&] {
                     b::loop other;
                     other.run([](b::event& e) -> b::task<> { co_await e.wait(); }(ready));
                   });
     }},
    {"group::cancel on a thread that is not the group's",
     [] {
       b::testing::test_loop loop;
       loop.run(b::with_group([](b::group& g) -> b::task<> {
         on_another_thread([&g] { g.cancel(); });
         co_return;
       }));
     }},
    {"child::cancel on a thread that is not the group's",
     [] {
       b::testing::test_loop loop;
       loop.run(b::with_group([](b::group& g) -> b::task<> {
         b::child<void> one = g.spawn(naps, 9s);
         co_await b::yield();
         on_another_thread([&one] { one.cancel(); });
       }));
     }},
};

}  // namespace

TEST_CASE("misuse: each call is refused in words that name it, and the loop and its tasks are unharmed") {
  for (const misuse& one : misuses) {
    CAPTURE(std::string(one.words));
    b::testing::test_loop loop;
    std::string said = "no error";
    try {
      loop.run(one.act());
    } catch (const b::misuse_error& e) {
      said = e.what();
      CHECK(e.kind() == b::error_kind::internal);
      CHECK(e.code() == "misuse");
    }
    CHECK_MESSAGE(said.find(one.words) != std::string::npos, said);
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors().empty());
    CHECK(loop.run(gives_after(1s, 3)) == 3);
  }
}

TEST_CASE("misuse: a call that has nobody to throw to, ends the process with words that name it") {
  for (const fatal& one : fatals) {
    CAPTURE(std::string(one.words));
    const process_end end = in_process([&one] {
      one.act();
      return 0;
    });
    CHECK(!end.exited);
    CHECK_MESSAGE(end.said.find(one.words) != std::string::npos, end.said);
  }
}

TEST_CASE("misuse: what is said of a primitive leaves it as it was") {
  b::testing::test_loop loop;
  loop.run(b::with_group([](b::group& g) -> b::task<> {
    b::mutex door("door");
    {
      const b::mutex_guard here = co_await door.lock();
      bool refused = false;
      try {
        const b::mutex_guard again = co_await door.lock();
      } catch (const b::misuse_error&) {
        refused = true;
      }
      CHECK(refused);
      CHECK(door.locked());
      CHECK(door.waiting() == 0);
    }
    CHECK(!door.locked());
    b::channel<int> jobs(1);
    b::sender<int> out = jobs.new_sender();
    b::sender<int> other = out;
    other.close();
    CHECK_THROWS_AS(static_cast<void>(other.try_send(1)), b::misuse_error);
    CHECK(!jobs.closed());
    CHECK(out.try_send(1));
    b::child<int> early = g.spawn(gives_after, 1s, 7);
    CHECK_THROWS_AS(static_cast<void>(early.take()), b::misuse_error);
    CHECK(co_await early == 7);
  }));
}
