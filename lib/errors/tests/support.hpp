// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of errors share: a small hierarchy, tasks that fail, and an observer that counts.

#include <belay/core/event.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/group.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/task.hpp>
#include <belay/core/timeout.hpp>
#include <belay/errors/error_observer.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/testing/test_loop.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace errors_tests {

namespace b = belay;
using namespace std::chrono_literals;

// The hierarchy of the guides.
struct network_error : b::error_type<b::error_kind::unavailable, "network"> {
  using error_type::error_type;
};
struct dns_error : b::error_type<b::error_kind::invalid, "dns", network_error> {
  using error_type::error_type;
};
struct user_not_found : b::error_type<b::error_kind::not_found, "user_not_found"> {
  using error_type::error_type;
};
struct broken : b::error_type<b::error_kind::internal, "broken"> {
  using error_type::error_type;
};

template <class E>
b::task<int> fails_with(E what) {
  co_await b::yield();
  throw what;
}
inline b::task<int> gives(int value) {
  co_await b::yield();
  co_return value;
}

// Waits for long; its cleanup fails, with a network_error "rollback".
template <class T>
b::task<T> failing_cleanup() {
  const auto body = []() -> b::task<T> {
    co_await b::sleep_for(1h);
    if constexpr (!std::is_void_v<T>) co_return T();
  };
  const auto cleanup = []() -> b::task<> {
    co_await b::yield();
    throw network_error("rollback");
  };
  co_return co_await b::finally(body, cleanup);
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Keeps what it is told; looks at every failure as a log does.
struct counting : b::error_observer {
  std::vector<std::string> records;
  std::vector<std::string> alerts;
  std::vector<b::severity> importance;  // of the records
  int passes = 0;

  void record(const b::error_event& event) override {
    records.push_back(b::describe(event.what));
    importance.push_back(event.importance);
  }
  void alert(const b::error_event& event) override { alerts.push_back(event.what.message()); }
  void passed(const b::error_event&) override { ++passes; }
};

}  // namespace errors_tests
