// SPDX-License-Identifier: Apache-2.0
#pragma once
// A network that goes wrong, between a client and a server on this machine: cuts, silence, delay, at the moment that a test chooses.

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace postgres_tests {

class fault_proxy {
 public:
  enum class when : unsigned char {
    never,
    before_it_arrives,  // the server never sees what the client has sent
    after_the_answer,   // the server has done it; the client never hears of it
  };

  explicit fault_proxy(std::uint16_t to) : to_(to) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = local(0);
    socklen_t size = sizeof at;
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
    REQUIRE(::listen(listener_, 64) == 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  fault_proxy(const fault_proxy&) = delete;
  fault_proxy& operator=(const fault_proxy&) = delete;
  ~fault_proxy() {
    over_ = true;
    acceptor_.join();  // nobody adds to `relays_` any more; they take the lock themselves
    for (std::thread& one : relays_) one.join();
    ::close(listener_);
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Connections made so far.
  [[nodiscard]] int accepted() const { return accepted_; }

  // Resets all connections that are open now.
  void cut_now() { ++cuts_; }
  // New connections are reset at once.
  void refuse(bool so) { refusing_ = so; }
  // Bytes are taken, and go nowhere.
  void black_hole(bool so) { black_hole_ = so; }
  void latency(std::chrono::milliseconds each_way) { latency_ = each_way; }
  // Each connection is reset when so many bytes have come to the client through it; negative: never.
  void cut_after_answer_bytes(long count) { answer_bytes_ = count; }
  // So many requests to cancel are taken, and never reach the server.
  void lose_cancels(int count) { lost_cancels_ = count; }
  // The next connection on which the client sends `text` is reset, once.
  void cut_on(std::string text, when moment) {
    const std::lock_guard guard(lock_);
    pattern_ = std::move(text);
    moment_ = moment;
  }

 private:
  static sockaddr_in local(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  static void reset(int socket) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(socket);
  }
  // The packet with which a client asks to cancel another connection's statement.
  static bool is_cancel(const char* data, std::size_t size) {
    constexpr std::string_view code("\x04\xd2\x16\x2e", 4);
    return size == 16 && std::string_view(data, size).substr(4, 4) == code;
  }
  static bool send_all(int to, const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t sent = ::send(to, data, size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  void accept_all() {
    while (!over_) {
      pollfd ready{.fd = listener_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 5) <= 0) continue;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      ++accepted_;
      if (refusing_) {
        reset(client);
        continue;
      }
      const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in at = local(to_);
      if (::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
        ::close(server);
        reset(client);
        continue;
      }
      const std::lock_guard guard(lock_);
      relays_.emplace_back([this, client, server] { relay(client, server); });
    }
  }

  when matches(std::string_view sent) {
    const std::lock_guard guard(lock_);
    if (moment_ == when::never || sent.find(pattern_) == std::string_view::npos) return when::never;
    return std::exchange(moment_, when::never);
  }

  void relay(int client, int server) {
    const int born = cuts_;
    long answered = 0;
    bool swallow_answer = false;
    std::array<char, 16384> part{};
    bool open = true;
    while (open && !over_ && cuts_ == born) {
      std::array<pollfd, 2> ready{
          {{.fd = client, .events = POLLIN, .revents = 0}, {.fd = server, .events = POLLIN, .revents = 0}}};
      if (::poll(ready.data(), ready.size(), 2) <= 0) continue;
      for (const auto& [from, events, came] : ready) {
        if (came == 0) continue;
        const ssize_t count = ::recv(from, part.data(), part.size(), 0);
        if (count <= 0) {
          open = false;
          break;
        }
        if (black_hole_) continue;
        if (latency_.load().count() > 0) std::this_thread::sleep_for(latency_.load());
        auto size = static_cast<std::size_t>(count);
        if (from == client) {
          if (is_cancel(part.data(), size) && lost_cancels_ > 0) {
            --lost_cancels_;
            open = false;
            break;
          }
          const when moment = matches({part.data(), size});
          if (moment == when::before_it_arrives) open = false;
          if (moment == when::after_the_answer) swallow_answer = true;
          if (!open || !send_all(server, part.data(), size)) {
            open = false;
            break;
          }
        } else {
          const long limit = answer_bytes_;
          if (swallow_answer) {
            open = false;
            break;
          }
          if (limit >= 0 && answered + count > limit) {
            size = static_cast<std::size_t>(std::max(0L, limit - answered));
            open = false;
          }
          answered += static_cast<long>(size);
          if (!send_all(client, part.data(), size) || !open) {
            open = false;
            break;
          }
        }
      }
    }
    reset(client);
    ::close(server);
  }

  const std::uint16_t to_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> over_{false};
  std::atomic<bool> refusing_{false};
  std::atomic<bool> black_hole_{false};
  std::atomic<int> cuts_{0};
  std::atomic<int> accepted_{0};
  std::atomic<int> lost_cancels_{0};
  std::atomic<long> answer_bytes_{-1};
  std::atomic<std::chrono::milliseconds> latency_{std::chrono::milliseconds(0)};
  std::mutex lock_;
  std::string pattern_;            // guarded by lock_
  when moment_ = when::never;      // guarded by lock_
  std::list<std::thread> relays_;  // guarded by lock_
  std::thread acceptor_;
};

}  // namespace postgres_tests
