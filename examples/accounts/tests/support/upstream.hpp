// SPDX-License-Identifier: Apache-2.0
#pragma once
// The other service that the bank asks for quotes and hands its mail to, on a real socket, as bad as a test wants it.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace accounts_test {

enum class mood {
  good,       // 200 {"symbol","price"}, price 12345, the connection is kept
  closing,    // the same, then the connection is closed
  slow,       // reads, says nothing
  dripping,   // a byte of the answer each 20 ms
  resetting,  // reads, then resets
  garbage,    // what is no HTTP
  no_json,    // 200 with a body that is none
  other,      // a quote for another symbol
  half,       // ends in the middle of the body
  huge,       // a body without end
  busy,       // 503 with Retry-After: 1
  broken,     // 500
  unknown,    // 404
};

/// Serves on 127.0.0.1 until it goes, each connection on a thread of its own.
class upstream {
 public:
  upstream();
  upstream(const upstream&) = delete;
  upstream& operator=(const upstream&) = delete;
  ~upstream();

  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1/quotes"; }
  /// From the next request on.
  void set(mood how) { mood_ = how; }
  /// Refuses connections, and drops those that there are; `listen` takes them again, on the same port.
  void refuse();
  void listen();
  /// Requests so far.
  [[nodiscard]] int requests() const { return requests_; }
  /// The bodies of the requests that had one, in order.
  [[nodiscard]] std::vector<std::string> bodies() const {
    const std::lock_guard held(mutex_);
    return bodies_;
  }
  /// The head of the last one.
  [[nodiscard]] std::string last() const {
    const std::lock_guard held(mutex_);
    return last_;
  }

 private:
  void accept_all(int listener);
  void serve(int fd);
  bool answer(int fd, const std::string& symbol);

  std::atomic<mood> mood_ = mood::good;
  std::atomic<int> requests_ = 0;
  std::atomic<bool> ending_ = false;
  mutable std::mutex mutex_;
  std::string last_;                 // guarded by mutex_
  std::vector<std::string> bodies_;  // guarded by mutex_
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::thread thread_;
};

}  // namespace accounts_test
