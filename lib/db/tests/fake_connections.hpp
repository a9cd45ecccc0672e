// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connections to nowhere, for the tests of pools: they count themselves, take virtual time, and fail when they are told to.

#include <doctest/doctest.h>

#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/error.hpp>
#include <belay/db/pool.hpp>
#include <belay/testing/test_loop.hpp>
#include <algorithm>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace pool_tests {

namespace b = belay;
namespace db = belay::db;
using namespace std::chrono_literals;

class server;

struct connection {
  connection(server& of, int number);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  server& at;
  const int number;
  bool alive = true;
  bool in_use = false;  // by a test, to see that nobody shares it
  bool dirty = false;
};

struct refused : b::error {
  explicit refused(int attempt)
      : error(b::error_kind::unavailable, "refused",
              "the server refused connection " + std::to_string(attempt)) {}
};

// What the connections lead to.
class server {
 public:
  b::duration open_takes = 10ms;
  b::duration check_takes = 1ms;
  b::duration reset_takes = 0ms;
  b::duration close_takes = 1ms;
  bool accepts = true;
  bool fails_checks = false;  // by an error, not by false
  bool fails_resets = false;
  bool fails_closings = false;

  int attempts = 0;
  int opened = 0;
  int open = 0;
  int most_open = 0;
  int opening = 0;
  int most_opening = 0;
  int checks = 0;
  int resets = 0;
  int closings = 0;  // in good order

  b::task<std::unique_ptr<connection>> accept() {
    const int attempt = ++attempts;
    struct count {
      server& self;
      explicit count(server& of) : self(of) {
        self.most_opening = std::max(self.most_opening, ++self.opening);
      }
      ~count() { --self.opening; }
    } const opening_now(*this);
    co_await b::sleep_for(open_takes);
    if (!accepts) throw refused(attempt);
    co_return std::make_unique<connection>(*this, ++opened);
  }

  db::pool_functions<connection> functions() {
    return {.open = [this]() -> b::task<std::unique_ptr<connection>> { co_return co_await accept(); },
            .check = [this](connection& c) -> b::task<bool> {
              ++checks;
              co_await b::sleep_for(check_takes);
              if (fails_checks) throw std::runtime_error("check");
              co_return c.alive;
            },
            .close = [this](connection&) -> b::task<> {
              co_await b::sleep_for(close_takes);
              if (fails_closings) throw std::runtime_error("close");
              ++closings;
            },
            .inspect =
                [](const connection& c) noexcept {
                  if (!c.alive) return db::returned_as::broken;
                  return c.dirty ? db::returned_as::used : db::returned_as::clean;
                }};
  }
  // The same with a reset.
  db::pool_functions<connection> resetting() {
    auto all = functions();
    all.reset = [this](connection& c) -> b::task<> {
      ++resets;
      co_await b::sleep_for(reset_takes);
      if (fails_resets) throw std::runtime_error("reset");
      c.dirty = false;
    };
    return all;
  }
};

inline connection::connection(server& of, int number) : at(of), number(number) {
  at.most_open = std::max(at.most_open, ++at.open);
}
inline connection::~connection() { --at.open; }

using pool = db::pool<connection>;
using lease = db::lease<connection>;

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Nobody else has the connection.
class alone {
 public:
  explicit alone(connection& with) : with_(&with) {
    CHECK_FALSE(with.in_use);
    with.in_use = true;
  }
  alone(const alone&) = delete;
  alone& operator=(const alone&) = delete;
  ~alone() { with_->in_use = false; }

 private:
  connection* with_;
};

// Holds a connection for a while.
inline b::task<> hold(pool from, b::duration length, std::vector<int>* order = nullptr, int mine = 0) {
  const lease c = co_await from.acquire();
  const alone here(*c);
  if (order != nullptr) order->push_back(mine);
  co_await b::sleep_for(length);
}

// A loop on which nothing may be left, and no error lost.
struct clean_loop {
  b::testing::test_loop loop;
  template <class F>
  void run(F body) {
    loop.run(body());
  }
  ~clean_loop() {
    CHECK(loop.nothing_left());
    CHECK(loop.lost_errors() == std::vector<std::string>{});
  }
};

}  // namespace pool_tests
