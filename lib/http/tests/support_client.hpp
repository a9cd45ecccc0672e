// SPDX-License-Identifier: Apache-2.0
#pragma once
// A blocking client that can misbehave: sends any bytes, stops half-way, resets. And a server for it to talk
// to.

#include <belay/core/group.hpp>
#include <belay/core/loop.hpp>
#include <belay/core/thread.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/server.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace test {

class client {
 public:
  client() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  explicit client(std::uint16_t port) : client() { connect(port); }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { close(); }

  void connect(std::uint16_t port) {
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    refused_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0;
  }

  [[nodiscard]] bool refused() const { return refused_; }

  // False when the server has gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  // One response (head, and body by Content-Length); what came of it when the connection ended before.
  std::string response(bool head_only = false) {
    while (true) {
      const std::size_t end = in_.find("\r\n\r\n");
      if (end != std::string::npos) {
        std::size_t length = 0;
        const std::size_t at = in_.find("Content-Length: ");
        if (at < end && !head_only) length = std::stoul(in_.substr(at + 16));
        if (in_.size() >= end + 4 + length) {
          std::string out = in_.substr(0, end + 4 + length);
          in_.erase(0, out.size());
          return out;
        }
      }
      if (!more()) return std::exchange(in_, {});
    }
  }

  // Everything up to the end of the connection.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(in_, {});
  }

  // Whether the server has ended the connection, orderly or by a reset.
  bool ended() { return rest().empty() && !timed_out_; }

  void end_writing() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }

 private:
  bool more() {
    char buffer[16384];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) timed_out_ = true;
    if (n <= 0) return false;
    in_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  int fd_;
  bool refused_ = false;
  bool timed_out_ = false;
  std::string in_{};
};

inline std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) + "\r\n";
}
inline std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}
inline std::string status_of(std::string_view response) {
  return response.starts_with("HTTP/1.1 ") ? std::string(response.substr(9, 3)) : "none";
}
inline std::string body_of(std::string_view response) {
  const std::size_t end = response.find("\r\n\r\n");
  return end == std::string_view::npos ? "" : std::string(response.substr(end + 4));
}

// Serves with `web` while `conversation` runs on another thread, then drains.
inline belay::task<> converse(belay::http::server& web, std::function<void(std::uint16_t)> conversation) {
  auto listener = belay::io::tcp_listener::bind({"127.0.0.1", 0});
  const std::uint16_t port = listener.local().port;
  co_await belay::with_group([&](belay::group& tasks) -> belay::task<> {
    tasks.adopt(web.serve(std::move(listener)));
    co_await belay::to_thread([&] { conversation(port); });
    web.drain();
  });
}

struct run_result {
  belay::http::server_statistics statistics{};
  std::vector<std::string> lost{};
  std::size_t live_tasks = 0;
};

inline run_result serve(belay::http::handler handle, std::function<void(std::uint16_t)> conversation,
                        belay::http::server_options options = {}, belay::http::server_hooks hooks = {}) {
  run_result out;
  belay::loop_options loop_options;
  loop_options.on_lost_failure = [&](const belay::failure& what) { out.lost.push_back(what.message()); };
  belay::loop loop(loop_options);
  belay::http::server web(std::move(handle), std::move(hooks), std::move(options));
  loop.run(belay::with_timeout(std::chrono::seconds(30), converse(web, std::move(conversation))));
  out.statistics = web.statistics();
  out.live_tasks = loop.statistics().live_tasks;
  return out;
}

}  // namespace test
