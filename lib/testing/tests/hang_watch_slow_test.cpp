// SPDX-License-Identifier: Apache-2.0
// Tests that hang. Real time is the point here.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/thread.hpp>
#include <belay/testing/hang_watch.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
namespace b = belay;
namespace t = belay::testing;

namespace {

class text {
 public:
  std::function<void(const std::string&)> sink() {
    return [this](const std::string& said) {
      const std::lock_guard lock(mutex_);
      said_.push_back(said);
    };
  }
  [[nodiscard]] std::vector<std::string> said() const {
    const std::lock_guard lock(mutex_);
    return said_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> said_;
};

}  // namespace

TEST_CASE(
    "hang_watch: a run that takes too long prints its tasks, once, from a loop that sleeps or is busy") {
  text out;
  b::loop loop;
  t::hang_watch watch(loop, 30ms, out.sink());
  for (const bool busy : {false, true}) {
    const std::size_t before = out.said().size();
    const auto running = watch.during_run();
    loop.run([](text& of, std::size_t seen, bool yields) -> b::task<> {
      co_await b::with_group([&](b::group& g) -> b::task<> {
        b::event never("godot");
        g.spawn([&]() -> b::task<> { co_await never.wait(); }).named("vladimir");
        while (of.said().size() == seen) {
          if (yields) {
            co_await b::yield();
          } else {
            co_await b::sleep_for(5ms);
          }
        }
        co_await b::sleep_for(100ms);
        g.cancel();
      });
    }(out, before, busy));
    REQUIRE(out.said().size() == before + 1);
    CHECK(out.said().back().find("belay: a test hangs; its tasks are\n") == 0);
    CHECK(out.said().back().find("vladimir") != std::string::npos);
    CHECK(out.said().back().find("waits for event 'godot'") != std::string::npos);
  }
}

TEST_CASE("hang_watch: a loop that does not come round is told as such; short runs are not told at all") {
  text out;
  b::loop loop;
  t::hang_watch watch(loop, 20ms, out.sink());
  {
    const auto running = watch.during_run();
    loop.run([](text& of) -> b::task<> {
      while (of.said().empty()) std::this_thread::sleep_for(1ms);
      co_return;
    }(out));
  }
  CHECK(out.said().front().find("its loop does not come round") != std::string::npos);
  text quiet;
  t::hang_watch patient(loop, 10s, quiet.sink());
  for (int i = 0; i < 100; ++i) {
    const auto running = patient.during_run();
    loop.run([]() -> b::task<> { co_await b::yield(); }());
  }
  CHECK(quiet.said().empty());
  CHECK_THROWS_AS(t::hang_watch(loop, 0s), b::misuse_error);
}

TEST_CASE("test_loop: a run that takes too long in real time, prints its tasks to stderr") {
  std::FILE* said = std::tmpfile();
  REQUIRE(said != nullptr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(said), STDERR_FILENO);
  t::test_loop loop({}, 20ms);
  loop.run([]() -> b::task<> { co_await b::to_thread([] { std::this_thread::sleep_for(200ms); }); }());
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::array<char, 1000> buffer{};
  std::rewind(said);
  const std::size_t length = std::fread(buffer.data(), 1, buffer.size(), said);
  std::fclose(said);
  const std::string all(buffer.data(), length);
  CHECK(all.find("belay: a test hangs; its tasks are\n") == 0);
  CHECK(all.find("waits for a thread") != std::string::npos);
  CHECK(loop.nothing_left());
}

TEST_CASE("hang_watch: the loop's run has ended and the guard has not, nothing is told and nothing ends") {
  text out;
  b::loop loop;
  t::hang_watch watch(loop, 20ms, out.sink());
  const auto running = watch.during_run();
  loop.run([]() -> b::task<> { co_await b::yield(); }());
  std::this_thread::sleep_for(100ms);  // the test looks at what came of it
  CHECK(out.said().empty());
}

TEST_CASE("hang_watch: a tell that throws, on the loop's thread or the watch's, does not end the test") {
  std::atomic<int> told = 0;
  b::loop loop;
  t::hang_watch watch(loop, 20ms, [&told](const std::string&) {
    ++told;
    throw std::runtime_error("the log is full");
  });
  for (const bool blocks : {false, true}) {
    const int before = told;
    const auto running = watch.during_run();
    loop.run([](std::atomic<int>& of, int seen, bool by_blocking) -> b::task<> {
      while (of == seen) {
        if (by_blocking) {
          std::this_thread::sleep_for(1ms);
        } else {
          co_await b::sleep_for(1ms);
        }
      }
    }(told, before, blocks));
    CHECK(told >= before + 1);
  }
}
