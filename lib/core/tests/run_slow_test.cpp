// SPDX-License-Identifier: Apache-2.0
// belay::run in a process of its own: exit codes, signals, handlers. Needs a little real time.

#include <belay/core/finally.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/run.hpp>
#include <belay/core/thread.hpp>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "support.hpp"

using namespace core_tests;

namespace {

void say(const char* what) {
  std::fputs(what, stdout);
  std::fflush(stdout);
}
void complain(const char* what) {
  std::fputs(what, stderr);
  std::fflush(stderr);
}

// Says "r", waits for ever, and cleans up for a while when it is ended.
b::task<> serves(b::duration cleanup) {
  co_await b::finally(
      []() -> b::task<> {
        say("r");
        co_await b::sleep_for(1h);
      },
      [cleanup]() -> b::task<> {
        complain("cleanup begins\n");
        say("c");
        co_await b::sleep_for(cleanup);
        complain("cleanup done\n");
      });
}

// What these tests read from stderr is all there is, on a busy machine too.
b::loop_options unguarded() {
  b::loop_options options;
  options.blocked_limit = b::duration::max();
  return options;
}

// Waits until the process has said one more character.
bool heard(int from) {
  char one = 0;
  return ::read(from, &one, 1) == 1;
}

}  // namespace

TEST_CASE("run: the main task's result is the exit code; void gives 0 [row 29]") {
  CHECK(in_process([] { return b::run(gives(5)); }).code == 5);
  CHECK(in_process([] { return b::run(naps(1ms)); }).code == 0);
  CHECK(in_process([] { return b::run(gives(6), {.signals = false}); }).code == 6);
}

TEST_CASE("run: an error is described on stderr and gives 1 [row 29]") {
  const process_end end = in_process([] { return b::run(fails("no luck")); });
  CHECK(end.code == 1);
  CHECK(end.said.find("error: core_tests::boom: no luck") == 0);
  const process_end odd = in_process([] {
    return b::run([]() -> b::task<> {
      co_await b::yield();
      throw 42;
    }());
  });
  CHECK(odd.code == 1);
  CHECK(odd.said.find("int") != std::string::npos);
}

TEST_CASE(
    "run: SIGINT and SIGTERM end the main task; its cleanup runs; the exit code is 128 + the number [row 303] [row 309] [row 310]") {
  for (const int number : {SIGINT, SIGTERM}) {
    const process_end end = in_process([] { return b::run(serves(1ms), {.loop = unguarded()}); },
                                       [number](int pid, int says) {
                                         CHECK(heard(says));
                                         ::kill(pid, number);
                                       });
    CHECK(end.exited);
    CHECK(end.code == 128 + number);
    CHECK(end.said == "cleanup begins\ncleanup done\n");
  }
}

TEST_CASE("run: SIGINT while a loop without timers sleeps, and while it is busy, is seen at once [row 309]") {
  const process_end asleep = in_process(
      [] {
        return b::run([]() -> b::task<> {
          say("r");
          b::event never;
          co_await never.wait();
        }());
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGINT);
      });
  CHECK(asleep.code == 130);
  const process_end busy = in_process(
      [] {
        return b::run([]() -> b::task<> {
          say("r");
          for (;;) co_await b::yield();
        }());
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGINT);
      });
  CHECK(busy.code == 130);
}

TEST_CASE("run: a main task that ends with a value although a signal came, gives that value [row 312]") {
  const process_end end = in_process(
      [] {
        return b::run([]() -> b::task<int> {
          auto work = []() -> b::task<int> {
            say("r");
            co_await b::sleep_for(20ms);
            co_return 9;
          };
          co_return co_await b::shielded(10s, work());
        }());
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 9);
}

TEST_CASE("run: the first signal is the one that ended it, whatever comes later [row 311]") {
  const process_end end =
      in_process([] { return b::run(serves(50ms), {.loop = unguarded(), .force_after = 20s}); },
                 [](int pid, int says) {
                   CHECK(heard(says));
                   ::kill(pid, SIGTERM);
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                 });
  CHECK(end.code == 143);
  CHECK(end.said == "cleanup begins\ncleanup done\n");
}

TEST_CASE("run: SIGUSR1 prints the live tasks, in release builds too") {
  const process_end end = in_process([] { return b::run(serves(1ms), {.loop = unguarded()}); },
                                     [](int pid, int says) {
                                       CHECK(heard(says));
                                       ::kill(pid, SIGUSR1);
                                       ::usleep(20'000);
                                       ::kill(pid, SIGTERM);
                                     });
  CHECK(end.code == 143);
  CHECK(end.said.find("belay: tasks\n") == 0);
  CHECK(end.said.find("waits for a timer since") != std::string::npos);
}

TEST_CASE("run: SIGTERM reaches a task that a thread of to_thread started in the loop, and waits for") {
  const process_end end = in_process(
      [] {
        return b::run([]() -> b::task<> {
          b::loop& here = *b::loop::current();
          co_await b::to_thread([&here] { b::spawn_on(here, serves, 1ms).get(); });
        }());
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 143);
  CHECK(end.said.find("cleanup done\n") != std::string::npos);
}

TEST_CASE("run: SIGTERM is seen by a loop with a schedule seed that never rests [row 309]") {
  const process_end end = in_process(
      [] {
        b::loop_options seeded;
        seeded.schedule_seed = 1;
        return b::run(
            []() -> b::task<> {
              say("r");
              for (;;) co_await b::yield();
            }(),
            {.loop = std::move(seeded)});
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 143);
}

TEST_CASE("run: SIGTERM in the program's first line is seen, whatever the schedule") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const process_end end = in_process([seed] {
      b::loop_options seeded;
      if (seed != 0) seeded.schedule_seed = seed;
      return b::run(
          []() -> b::task<> {
            ::raise(SIGTERM);
            co_await b::sleep_for(1h);
          }(),
          {.loop = std::move(seeded)});
    });
    CHECK(end.code == 143);
  }
}

TEST_CASE(
    "run: SIGUSR1 while nobody reads stderr does not stop the loop; what got through is said to be cut") {
  std::array<int, 2> full{};
  REQUIRE(::pipe(full.data()) == 0);
  const process_end end = in_process(
      [&full] {
        ::dup2(full[1], STDERR_FILENO);
        return b::run(
            []() -> b::task<> {
              co_await b::with_group([](b::group& g) -> b::task<> {
                for (int i = 0; i < 2000; ++i) g.spawn(naps, 1h);
                for (;;) {
                  say(".");
                  co_await b::sleep_for(1ms);
                }
              });
            }(),
            {.loop = unguarded()});
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGUSR1);
        for (int i = 0; i < 200; ++i) CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 143);
  ::close(full[0]);
  ::close(full[1]);
}

TEST_CASE("run: a process that a task forks dies of SIGTERM as any other") {
  const process_end end = in_process([] {
    return b::run(
        []() -> b::task<int> {
          const pid_t made = ::fork();
          if (made == 0) {
            for (;;) ::pause();
          }
          ::usleep(20'000);
          ::kill(made, SIGTERM);
          int how = 0;
          ::waitpid(made, &how, 0);
          co_return WIFSIGNALED(how) && WTERMSIG(how) == SIGTERM ? 7 : 1;
        }(),
        {.loop = unguarded()});
  });
  CHECK(end.code == 7);
}

TEST_CASE("run: a cleanup that fails after a signal, is described and gives 1") {
  const process_end end = in_process(
      [] {
        return b::run(b::finally(
            []() -> b::task<> {
              say("r");
              co_await b::sleep_for(1h);
            },
            []() -> b::task<> {
              co_await b::yield();
              throw boom("cleanup failed");
            }));
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 1);
  CHECK(end.said.find("cleanup failed") != std::string::npos);
  CHECK(end.said.find("cancelled by SIGTERM") != std::string::npos);
}

TEST_CASE("run: a second SIGINT bounds the cleanup; the process ends though it hangs") {
  const process_end end =
      in_process([] { return b::run(serves(1h), {.loop = unguarded(), .force_after = 30ms}); },
                 [](int pid, int says) {
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                 });
  CHECK(end.code == 130);
  CHECK(end.said.find("cleanup done") == std::string::npos);
  CHECK(end.said.find("did not end in time after the second SIGINT") != std::string::npos);
  // ... and says what hung.
  CHECK(end.said.find("The tasks that are left:\n") != std::string::npos);
  CHECK(end.said.find("waits for a timer since") != std::string::npos);
  CHECK(end.said.find("run_slow_test.cpp:") != std::string::npos);
}

TEST_CASE("run: a second SIGINT and a cleanup that ends within the bound, ends in order") {
  const process_end end =
      in_process([] { return b::run(serves(50ms), {.loop = unguarded(), .force_after = 20s}); },
                 [](int pid, int says) {
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                 });
  CHECK(end.code == 130);
  CHECK(end.said == "cleanup begins\ncleanup done\n");
}

TEST_CASE("run: a third SIGINT ends the process at once [row 305]") {
  const process_end end =
      in_process([] { return b::run(serves(1h), {.loop = unguarded(), .force_after = 1h}); },
                 [](int pid, int says) {
                   CHECK(heard(says));
                   ::kill(pid, SIGINT);
                   CHECK(heard(says));
                   // Signals that come together are one: repeat until it has gone.
                   for (int i = 0; i < 1000 && ::kill(pid, SIGINT) == 0; ++i) {
                     ::usleep(1000);
                     char one = 0;
                     if (::read(says, &one, 0) < 0) break;
                     siginfo_t state{};
                     if (::waitid(P_PID, static_cast<id_t>(pid), &state, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                         state.si_pid == pid) {
                       break;
                     }
                   }
                 });
  CHECK(end.code == 130);
}

TEST_CASE("run: SIGTERM again and again does not force [row 306]") {
  const process_end end =
      in_process([] { return b::run(serves(60ms), {.loop = unguarded(), .force_after = 1ms}); },
                 [](int pid, int says) {
                   CHECK(heard(says));
                   ::kill(pid, SIGTERM);
                   CHECK(heard(says));
                   for (int i = 0; i < 5; ++i) {
                     ::kill(pid, SIGTERM);
                     ::usleep(2000);
                   }
                 });
  CHECK(end.code == 143);
  CHECK(end.said == "cleanup begins\ncleanup done\n");
}

TEST_CASE("run: afterwards the signal handlers are those from before [row 307]") {
  const process_end end = in_process([] {
    static int seen = 0;
    std::signal(SIGTERM, [](int) { ++seen; });
    const int code = b::run(naps(1ms));
    std::raise(SIGTERM);
    return code + seen;
  });
  CHECK(end.code == 1);
}

TEST_CASE("run: with signals left alone, SIGTERM does what it always did") {
  const process_end end = in_process([] { return b::run(serves(1ms), {.signals = false}); },
                                     [](int pid, int says) {
                                       CHECK(heard(says));
                                       ::kill(pid, SIGTERM);
                                     });
  CHECK(!end.exited);
  CHECK(end.signal == SIGTERM);
}

TEST_CASE("run: on a virtual clock a deadlock is reported, and a signal is seen") {
  const process_end stuck = in_process([] {
    b::testing::virtual_clock clock;
    return b::run(
        []() -> b::task<> {
          b::event never;
          co_await never.wait();
        }(),
        {.loop = {.clock = &clock}});
  });
  CHECK(stuck.code == 1);
  CHECK(stuck.said.find("nothing could wake them") != std::string::npos);
  const process_end ended = in_process([] {
    b::testing::virtual_clock clock;
    return b::run(
        []() -> b::task<> {
          std::raise(SIGTERM);
          for (;;) co_await b::sleep_for(1s);
        }(),
        {.loop = {.clock = &clock}});
  });
  CHECK(ended.code == 143);
}

TEST_CASE("run: called inside of a running loop, is a misuse_error [row 26]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    CHECK_THROWS_AS(b::run(naps(1s)), b::misuse_error);
    co_return;
  }());
}

TEST_CASE("to_thread: a signal is handled by the loop's thread though pool threads are running") {
  const process_end end = in_process(
      [] {
        return b::run([]() -> b::task<> {
          co_await b::to_thread([](std::stop_token stop) {
            say("r");
            while (!stop.stop_requested()) ::usleep(500);
            throw b::stopped();
          });
        }());
      },
      [](int pid, int says) {
        CHECK(heard(says));
        ::kill(pid, SIGTERM);
      });
  CHECK(end.code == 143);
}

TEST_CASE("to_thread: a limit on a virtual clock asks a running function to stop [row 213]") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    auto stubborn = []() -> b::task<int> {
      co_return co_await b::to_thread([](std::stop_token stop) -> int {
        while (!stop.stop_requested()) ::usleep(200);
        throw b::stopped();
      });
    };
    CHECK(!co_await b::move_on_after(20ms, stubborn()));
  }());
  CHECK(loop.elapsed() == 20ms);
  CHECK(loop.nothing_left());
}

TEST_CASE("loop: a limit on the machine's clock, cuts at about that time") {
  b::loop loop;
  const auto begin = b::now();
  CHECK_THROWS_AS(loop.run(b::with_timeout(20ms, naps(10s))), b::timeout_error);
  const auto took = b::now() - begin;
  CHECK(took >= 20ms);
  CHECK(took < 5s);
}
