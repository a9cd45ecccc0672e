// SPDX-License-Identifier: Apache-2.0
#pragma once
// A server on a network in memory and the virtual clock, and a client that reads what it gets byte by byte.

#include <belay/core/group.hpp>
#include <belay/http/server.hpp>
#include <belay/testing/fake_network.hpp>
#include <belay/testing/test_loop.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace test {

inline const belay::io::endpoint site_address{"127.0.0.1", 80};

// One connection to the server.
class visitor {
 public:
  static belay::task<visitor> arrive() { co_return visitor(co_await belay::io::connect(site_address)); }

  belay::task<> send(std::string text) { co_await stream_.write(text); }
  // Up to and with `mark`; what there is when the connection ends before.
  belay::task<std::string> until(std::string mark) {
    while (true) {
      if (const std::size_t at = in_.find(mark); at != std::string::npos) {
        std::string out = in_.substr(0, at + mark.size());
        in_.erase(0, out.size());
        co_return out;
      }
      if (!co_await more()) co_return std::exchange(in_, {});
    }
  }
  // Exactly so many bytes, or what there is.
  belay::task<std::string> take(std::size_t count) {
    while (in_.size() < count && co_await more()) {
    }
    std::string out = in_.substr(0, count);
    in_.erase(0, out.size());
    co_return out;
  }
  belay::task<std::string> head() { co_return co_await until("\r\n\r\n"); }
  // A whole response with a Content-Length: its body.
  belay::task<std::string> body() {
    const std::string first = co_await head();
    const std::size_t at = first.find("Content-Length: ");
    co_return at == std::string::npos ? "" : co_await take(std::stoul(first.substr(at + 16)));
  }
  // Everything up to the end of the connection.
  belay::task<std::string> rest() {
    while (co_await more()) {
    }
    co_return std::exchange(in_, {});
  }
  [[nodiscard]] bool was_reset() const { return reset_; }
  void end_writing() { stream_.end_writing(); }
  void close() { stream_.close(); }

 private:
  explicit visitor(belay::io::tcp_stream stream) : stream_(std::move(stream)) {}
  belay::task<bool> more() {
    std::array<char, 4096> buffer;
    try {
      const std::size_t count = co_await stream_.read_some(buffer);
      in_.append(buffer.data(), count);
      co_return count != 0;
    } catch (const belay::io::network_error&) {
      reset_ = true;
    }
    co_return false;
  }

  belay::io::tcp_stream stream_;
  std::string in_{};
  bool reset_ = false;
};

struct site_end {
  belay::http::server_statistics statistics{};
  std::vector<std::string> lost{};
  belay::duration elapsed{};
};

// Serves while `visit` runs, then drains.
inline site_end run_site(belay::http::handler handle,
                         belay::task_function<belay::task<>(belay::http::server&)> visit,
                         belay::http::server_options options = {}, belay::http::server_hooks hooks = {},
                         belay::testing::network_conditions conditions = {}) {
  site_end out;
  belay::testing::test_loop loop;
  belay::testing::fake_network net({.conditions = conditions});
  belay::io::network_override here(net);
  {
    belay::http::server web(std::move(handle), std::move(hooks), std::move(options));
    const auto run = [&]() -> belay::task<> {
      co_await belay::with_group([&](belay::group& tasks) -> belay::task<> {
        tasks.adopt(web.serve(belay::io::tcp_listener::bind(site_address)));
        co_await visit(web);
        web.drain();
      });
    };
    loop.run(run());
    out.statistics = web.statistics();
  }
  out.lost = loop.lost_errors();
  out.elapsed = loop.elapsed();
  CHECK_MESSAGE(net.nothing_left(), net.describe());
  CHECK(loop.live_tasks() == 0);
  CHECK(out.statistics.connections == 0);
  CHECK(out.statistics.active_requests == 0);
  return out;
}

// The content of a chunked body; `whole` says whether its end was there.
struct dechunked {
  std::string content{};
  bool whole = false;
};
inline dechunked dechunk(std::string_view bytes) {
  dechunked out;
  while (true) {
    const std::size_t line = bytes.find("\r\n");
    if (line == std::string_view::npos) return out;
    const std::size_t size = std::stoul(std::string(bytes.substr(0, line)), nullptr, 16);
    if (bytes.size() < line + 2 + size + 2) return out;
    if (size == 0) {
      out.whole = bytes.substr(line + 2) == "\r\n";
      return out;
    }
    out.content += bytes.substr(line + 2, size);
    bytes.remove_prefix(line + 2 + size + 2);
  }
}

inline std::string ask(std::string_view path, std::string_view more = "", std::string_view verb = "GET",
                       std::string_view version = "HTTP/1.1") {
  return std::string(verb) + " " + std::string(path) + " " + std::string(version) + "\r\nHost: x\r\n" +
         std::string(more) + "\r\n";
}

inline bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace test
