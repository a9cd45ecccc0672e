// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of this layer share: a log in memory, a plain client, an app beside a client in one loop.

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/io/tcp.hpp>
#include <belay/service/app.hpp>
#include <belay/telemetry/memory_sink.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace support {

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A logger, and what it wrote.
struct record_keeper {
  std::shared_ptr<belay::telemetry::memory_sink> sink = std::make_shared<belay::telemetry::memory_sink>();
  belay::telemetry::logger log{sink, {.threshold = belay::telemetry::level::debug}};

  [[nodiscard]] std::vector<std::string> all(std::string_view part) const {
    std::vector<std::string> found;
    for (const std::string& line : sink->lines()) {
      if (contains(line, part)) found.push_back(line);
    }
    return found;
  }
  [[nodiscard]] std::vector<std::string> events(std::string_view name) const {
    return all("\"event\":\"" + std::string(name) + "\"");
  }
  [[nodiscard]] std::size_t errors() const {
    return all("\"level\":\"error\"").size() + all("\"level\":\"fatal\"").size();
  }
};

inline std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n" + std::string(fields) + "\r\n";
}

inline std::string post(std::string_view path, std::string_view body,
                        std::string_view type = "application/json") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: test\r\nContent-Type: " + std::string(type) +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

// One answer, taken apart no more than a test needs.
struct answer {
  std::string head;
  std::string body;
  [[nodiscard]] int status() const { return head.size() < 12 ? 0 : std::stoi(head.substr(9, 3)); }
  [[nodiscard]] std::string field(std::string_view name) const {
    const std::size_t at = head.find("\r\n" + std::string(name) + ": ");
    if (at == std::string::npos) return {};
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class client {
 public:
  explicit client(belay::io::tcp_stream connected) : stream_(std::move(connected)) {}

  belay::task<> send(std::string text) { co_await stream_.write(text); }
  // An empty one when the connection ends before it is complete.
  belay::task<answer> read() {
    std::size_t end = 0;
    while ((end = buffered_.find("\r\n\r\n")) == std::string::npos) {
      if (!co_await more()) co_return answer{};
    }
    answer got;
    got.head = buffered_.substr(0, end + 2);
    buffered_.erase(0, end + 4);
    const std::string length = got.field("Content-Length");
    const std::size_t wanted = length.empty() ? 0 : std::stoul(length);
    while (buffered_.size() < wanted) {
      if (!co_await more()) co_return answer{};
    }
    got.body = buffered_.substr(0, wanted);
    buffered_.erase(0, wanted);
    co_return got;
  }
  belay::task<answer> ask(std::string request) {
    co_await send(std::move(request));
    co_return co_await read();
  }
  belay::task<bool> ended() {
    while (co_await more()) {
    }
    co_return true;
  }
  void close() noexcept { stream_.close(); }

 private:
  belay::task<bool> more() {
    std::array<char, 4096> into;
    std::size_t count = 0;
    try {
      count = co_await stream_.read_some(into);
    } catch (const belay::io::network_error&) {
      co_return false;
    }
    buffered_.append(into.data(), count);
    co_return count != 0;
  }
  belay::io::tcp_stream stream_;
  std::string buffered_;
};

inline belay::task<client> connect(belay::service::app& to) {
  const belay::io::endpoint at = co_await to.wait_serving();
  co_return client(co_await belay::io::connect(at));
}

// Runs `app` until `talk` has ended and it has stopped; gives its exit code. Bounded, so that a hang is a failure.
template <class Talk>
int serve(belay::service::app& app, Talk talk, belay::loop_options options = {}) {
  belay::loop loop(std::move(options));
  return loop.run(belay::with_timeout(
      std::chrono::seconds(20), [](belay::service::app& runs, Talk& talks) -> belay::task<int> {
        co_return co_await belay::with_group([&runs, &talks](belay::group& both) -> belay::task<int> {
          belay::child<int> code = both.spawn(
              [](belay::service::app& of) -> belay::task<int> { co_return co_await of.run_within(); },
              std::ref(runs));
          co_await talks(runs);
          runs.stop("test over");
          co_return co_await code;
        });
      }(app, talk)));
}

inline belay::service::app_options options() {
  belay::service::app_options made;
  made.name = "test";
  made.listen = {"127.0.0.1", 0};
  made.grace = std::chrono::seconds(5);
  made.random = [seed = std::uint64_t{1}]() mutable { return seed++ * 0x9e3779b97f4a7c15ULL; };
  return made;
}

}  // namespace support
