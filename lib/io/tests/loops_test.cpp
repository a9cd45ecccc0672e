// SPDX-License-Identifier: Apache-2.0
// I/O on several loops: each has its own io_context, put in when its first operation needs it.

#include <belay/core/all.hpp>
#include <belay/core/loops.hpp>
#include <belay/core/sleep.hpp>
#include <belay/io/tcp.hpp>
#include <belay/io/use_task.hpp>
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace b = belay;
namespace io = belay::io;
using namespace std::chrono_literals;

namespace {

using loops = std::span<b::loop* const>;

b::task<std::string> ask(io::endpoint at, std::string text) {
  io::tcp_stream stream = co_await io::connect(at);
  co_await stream.write(text);
  stream.end_writing();
  std::string all;
  std::array<char, 64> part{};
  while (const std::size_t count = co_await stream.read_some(part)) all.append(part.data(), count);
  co_return all;
}

b::task<> echo(io::tcp_stream stream) {
  std::array<char, 64> part{};
  while (const std::size_t count = co_await stream.read_some(part)) {
    co_await stream.write(std::string_view(part.data(), count));
  }
  stream.end_writing();
}

// Serves on the loop that runs it, and says where.
b::task<> serve(std::atomic<unsigned short>& port) {
  io::tcp_listener listener = io::tcp_listener::bind({});
  co_await b::with_group([&](b::group& g) -> b::task<> {
    port = listener.local().port;
    for (;;) g.spawn(echo, co_await listener.accept());
  });
}

}  // namespace

TEST_CASE("several loops: each has a reactor of its own, and serves; all ask all at the same time") {
  constexpr unsigned count = 3;
  b::loop home;
  std::array<std::atomic<unsigned short>, count> ports{};
  std::array<std::atomic<void*>, count> contexts{};
  std::atomic<unsigned> finished = 0;
  home.run(b::run_on_each(count, [&](unsigned index, loops all) -> b::task<> {
    CHECK(all[index] == b::loop::current());
    co_await b::with_group([&](b::group& g) -> b::task<> {
      b::child<void> serving = g.spawn(serve, std::ref(ports[index]));
      for (unsigned i = 0; i < count; ++i) {
        while (ports[i] == 0) co_await b::sleep_for(1ms);
      }
      contexts[index] = &io::context();
      for (int round = 0; round < 20; ++round) {
        for (unsigned to = 0; to < count; ++to) {
          io::endpoint at;
          at.port = ports[to];
          const std::string got = co_await ask(at, "to " + std::to_string(to));
          CHECK(got == "to " + std::to_string(to));
        }
      }
      ++finished;
      while (finished != count) co_await b::sleep_for(1ms);
      serving.cancel();
    });
  }));
  const std::set<void*> different(contexts.begin(), contexts.end());
  CHECK(different.size() == count);
}

TEST_CASE(
    "several loops: a loop that sleeps in its reactor is woken by calls of another, and by cancellation") {
  b::loop home;
  home.run([]() -> b::task<> {
    b::loop& other = co_await b::use(b::loop_thread());
    // Accepts for ever, over there: the reactor is in, and nothing comes by the network.
    const auto waits = [](std::atomic<bool>& up) -> b::task<> {
      io::tcp_listener listener = io::tcp_listener::bind({});
      up = true;
      static_cast<void>(co_await listener.accept());
    };
    std::atomic<bool> begun = false;
    co_await b::with_group([&](b::group& g) -> b::task<> {
      g.spawn([](b::loop& on, auto fn,
                 std::atomic<bool>& up) -> b::task<> { co_await b::on_loop(on, fn, std::ref(up)); },
              std::ref(other), waits, std::ref(begun));
      while (!begun) co_await b::sleep_for(1ms);
      const auto answers = [](int x) -> b::task<int> { co_return x + 1; };
      for (int i = 0; i < 100; ++i) {
        const int got = co_await b::on_loop(other, answers, i);
        CHECK(got == i + 1);
      }
      g.cancel();
    });
  }());
  CHECK(home.statistics().live_tasks == 0);
}
