// SPDX-License-Identifier: Apache-2.0
// How many names are asked of the system at once, and what becomes of those that nobody waits for.

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <string>

#include "../src/lookups.hpp"

namespace b = belay;
using namespace std::chrono_literals;
using b::io::detail::looked_up;
using b::io::detail::lookups;

namespace {

// A system whose name servers answer when they are told to.
struct servers {
  std::atomic<int> asked{0};
  std::atomic<int> busy{0};
  std::atomic<int> busiest{0};
  std::atomic<bool> answer{true};
};
servers dns;

looked_up ask(std::string host) {
  ++dns.asked;
  const int now = ++dns.busy;
  for (int seen = dns.busiest; seen < now && !dns.busiest.compare_exchange_weak(seen, now);) {
  }
  dns.answer.wait(false);
  --dns.busy;
  return {.addresses = {"address of " + host}};
}

void reset() {
  dns.asked = dns.busiest = 0;
  dns.answer = true;
}
void answer() {
  dns.answer = true;
  dns.answer.notify_all();
}

b::task<> ask_for(lookups& at, std::string host, int& answers) {
  const looked_up found = co_await at.ask(host);
  if (found.addresses == std::vector<std::string>{"address of " + host}) ++answers;
}

b::task<> until(const std::atomic<int>& number, int wanted) {
  while (number != wanted) co_await b::sleep_for(1ms);
}

void run(b::task<> what) {
  b::loop loop(b::loop_options{.blocking_threads = 3});
  loop.run(b::with_timeout(20s, std::move(what)));
  CHECK(loop.statistics().live_tasks == 0);
}

}  // namespace

TEST_CASE("lookups: a few at once, the others in line; all are answered") {
  reset();
  run([]() -> b::task<> {
    lookups at(ask, 2);
    int answers = 0;
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      for (int i = 0; i != 20; ++i) tasks.spawn(ask_for, std::ref(at), std::to_string(i), std::ref(answers));
      co_return;
    });
    CHECK(answers == 20);
  }());
  CHECK(dns.asked == 20);
  CHECK(dns.busiest <= 2);
}

TEST_CASE("lookups: who asks for a name that is asked for waits for the same answer") {
  reset();
  dns.answer = false;
  run([]() -> b::task<> {
    lookups at(ask, 2);
    int answers = 0;
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      for (int i = 0; i != 5; ++i) tasks.spawn(ask_for, std::ref(at), "db", std::ref(answers));
      co_await until(dns.busy, 1);
      co_await b::yield();
      answer();
    });
    CHECK(answers == 5);
    co_await ask_for(at, "db", answers);
    CHECK(answers == 6);
  }());
  CHECK(dns.asked == 2);
}

TEST_CASE(
    "lookups: those that hang, and were left behind, leave threads for other work, and their places come back") {
  reset();
  dns.answer = false;
  run([]() -> b::task<> {
    lookups at(ask, 2);
    int answers = 0;
    for (const char* host : {"a", "b"})
      CHECK_FALSE(co_await b::move_on_after(5ms, ask_for(at, host, answers)));
    co_await until(dns.busy, 2);
    CHECK(b::loop::current()->statistics().abandoned_jobs == 2);
    CHECK_FALSE(co_await b::move_on_after(30ms, ask_for(at, "c", answers)));  // in line
    CHECK(dns.asked == 2);
    CHECK(co_await b::to_thread([] { return 7; }) == 7);
    co_await b::with_group([&](b::group& tasks) -> b::task<> {
      tasks.spawn(ask_for, std::ref(at), "d", std::ref(answers));
      co_await b::sleep_for(30ms);
      CHECK(dns.asked == 2);
      answer();
    });
    CHECK(answers == 1);
  }());
  CHECK(dns.asked == 3);
}
