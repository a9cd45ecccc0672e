// SPDX-License-Identifier: Apache-2.0
// Several loops in one program: each has its main task, errors and cancellations reach all.

#include <belay/core/all.hpp>
#include <belay/core/cancel.hpp>
#include <belay/core/detail/thread_start.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/run.hpp>
#include <belay/core/signals.hpp>
#include <belay/core/thread.hpp>

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <set>
#include <thread>

#include "driven.hpp"

using namespace core_tests;

namespace {

using loops = std::span<b::loop* const>;

// Waits for ever; counts that it came and that it was cleaned up.
struct census {
  std::atomic<int> came = 0;
  std::atomic<int> left = 0;
};
b::task<> stays(census& in) {
  struct counted_here {
    census& in;
    explicit counted_here(census& c) : in(c) { ++in.came; }
    counted_here(const counted_here&) = delete;
    counted_here& operator=(const counted_here&) = delete;
    ~counted_here() { ++in.left; }
  } const here(in);
  co_await b::sleep_for(1h);
}

}  // namespace

TEST_CASE("loop_thread: a loop on its own thread runs what is posted, and closes with what is left in it") {
  b::testing::test_loop home;
  census in;
  home.run([](census& all) -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    std::thread::id there;
    co_await b::on_loop(
        other,
        [](std::thread::id& to) -> b::task<> {
          to = std::this_thread::get_id();
          co_return;
        },
        std::ref(there));
    CHECK(there != std::this_thread::get_id());
    std::atomic<bool> posted = false;
    other.post([&posted] { posted = true; });
    while (!posted) co_await b::yield();
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([](b::loop& on, census& c) -> b::task<> { co_await b::on_loop(on, stays, std::ref(c)); },
              std::ref(other), std::ref(all));
      while (all.came == 0) co_await b::yield();
      g.cancel();
    });
  }(in));
  CHECK(in.left == 1);
  CHECK(home.nothing_left());
}

TEST_CASE("loop_thread: no thread, no loop: the error comes out") {
  b::testing::test_loop home;
  b::detail::threads_granted = 0;
  const auto opens = [](b::loop_options options = {}) -> b::task<> {
    co_await b::use(b::loop_thread(std::move(options)));
  };
  CHECK_THROWS_AS(home.run(opens()), std::system_error);
  CHECK_THROWS_AS(home.run(b::run_on_each(2, [](unsigned) -> b::task<> { co_return; })), std::system_error);
  b::detail::threads_granted = -1;
  CHECK_THROWS_AS(home.run(opens({.blocking_threads = 0})), b::misuse_error);
  home.run(opens());
  CHECK(home.nothing_left());
}

TEST_CASE("loop_thread: its abandoned calls are waited for by its own thread, and the loop at home goes on") {
  b::loop home;
  home.run([]() -> b::task<> {
    auto go = std::make_shared<std::atomic<bool>>(false);
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn(
          [](std::shared_ptr<std::atomic<bool>> gate) -> b::task<> {
            b::loop& other = co_await b::use(b::loop_thread());
            const auto leaves = [](std::shared_ptr<std::atomic<bool>> until) -> b::task<> {
              auto begun = std::make_shared<std::atomic<bool>>(false);
              co_await b::with_group([&](b::group& in) -> b::task<> {
                in.spawn(
                    [](auto up, auto wait_for) -> b::task<> {
                      co_await b::to_thread(
                          b::abandon(),
                          [](const auto& told, const auto& end) {
                            *told = true;
                            while (!*end) std::this_thread::yield();
                          },
                          up, wait_for);
                    },
                    begun, until);
                while (!*begun) co_await b::yield();
                in.cancel();
              });
            };
            co_await b::on_loop(other, leaves, gate);
          },
          go);
      for (int i = 0; i < 20; ++i) co_await b::sleep_for(1ms);
      *go = true;
    });
  }());
}

TEST_CASE("loop_thread: with a virtual clock of its own, an hour over there costs nothing") {
  b::testing::test_loop home;
  b::testing::virtual_clock time;
  home.run([](b::clock& its) -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread({.clock = &its}));
    CHECK(co_await b::on_loop(other, gives_after, 1h, 3) == 3);
    CHECK(co_await b::on_loop(other, gives_after, 1h, 4) == 4);
  }(time));
  CHECK(time.elapsed() == 2h);
  CHECK(home.elapsed() == 0s);
}

TEST_CASE("run_on_each: each loop has its thread and its index; the first is the caller's") {
  b::loop home;
  std::mutex lock;
  std::set<std::thread::id> threads;
  std::set<unsigned> indexes;
  std::atomic<bool> first_is_here = false;
  const auto here = std::this_thread::get_id();
  home.run(b::run_on_each(4, [&](unsigned index) -> b::task<> {
    co_await b::yield();
    const std::lock_guard guard(lock);
    threads.insert(std::this_thread::get_id());
    indexes.insert(index);
    if (index == 0) first_is_here = std::this_thread::get_id() == here;
  }));
  CHECK(threads.size() == 4);
  CHECK(indexes == std::set<unsigned>{0, 1, 2, 3});
  CHECK(first_is_here);
  std::atomic<unsigned> count = 0;
  home.run(b::run_on_each([&count](unsigned) -> b::task<> {
    ++count;
    co_return;
  }));
  CHECK(count == std::max(1u, std::thread::hardware_concurrency()));
  for (const unsigned wrong : {0u, static_cast<unsigned>(-1)}) {
    CHECK_THROWS_AS(home.run(b::run_on_each(wrong, [](unsigned) -> b::task<> { co_return; })),
                    b::misuse_error);
  }
}

TEST_CASE(
    "run_on_each: the first failure cancels the others, on all loops, and comes out bare; what else fails is attached") {
  for (const unsigned failing : {0u, 2u}) {
    b::loop home;
    census in;
    std::string story;
    const auto main_of = [&](unsigned index) -> b::task<> {
      if (index == failing) {
        while (in.came != 3) co_await b::yield();
        throw boom("the first");
      }
      struct fails_too {
        static b::managed<int> resource() {
          int value = 0;
          co_yield value;
          throw boom("while it closed");
        }
      };
      if (index == 3) co_await b::use(fails_too::resource());
      co_await stays(in);
    };
    home.run([](auto& factory) -> b::task<> {
      const b::outcome<void> how = co_await b::as_outcome(b::run_on_each(4, factory));
      const b::failure what = how.failure();
      CHECK(b::detail::exception_as<boom>(what.exception()) != nullptr);
      CHECK(what.message() == "the first");
      REQUIRE(what.attached().size() == 1);
      CHECK(what.attached()[0].message() == "while it closed");
    }(main_of));
    CHECK(in.left == 3);
  }
}

TEST_CASE(
    "run_on_each: what the other loops read of the failure that cancelled them, nobody changes meanwhile") {
  b::loop home;
  std::atomic<int> read = 0;
  std::atomic<int> came = 0;
  const auto main_of = [&read, &came](unsigned index) -> b::task<> {
    if (index == 1) {
      while (came != 7) co_await b::sleep_for(1ms);
      came = 0;
      throw boom("the first");
    }
    struct reader {
      std::atomic<int>& count;
      explicit reader(std::atomic<int>& to) : count(to) {}
      reader(const reader&) = delete;
      reader& operator=(const reader&) = delete;
      ~reader() {
        const b::cancel_record why = b::current_cancellation();
        if (!why || !why.cause()) return;
        for (int i = 0; i < 50; ++i) CHECK(b::describe(why.cause()).find("the first") != std::string::npos);
        CHECK(b::detail::exception_as<boom>(why.cause().exception()) != nullptr);
        ++count;
      }
    } const at_end(read);
    ++came;
    if (index < 4) co_await b::sleep_for(1h);
    co_await b::finally([]() -> b::task<> { co_await b::sleep_for(1h); },
                        []() -> b::task<> {
                          throw boom("in cleanup");
                          co_return;
                        });
  };
  for (int round = 0; round < 5; ++round) {
    home.run([](auto& factory) -> b::task<> {
      const b::outcome<void> how = co_await b::as_outcome(b::run_on_each(8, factory));
      CHECK(how.failure().message() == "the first");
      CHECK(how.failure().attached().size() == 4);
    }(main_of));
  }
  CHECK(read == 5 * 7);
}

TEST_CASE(
    "loop_thread: its lost errors and diagnostics go where those of the calling loop go, unless told otherwise") {
  b::testing::test_loop home;
  std::vector<std::string> own;
  home.run([](std::vector<std::string>& to) -> b::task<> {
    const auto loses = []() -> b::task<> {
      b::loop::current()->post([] { throw boom("posted there"); });
      static_cast<void>(naps(1s));  // dropped
      co_await b::yield();
    };
    b::loop& other = co_await b::use(b::loop_thread());
    co_await b::on_loop(other, loses);
    b::loop& apart = co_await b::use(b::loop_thread({
        .on_lost_failure = [&to](const b::failure& what) { to.push_back(what.message()); },
        .on_diagnostic = [&to](const b::diagnostic& what) { to.emplace_back(b::to_string(what.kind)); },
    }));
    co_await b::on_loop(apart, loses);
  }(own));
  REQUIRE(home.lost_errors().size() == 1);
  CHECK(home.lost_errors()[0].find("posted there") != std::string::npos);
  REQUIRE(home.diagnostics().size() == 1);
  CHECK(home.diagnostics()[0].kind == b::diagnostic_kind::task_dropped);
  CHECK(own.size() == 2);
}

TEST_CASE("loop_thread: how long a cancellation is ignored there, is by the clock of that loop") {
  b::testing::test_loop home;  // its clock stands at zero
  std::vector<b::duration> ages;
  home.run([](std::vector<b::duration>& to) -> b::task<> {
    b::loop_options options;
    options.ignored_cancel_limit = 50ms;
    options.on_diagnostic = [&to](const b::diagnostic& what) { to.push_back(what.lasted); };
    b::loop& other = co_await b::use(b::loop_thread(std::move(options)));
    std::atomic<bool> begun = false;
    const auto slowly = [&to, &begun]() -> b::task<> {
      co_await b::shielded(10s, [](std::vector<b::duration>& told, std::atomic<bool>& here) -> b::task<> {
        here = true;
        while (told.empty()) co_await b::sleep_for(1ms);
      }(to, begun));
    };
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([](b::loop& to, auto& function) -> b::task<> { co_await b::on_loop(to, function); },
              std::ref(other), std::ref(slowly));
      while (!begun) co_await b::yield();
      g.cancel();
    });
  }(ages));
  REQUIRE(ages.size() == 2);
  CHECK(ages[0] >= 50ms);
  CHECK(ages[0] < 10s);
  CHECK(ages[1] < 10s);
}

TEST_CASE("run_on_each: cancelled from outside, all loops clean up") {
  b::loop home;
  census in;
  home.run(b::with_group([&](b::group& g) -> b::task<> {
    g.spawn(
        [](census& all) -> b::task<> {
          co_await b::run_on_each(3, [&all](unsigned) -> b::task<> { co_await stays(all); });
        },
        std::ref(in));
    while (in.came != 3) co_await b::yield();
    g.cancel();
  }));
  CHECK(in.left == 3);
}

TEST_CASE("run_on_each: the loops call each other, all at the same time") {
  b::loop home;
  std::array<std::atomic<int>, 4> served{};
  home.run(b::run_on_each(4, [&served](unsigned index, loops all) -> b::task<> {
    const auto serve = [&served](unsigned who) -> b::task<unsigned> {
      ++served[who];
      co_await b::yield();
      co_return who;
    };
    // A loop that has nothing to do itself any more still serves: it ends with run_on_each.
    for (unsigned i = 0; i < 40; ++i) {
      const unsigned to = (index + i) % 4;
      const unsigned got = co_await b::on_loop(*all[to], serve, to);
      CHECK(got == to);
    }
  }));
  for (const std::atomic<int>& one : served) CHECK(one == 40);
}

TEST_CASE(
    "run_on_each: its program ends by SIGTERM, after the cleanup of all loops; SIGTERM comes to the first") {
  const process_end end = in_process(
      [] {
        static census in;
        const int code = b::run(b::run_on_each(3, [](unsigned index) -> b::task<> {
          if (index == 0) {
            co_await b::with_group([](b::group& g) -> b::task<> {
              g.spawn(stays, std::ref(in));
              while (in.came != 3) co_await b::yield();
              std::fputs("r", stdout);
              std::fflush(stdout);
            });
          } else {
            co_await stays(in);
          }
        }));
        std::fprintf(stderr, "left: %d\n", in.left.load());
        return code;
      },
      [](int pid, int its_stdout) {
        char one = 0;
        CHECK(::read(its_stdout, &one, 1) == 1);
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 128 + SIGTERM);
  CHECK(end.said.find("left: 3") != std::string::npos);
}

TEST_CASE(
    "signal_watch: a signal between its making and the first wait is not lost, whichever thread the system picks [row 513]") {
  b::loop home;
  home.run([]() -> b::task<> {
    for (int round = 0; round < 20; ++round) {
      b::signal_watch watch{SIGUSR2};
      std::thread([] { ::kill(::getpid(), SIGUSR2); }).join();
      if (round % 2 == 0) co_await b::yield();
      CHECK(co_await watch.next() == SIGUSR2);
    }
  }());
}

TEST_CASE("run: a signal that comes before the program's first line is not lost [row 513]") {
  const process_end end = in_process([] {
    return b::run([]() -> b::task<> {
      std::thread([] { ::kill(::getpid(), SIGTERM); }).join();
      // Not one await before: the watcher has been started, and waits for nothing yet that this task could see.
      co_await b::sleep_for(1h);
    }());
  });
  CHECK(end.code == 128 + SIGTERM);
}

TEST_CASE("everywhere: several loops") {
  drive("several loops", [](t::stage& s) -> b::task<> {
    auto& live = s.make<std::atomic<int>>(0);
    s.expect("no local is left on any loop", [&live] { return live == 0; });
    co_await b::run_on_each(2, [&live](unsigned, loops all) -> b::task<> {
      struct held {
        std::atomic<int>& in;
        explicit held(std::atomic<int>& c) : in(c) { ++in; }
        held(const held&) = delete;
        held& operator=(const held&) = delete;
        ~held() { --in; }
      } const here(live);
      co_await b::yield();
      CHECK(all.size() == 2);
    });
  });
}
