// SPDX-License-Identifier: Apache-2.0
// Calls from one loop to another, and from threads into a loop: values, errors and cancellations come and go.

#include <belay/core/all.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/task_local.hpp>
#include <belay/core/thread.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <thread>

#include "driven.hpp"

using namespace core_tests;

namespace {

b::task<int> forever(std::atomic<int>& begun, std::atomic<int>& cleaned) {
  ++begun;
  co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); },
                      [&cleaned]() -> b::task<> {
                        co_await b::yield();
                        ++cleaned;
                      });
  co_return 1;
}

// A loop on a thread, for the threads of a test that run none.
class running_loop {
 public:
  running_loop() {
    thread_ = std::thread([this] {
      loop_.run([](b::loop& here, b::event& end, std::latch& up) -> b::task<> {
        here.post([&up] { up.count_down(); });
        co_await end.wait();
      }(loop_, end_, up_));
    });
    up_.wait();
  }
  running_loop(const running_loop&) = delete;
  running_loop& operator=(const running_loop&) = delete;
  ~running_loop() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    loop_.post([this] { end_.set(); });
    thread_.join();
  }
  b::loop& loop() { return loop_; }
  [[nodiscard]] const std::vector<std::string>& lost() const { return lost_; }

 private:
  std::vector<std::string> lost_;
  b::loop loop_{{.on_lost_failure = [this](const b::failure& what) { lost_.push_back(b::describe(what)); }}};
  b::event end_;
  std::latch up_{1};
  std::thread thread_;
};

}  // namespace

TEST_CASE("on_loop: runs there, and the value comes back: void, references, move-only, std::ref") {
  b::loop home;
  static int somewhere = 0;
  home.run([]() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    const auto my_thread = std::this_thread::get_id();
    const auto who = []() -> b::task<std::thread::id> { co_return std::this_thread::get_id(); };
    CHECK(co_await b::on_loop(other, who) != my_thread);
    CHECK(std::this_thread::get_id() == my_thread);
    CHECK(co_await b::on_loop(other, gives_after, 1ms, 4) == 4);
    co_await b::on_loop(other, naps, 1ms);
    const auto refers = []() -> b::task<int&> { co_return somewhere; };
    CHECK(&co_await b::on_loop(other, refers) == &somewhere);
    const auto owns = [](std::unique_ptr<int> in) -> b::task<std::unique_ptr<int>> { co_return in; };
    CHECK(*co_await b::on_loop(other, owns, std::make_unique<int>(3)) == 3);
    int count = 0;
    const auto counts = [](int& to) -> b::task<> {
      ++to;
      co_return;
    };
    co_await b::on_loop(other, counts, std::ref(count));
    CHECK(count == 1);
  }());
  CHECK(home.statistics().live_tasks == 0);
}

TEST_CASE("on_loop: what the task throws comes out, the same object, with the trace of both sides") {
  b::testing::test_loop home;
  home.run([]() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    const auto calls = [](b::loop& on) -> b::task<int> {
      co_return co_await b::on_loop(on, fails, std::string("there"));
    };
    try {
      static_cast<void>(co_await calls(other));
      FAIL("it throws");
    } catch (const boom& e) {
      CHECK(std::string(e.what()) == "there");
      const std::string story = b::describe(b::current_failure());
      CHECK(story.find("on_loop_test.cpp") != std::string::npos);
    }
    const auto throws_at_once = [](int) -> b::task<int> {
      throw boom("before there is a task");
      co_return 1;
    };
    const auto again = [&](b::loop& on) -> b::task<int> {
      co_return co_await b::on_loop(on, throws_at_once, 1);
    };
    CHECK_THROWS_AS(static_cast<void>(co_await again(other)), boom);
  }());
  CHECK(home.lost_errors().empty());
  CHECK(home.nothing_left());
}

TEST_CASE("on_loop: cancelled, the task over there is cancelled, cleans up, and is waited for") {
  b::testing::test_loop home;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  home.run([](std::atomic<int>& up, std::atomic<int>& down) -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](b::loop& on, std::atomic<int>& u, std::atomic<int>& d) -> b::task<> {
            co_await b::on_loop(on, forever, std::ref(u), std::ref(d));
            FAIL("it was cancelled");
          },
          std::ref(other), std::ref(up), std::ref(down));
      while (up == 0) co_await b::yield();
      g.cancel();
    });
    CHECK(down == 1);
    const auto limited = [](b::loop& on, std::atomic<int>& u, std::atomic<int>& d) -> b::task<> {
      CHECK_THROWS_AS(
          static_cast<void>(co_await b::with_timeout(1ms, b::on_loop(on, forever, std::ref(u), std::ref(d)))),
          b::timeout_error);
    };
    co_await limited(other, up, down);
    CHECK(up == down);
  }(begun, cleaned));
  CHECK(home.nothing_left());
}

TEST_CASE("on_loop: the record of the cancellation is the caller's, over there") {
  b::testing::test_loop home;
  std::string record;
  home.run([](std::string& to) -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    std::atomic<bool> begun = false;
    const auto waits = [](std::atomic<bool>& up, std::string& said) -> b::task<> {
      const auto notes = [](std::string& into) -> b::managed<int> {
        int value = 0;
        const b::exit_status how = co_yield value;
        into = b::describe(how.cancellation());
      };
      co_await b::use(notes(said));
      up = true;
      co_await b::sleep_for(1h);
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](b::loop& on, auto fn, std::atomic<bool>& up, std::string& said) -> b::task<> {
            co_await b::on_loop(on, fn, std::ref(up), std::ref(said));
          },
          std::ref(other), waits, std::ref(begun), std::ref(to));
      while (!begun) co_await b::yield();
      g.cancel(b::cancel_reason::disconnect);
    });
  }(record));
  CHECK(record.find("disconnect") != std::string::npos);
}

TEST_CASE("on_loop: an error while it is being cancelled is kept") {
  b::testing::test_loop home;
  const auto body = []() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    std::atomic<bool> begun = false;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      const auto fails_in_cleanup = [](std::atomic<bool>& up) -> b::task<> {
        co_await b::finally(
            [&up]() -> b::task<> {
              up = true;
              co_await b::sleep_for(1h);
            },
            []() -> b::task<> {
              throw boom("in cleanup");
              co_return;
            });
      };
      g.spawn([](b::loop& on, auto fn,
                 std::atomic<bool>& up) -> b::task<> { co_await b::on_loop(on, fn, std::ref(up)); },
              std::ref(other), fails_in_cleanup, std::ref(begun));
      while (!begun) co_await b::yield();
      g.cancel();
    });
  };
  CHECK_THROWS_WITH_AS(home.run(body()), "in cleanup", boom);
  CHECK(home.lost_errors().empty());
}

TEST_CASE("on_loop: a loop that has ended, or never ran, is a loop_closed_error [row 24] [row 219]") {
  b::testing::test_loop home;
  home.run([]() -> b::task<> {
    b::loop never;
    const auto calls = [](b::loop& on) -> b::task<> { co_await b::on_loop(on, naps, 1ms); };
    CHECK_THROWS_AS(co_await calls(never), b::loop_closed_error);
    CHECK_THROWS_AS(static_cast<void>(b::spawn_on(never, naps, 1ms)), b::loop_closed_error);
  }());
  CHECK(home.nothing_left());
}

TEST_CASE(
    "on_loop: the loop over there ends: the task is cancelled and cleaned up, the caller gets child_cancelled") {
  b::loop home;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  home.run([](std::atomic<int>& up, std::atomic<int>& down) -> b::task<> {
    running_loop other;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](b::loop& on, std::atomic<int>& u, std::atomic<int>& d) -> b::task<> {
            CHECK_THROWS_AS(static_cast<void>(co_await b::on_loop(on, forever, std::ref(u), std::ref(d))),
                            b::child_cancelled);
          },
          std::ref(other.loop()), std::ref(up), std::ref(down));
      while (up == 0) co_await b::yield();
      co_await b::to_thread([&other] { other.stop(); });
    });
    CHECK(down == 1);
  }(begun, cleaned));
}

TEST_CASE("on_loop: to the own loop is an ordinary await") {
  b::testing::test_loop home;
  home.run([]() -> b::task<> {
    b::loop& here = *b::loop::current();
    CHECK(co_await b::on_loop(here, gives_after, 1h, 2) == 2);
    const auto bad = [](b::loop& on) -> b::task<> {
      static_cast<void>(co_await b::on_loop(on, fails, std::string("x")));
    };
    CHECK_THROWS_AS(co_await bad(here), boom);
    CHECK(!(co_await b::move_on_after(1s, b::on_loop(here, naps, 1h))).has_value());
  }());
  CHECK(home.elapsed() == 1h + 1s);
  CHECK(home.nothing_left());
}

TEST_CASE("on_loop: task_locals are the caller's [row 16]") {
  static b::task_local<std::string> request("request");
  b::testing::test_loop home;
  home.run([]() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    const auto reads = []() -> b::task<std::string> {
      co_await b::yield();
      co_return request.get();
    };
    const std::string got = co_await request.with("r7", b::on_loop(other, reads));
    CHECK(got == "r7");
  }());
}

TEST_CASE("spawn_on: a thread starts a task in a loop, and gets its value or its error [row 23]") {
  running_loop here;
  b::remote_child<int> good = b::spawn_on(here.loop(), gives_after, 1ms, 5);
  CHECK(good.valid());
  CHECK(good.get() == 5);
  CHECK_THROWS_AS(static_cast<void>(good.get()), b::misuse_error);
  b::remote_child<int> bad = b::spawn_on(here.loop(), fails, std::string("in the loop"));
  CHECK_THROWS_WITH_AS(static_cast<void>(bad.get()), "in the loop", boom);
  b::remote_child<void> long_one = b::spawn_on(here.loop(), naps, 1h);
  CHECK(!long_one.wait_for(1ms));
  CHECK(!long_one.done());
  here.stop();
  CHECK(here.lost().empty());
}

TEST_CASE("spawn_on: cancelling the handle cancels the task in the loop [row 23]") {
  running_loop here;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  b::remote_child<int> task = b::spawn_on(here.loop(), forever, std::ref(begun), std::ref(cleaned));
  while (begun == 0) std::this_thread::yield();
  task.cancel();
  task.cancel();
  CHECK_THROWS_AS(static_cast<void>(task.get()), b::child_cancelled);
  CHECK(cleaned == 1);
}

TEST_CASE("spawn_on: a handle that goes cancels the task and waits for it") {
  running_loop here;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  {
    const b::remote_child<int> task = b::spawn_on(here.loop(), forever, std::ref(begun), std::ref(cleaned));
    while (begun == 0) std::this_thread::yield();
  }
  CHECK(cleaned == 1);
}

TEST_CASE("spawn_on: a handle that goes on the loop's own thread cancels the task and does not wait") {
  running_loop here;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  auto task = std::make_unique<b::remote_child<int>>(
      b::spawn_on(here.loop(), forever, std::ref(begun), std::ref(cleaned)));
  while (begun == 0) std::this_thread::yield();
  std::latch gone(1);
  here.loop().post([&] {
    task.reset();
    gone.count_down();
  });
  gone.wait();
  here.stop();
  CHECK(cleaned == 1);
}

TEST_CASE("spawn_on: on the loop's own thread, asking and waiting are misuse") {
  running_loop here;
  std::latch asked(1);
  b::remote_child<int> other = b::spawn_on(here.loop(), gives, 1);
  here.loop().post([&] {
    CHECK_THROWS_AS(static_cast<void>(b::spawn_on(here.loop(), gives, 1)), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(other.get()), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(other.wait_for(1s)), b::misuse_error);
    asked.count_down();
  });
  asked.wait();
  CHECK(other.get() == 1);
}

TEST_CASE(
    "spawn_on: an error that nobody asks for is reported, to the sink of its loop; by stderr when that has ended") {
  {
    running_loop there;
    {
      b::remote_child<int> dropped = b::spawn_on(there.loop(), fails, std::string("nobody asked"));
      while (!dropped.done()) std::this_thread::yield();
    }
    there.stop();
    REQUIRE(there.lost().size() == 1);
    CHECK(there.lost()[0].find("nobody asked") != std::string::npos);
  }
  const process_end end = in_process([] {
    running_loop there;
    b::remote_child<int> dropped = b::spawn_on(there.loop(), fails, std::string("nobody asked"));
    while (!dropped.done()) std::this_thread::yield();
    there.stop();
    return 0;
  });
  CHECK(end.code == 0);
  CHECK(end.said.find("nobody asked") != std::string::npos);
}

TEST_CASE(
    "spawn_on: a thread of to_thread calls back into its loop, and gets the error of that task [row 218]") {
  b::testing::test_loop home;
  home.run([](b::loop& here) -> b::task<> {
    const bool seen = co_await b::to_thread([&here] {
      try {
        static_cast<void>(b::spawn_on(here, fails, std::string("in the loop")).get());
      } catch (const boom&) {
        return true;
      }
      return false;
    });
    CHECK(seen);
  }(home.loop()));
}

TEST_CASE("spawn_on: the end of the loop cancels the task, and its handle says so") {
  std::optional<running_loop> here(std::in_place);
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  b::remote_child<int> task = b::spawn_on(here->loop(), forever, std::ref(begun), std::ref(cleaned));
  while (begun == 0) std::this_thread::yield();
  here->stop();
  CHECK(cleaned == 1);
  CHECK_THROWS_AS(static_cast<void>(task.get()), b::child_cancelled);
}

TEST_CASE("child: waited for on another loop, is refused there, and its own loop goes on") {
  b::testing::test_loop home;
  home.run([]() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    co_await b::with_group([&other](b::group& g) -> b::task<> {
      b::event go("go");
      b::child<void> one = g.spawn(waits_for, std::ref(go));
      co_await b::yield();
      const auto waits_there = [](b::child<void>& on) -> b::task<std::string> {
        try {
          co_await on;
        } catch (const b::misuse_error& e) {
          co_return e.what();
        }
        co_return "no error";
      };
      CHECK((co_await b::on_loop(other, waits_there, std::ref(one))).find("co_await child") == 0);
      go.set();
      co_await one;
    });
  }());
  CHECK(home.nothing_left());
}

TEST_CASE("spawn_on: what cancels a call of to_thread reaches the task that its thread waits for [row 218]") {
  b::testing::test_loop home;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  home.run([](b::loop& here, std::atomic<int>& up, std::atomic<int>& down) -> b::task<> {
    bool told = false;
    const auto calls_back = [&]() -> b::task<> {
      co_await b::to_thread([&] {
        try {
          static_cast<void>(b::spawn_on(here, forever, std::ref(up), std::ref(down)).get());
        } catch (const b::stopped&) {
          told = true;
          // Who starts a task when it has been asked to stop, has something to finish.
          CHECK(b::spawn_on(here, gives_after, 1ms, 4).get() == 4);
          throw;
        }
      });
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(calls_back);
      while (up == 0) co_await b::yield();
      g.cancel();
    });
    CHECK(down == 1);
    CHECK(told);
  }(home.loop(), begun, cleaned));
  CHECK(home.nothing_left());
}

TEST_CASE(
    "remote_child: moved into a handle that has a task, that one is cancelled and waited for, as with std::jthread") {
  running_loop here;
  std::atomic<int> begun = 0;
  std::atomic<int> cleaned = 0;
  b::remote_child<int> kept = b::spawn_on(here.loop(), forever, std::ref(begun), std::ref(cleaned));
  while (begun == 0) std::this_thread::yield();
  b::remote_child<int> other = b::spawn_on(here.loop(), gives_after, 1ms, 5);
  kept = std::move(other);
  CHECK(cleaned == 1);
  CHECK(!other.valid());
  CHECK(kept.get() == 5);
}

TEST_CASE("remote_child: to wait on the thread of any loop is misuse") {
  running_loop here;
  b::testing::test_loop mine;
  mine.run([](b::loop& other) -> b::task<> {
    b::remote_child<int> task = b::spawn_on(other, gives, 1);
    CHECK_THROWS_AS(static_cast<void>(task.get()), b::misuse_error);
    CHECK_THROWS_AS(static_cast<void>(task.wait_for(1s)), b::misuse_error);
    while (!task.done()) co_await b::yield();
  }(here.loop()));
}

TEST_CASE("everywhere: calls to another loop") {
  drive("calls to another loop", [](t::stage& s) -> b::task<> {
    auto& live = s.make<std::atomic<int>>(0);
    s.expect("no local is left over there", [&live] { return live == 0; });
    b::loop& other = co_await b::use(b::loop_thread());
    const auto there = [](std::atomic<int>& count, int x) -> b::task<int> {
      struct held {
        std::atomic<int>& in;
        explicit held(std::atomic<int>& c) : in(c) { ++in; }
        held(const held&) = delete;
        held& operator=(const held&) = delete;
        ~held() { --in; }
      } const here(count);
      co_await b::yield();
      co_return x + 1;
    };
    const int two = co_await b::on_loop(other, there, std::ref(live), 1);
    CHECK(two == 2);
    auto [x, y] = co_await b::all(b::on_loop(other, there, std::ref(live), 2),
                                  b::on_loop(other, there, std::ref(live), 3));
    CHECK(x + y == 7);
  });
}
