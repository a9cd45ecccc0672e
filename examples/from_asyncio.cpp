// SPDX-License-Identifier: Apache-2.0
// What people know from asyncio, in Belay. The code of docs/from-asyncio.md.
//   ./from_asyncio     exit: 0
#include <belay/core/all.hpp>
#include <belay/core/as_completed.hpp>
#include <belay/core/deadline.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/managed.hpp>
#include <belay/core/on_loop.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/periodic.hpp>
#include <belay/core/run.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/settle.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/stream.hpp>
#include <belay/core/supervisor.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/resilience/retry.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using belay::task;

task<std::string> fetch(std::string what, bool broken = false) {
  co_await belay::sleep_for(5ms);
  if (broken) throw belay::error(belay::error_kind::unavailable, "down", what + " is down");
  co_return what;
}

struct connection {
  std::string name;
  task<> execute(std::string text) {
    co_await belay::sleep_for(1ms);
    std::printf("  %s\n", text.c_str());
  }
};

// [snippet gather]
task<> dashboard() {
  auto [user, posts, comments] = co_await belay::all(fetch("user"), fetch("posts"), fetch("comments"));
  std::printf("  %s, %s, %s\n", user.c_str(), posts.c_str(), comments.c_str());
}
// [end]

// [snippet return_exceptions]
task<> whatever_works() {
  std::vector<task<std::string>> questions;
  questions.push_back(fetch("A"));
  questions.push_back(fetch("B", true));
  for (const auto& answer : co_await belay::settle(std::move(questions))) {
    std::printf("  %s\n", answer.succeeded() ? "an answer" : answer.failure().message().c_str());
  }
}
// [end]

// [snippet as_completed]
task<> as_they_come() {
  auto questions = belay::as_completed(fetch("A"), fetch("B", true), fetch("C"));
  co_await belay::with(std::move(questions), [](belay::open_completions<std::string>& done) -> task<> {
    while (auto answer = co_await done.next()) {
      try {
        std::printf("  %zu: %s\n", answer->index, answer->value().c_str());
      } catch (const belay::error& e) {  // of this one; the iteration goes on
        std::printf("  %zu: %s\n", answer->index, e.what());
      }
      if (answer->index == 1) break;  // what still runs is cancelled and waited for
    }
  });
}
// [end]

// [snippet create_task]
task<> create_and_cancel() {
  co_await belay::with_group([](belay::group& g) -> task<> {
    belay::child<std::string> quick = g.spawn(fetch, "quick", false);
    auto hour = []() -> task<> { co_await belay::sleep_for(1h); };
    belay::child<void> slow = g.spawn(hour);
    std::printf("  %s\n", (co_await quick).c_str());
    slow.cancel();  // the group waits for its end: no `await task` after cancel() to be forgotten
  });
}
// [end]

// [snippet awaited_cancelled]
task<> await_a_cancelled_one() {
  co_await belay::with_group([](belay::group& g) -> task<> {
    belay::child<std::string> one = g.spawn(fetch, "one", false);
    one.cancel();
    try {
      co_await one;
    } catch (const belay::child_cancelled& e) {  // an ordinary error: the awaiter itself was not cancelled
      std::printf("  child_cancelled, kind %s\n", std::string(belay::to_string(e.kind())).c_str());
    }
  });
}
// [end]

// [snippet wait_for]
task<> timeouts() {
  try {
    co_await belay::with_timeout(1ms, fetch("slow"));
  } catch (const belay::timeout_error&) {
    std::puts("  timed out");
  }
}
// [end]

// [snippet reschedule]
task<> while_it_makes_progress(std::vector<std::string> names) {
  co_await belay::with_deadline(1s, [&](belay::deadline& limit) -> task<> {  // asyncio.timeout(1) as limit
    for (const std::string& name : names) {
      std::printf("  %s\n", (co_await fetch(name)).c_str());
      limit.restart();  // limit.reschedule(loop.time() + 1); also move_to, extend, remove, when, expired
    }
  });
}
// [end]

// [snippet shield]
task<> commit_whatever_comes(connection& c) { co_await belay::shielded(5s, c.execute("commit")); }
// [end]

// [snippet context_manager]
belay::managed<connection> transaction() {
  connection c{"bank"};
  co_await c.execute("begin");                                  // __aenter__
  const belay::exit_status how = co_yield c;                    // yield
  co_await c.execute(how.succeeded() ? "commit" : "rollback");  // __aexit__: shielded, bounded, runs always
}

task<> transfer() {
  co_await belay::with(transaction(), [](connection& c) -> task<> { co_await c.execute("update"); });
}
// [end]

// [snippet finally]
task<> try_finally() {
  co_await belay::finally([]() -> task<> { co_await fetch("something"); },
                          []() -> task<> { co_await connection{"c"}.execute("close"); });
}
// [end]

// [snippet async_generator]
belay::managed<connection> connected() {
  connection c{"library"};
  co_yield c;
  co_await c.execute("disconnect");
}

belay::stream<std::string> pages(int count) {
  connection& c = co_await belay::use(connected());  // async with, inside of an async generator
  for (int i = 1; i <= count; ++i) {
    co_await c.execute("get page " + std::to_string(i));
    co_yield "page " + std::to_string(i);
  }
}

task<> read_some() {
  co_await belay::with(pages(9),
                       [](belay::open_stream<std::string>& all) -> task<> {       // async with aclosing(...)
                         while (const std::string* page = co_await all.next()) {  // async for
                           std::printf("  %s\n", page->c_str());
                           if (*page == "page 2") break;
                         }
                       });
  std::puts("  here the generator has disconnected");
}
// [end]

// [snippet to_thread]
int slow_blocking_function(std::stop_token stop, int steps) {
  for (int i = 0; i < steps; ++i) {
    if (stop.stop_requested()) throw belay::stopped{};  // nothing was done: the task is cancelled
    std::this_thread::sleep_for(1ms);
  }
  return steps;
}

task<> in_a_thread() { std::printf("  %d steps\n", co_await belay::to_thread(slow_blocking_function, 3)); }
// [end]

// [snippet abandon]
std::string look_up(const std::string& host) {  // of a library that takes no stop token, and its time
  std::this_thread::sleep_for(30ms);
  return host + " is at home";
}

task<std::string> patient_look_up(std::string host) {
  co_return co_await belay::to_thread(belay::abandon("look up"), look_up, host);
}

task<> not_that_long() {
  const auto found = co_await belay::move_on_after(5ms, patient_look_up("example"));
  std::puts(found ? "  found" : "  went on without an answer");
}
// [end]

// [snippet threadsafe]
task<int> answer(int question) {
  co_await belay::sleep_for(1ms);
  co_return question * 2;
}

// Called on a thread that has no loop.
void ask_from_a_thread(belay::loop& loop) {
  belay::remote_child<int> future = belay::spawn_on(loop, answer, 21);
  std::printf("  %d\n", future.get());  // or its error; cancel() cancels the task
}
// [end]

// [snippet loops]
task<> on_all_processors() {
  std::atomic<int> sum = 0;
  co_await belay::run_on_each(4, [&sum](unsigned index, std::span<belay::loop* const> loops) -> task<> {
    belay::loop& next = *loops[(index + 1) % loops.size()];
    sum += co_await belay::on_loop(next, answer, static_cast<int>(index));
  });
  std::printf("  %d\n", sum.load());
}
// [end]

// [snippet semaphore]
task<> at_most_two(std::vector<std::string> names) {
  belay::semaphore line(2);  // outlives the group's tasks
  co_await belay::with_group([&](belay::group& g) -> task<> {
    for (const std::string& name : names) {
      g.spawn(
          [](belay::semaphore& in, std::string what) -> task<> {
            const belay::permit mine = co_await in.acquire();  // given back at the end of the scope
            std::printf("  %s\n", (co_await fetch(what)).c_str());
          },
          std::ref(line), name);
    }
    co_return;
  });
}
// [end]

// [snippet supervised]
task<> keep_going() {
  int crashes = 0;
  auto tell = [](const belay::worker_event& one) {
    std::printf("  %s: %s\n", one.worker.c_str(), one.why.message().c_str());
  };
  belay::supervisor workers({.most_restarts = 3, .window = 1min, .first_delay = 1ms, .on_event = tell});
  workers.add("feed", [&crashes]() -> task<> {
    if (++crashes <= 2) throw std::runtime_error("the line is down");
    co_await belay::repeat(belay::every(1ms), []() -> task<> { co_await fetch("news"); });
  });
  co_await belay::move_on_after(200ms, workers.run());  // cancelled: the workers are stopped, last first
}
// [end]

// [snippet retry]
task<std::string> refuses(int& calls) {
  if (++calls < 3) throw belay::error(belay::error_kind::unavailable, "refused", "refused");
  co_return "attempt " + std::to_string(calls);
}

// @retry(max_retries=3, delay=0.001, backoff=2, exceptions=(NetworkError,))
const belay::retry again{{.max_attempts = 3, .delay = belay::backoff::exponential(1ms, 1s)}};

task<> retried() {
  int calls = 0;
  std::printf("  %s\n", (co_await again(refuses, std::ref(calls))).c_str());
}
// [end]

// [snippet except]
task<> catch_everything() {
  try {
    co_await belay::sleep_for(1h);
  } catch (...) {
    std::puts("  never printed: a cancellation does not come by here");
  }
}
// [end]

// [snippet except_star]
struct not_there : belay::error {
  using error::error;
};

template <class E>
task<> fails_with(std::string words) {
  co_await belay::fail(E(words));
}
task<> fetch_all() {
  co_await belay::with_group({.policy = belay::group_policy::settle}, [](belay::group& g) -> task<> {
    g.spawn(fails_with<belay::timeout_error>, "replica 1");
    g.spawn(fails_with<not_there>, "user 7");
    g.spawn(fails_with<belay::timeout_error>, "replica 2");
    co_return;
  });
}

task<> handles_some() {
  try {
    co_await fetch_all();
  } catch (...) {
    belay::failure what = belay::current_failure();
    what.note("while loading the dashboard");                // e.add_note(...)
    auto [late, rest] = what.split<belay::timeout_error>();  // except* TimeoutError as late:
    late.for_each<belay::timeout_error>([](const auto& e) { std::printf("  late: %s\n", e.what()); });
    if (rest) rest.rethrow();  // what except* does by itself; forgotten, it would go to the failure sink
  }
}
// [end]

task<> program() {
  std::puts("gather:");
  co_await dashboard();
  std::puts("gather(return_exceptions=True):");
  co_await whatever_works();
  std::puts("as_completed:");
  co_await as_they_come();
  std::puts("create_task, cancel:");
  co_await create_and_cancel();
  co_await await_a_cancelled_one();
  std::puts("wait_for:");
  co_await timeouts();
  std::puts("timeout, reschedule:");
  co_await while_it_makes_progress({"first", "second"});
  std::puts("shield:");
  connection c{"bank"};
  co_await commit_whatever_comes(c);
  std::puts("asynccontextmanager:");
  co_await transfer();
  std::puts("try/finally:");
  co_await try_finally();
  std::puts("async for:");
  co_await read_some();
  std::puts("to_thread:");
  co_await in_a_thread();
  std::puts("to_thread, abandoned:");
  co_await not_that_long();
  std::puts("run_coroutine_threadsafe:");
  co_await belay::to_thread(ask_from_a_thread, std::ref(*belay::loop::current()));
  std::puts("several loops:");
  co_await on_all_processors();
  std::puts("Semaphore:");
  co_await at_most_two({"a", "b", "c"});
  std::puts("supervised:");
  co_await keep_going();
  std::puts("@retry:");
  co_await retried();
  std::puts("except:");
  co_await belay::move_on_after(5ms, catch_everything());
  std::puts("except*, add_note:");
  try {
    co_await handles_some();
  } catch (const not_there& e) {
    std::printf("  not handled there: %s\n", e.what());
  }
}

int main() { return belay::run(program()); }
