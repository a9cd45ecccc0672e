// SPDX-License-Identifier: Apache-2.0
#pragma once
// A server on the fake network that reads commands of Redis, and answers what a test wants, in the pieces and at the times it wants.

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/io/tcp.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <array>
#include <functional>
#include <string>
#include <vector>

namespace redis_tests {

namespace b = belay;
namespace io = belay::io;
namespace redis = belay::db::redis;
namespace t = belay::testing;
using namespace std::chrono_literals;

inline const io::endpoint at{"127.0.0.1", 6379};

class fake_redis {
 public:
  // What to write for a command; "close": hangs up; "quiet": nothing. PING and AUTH are answered without asking, unless `all` is set.
  using answers = std::function<std::string(const redis::command&)>;
  explicit fake_redis(answers how) : how_(std::move(how)) {}

  bool all = false;
  b::duration delay{};
  std::vector<redis::command> seen;
  std::size_t accepted = 0;

  b::task<> serve() {
    io::tcp_listener listener = io::tcp_listener::bind(at);
    co_await b::with_group({.policy = b::group_policy::supervise}, [&](b::group& g) -> b::task<> {
      for (;;) {
        io::tcp_stream with = co_await listener.accept();
        ++accepted;
        g.spawn(&fake_redis::talk, this, std::move(with));
      }
    });
  }

 private:
  b::task<> talk(io::tcp_stream with) {
    std::string in;
    std::array<char, 4096> part{};
    b::outcome<void> how = co_await b::as_outcome(converse(with, in, part));
    if (how.failed()) how.failure().observe();
  }
  b::task<> converse(io::tcp_stream& with, std::string& in, std::array<char, 4096>& part) {
    while (const std::size_t count = co_await with.read_some(part)) {
      in.append(part.data(), count);
      redis::command words;
      while (take(in, words)) {
        seen.push_back(words);
        std::string out = !all && words[0] == "PING"   ? "+PONG\r\n"
                          : !all && words[0] == "AUTH" ? "+OK\r\n"
                                                       : how_(words);
        if (delay > 0s && words[0] != "PING") co_await b::sleep_for(delay);
        if (out == "quiet") continue;
        bool hang_up = false;
        if (out.ends_with("close")) {
          hang_up = true;
          out.resize(out.size() - 5);
        }
        if (!out.empty()) co_await with.write(out);
        if (hang_up) co_return;
      }
    }
  }
  static bool take(std::string& in, redis::command& words) {
    words.clear();
    std::size_t pos = 0;
    const auto line = [&](std::string& into) {
      const auto end = in.find("\r\n", pos);
      if (end == std::string::npos) return false;
      into = in.substr(pos, end - pos);
      pos = end + 2;
      return true;
    };
    std::string head;
    if (!line(head)) return false;
    for (int n = std::stoi(head.substr(1)); n > 0; --n) {
      if (!line(head)) return false;
      const std::size_t length = std::stoul(head.substr(1));
      if (in.size() < pos + length + 2) return false;
      words.push_back(in.substr(pos, length));
      pos += length + 2;
    }
    in.erase(0, pos);
    return true;
  }
  answers how_;
};

inline std::string echo(const redis::command& words) {
  return "$" + std::to_string(words.back().size()) + "\r\n" + words.back() + "\r\n";
}

// Runs `use(client, server)` with a client of a server that answers so.
template <class Use>
b::task<> with_server(fake_redis& server, redis::options set, Use& use) {
  co_await b::with_group([&](b::group& g) -> b::task<> {
    b::child<void> serving = g.spawn(&fake_redis::serve, &server);
    co_await b::with(redis::connect(set),
                     [&](redis::client& c) -> b::task<> { co_await b::or_fail(use(c)); });
    serving.cancel();
  });
}

template <class Use>
void run(fake_redis& server, redis::options set, t::network_conditions under, Use use) {
  t::test_loop loop;
  t::fake_network net({.conditions = under});
  const io::network_override guard(net);
  loop.run(with_server(server, std::move(set), use));
  CHECK_MESSAGE(net.nothing_left(), net.describe());
  CHECK(loop.nothing_left());
  for (const std::string& lost : loop.lost_errors()) MESSAGE(lost);
  CHECK(loop.lost_errors().empty());
}

// "value", or the code of the error.
inline b::task<std::string> ask(redis::client c, redis::command words) {
  b::outcome<redis::reply> how = co_await b::as_outcome(c.send(std::move(words)));
  if (how.succeeded()) co_return how.value().text;
  const b::failure why = how.failure();
  const auto* known = why.find<b::error>();
  co_return known != nullptr ? std::string(known->code()) : why.message();
}

}  // namespace redis_tests
