// SPDX-License-Identifier: Apache-2.0
// Blocking sockets with a short patience, so that the end of a test is noticed soon.
#include "upstream.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <list>
#include <stdexcept>
#include <string_view>

namespace accounts_test {
namespace {

bool readable(int fd, int milliseconds) {
  pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, milliseconds) > 0;
}

bool say(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::size_t length_of(const std::string& head) {
  const std::string_view name = "\r\nContent-Length: ";
  const std::size_t at = head.find(name);
  return at == std::string::npos ? 0 : std::stoul(head.substr(at + name.size()));
}

std::string with_length(std::string_view line, std::string_view body, std::string_view fields = "") {
  return "HTTP/1.1 " + std::string(line) + "\r\nContent-Type: application/json\r\n" + std::string(fields) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

}  // namespace

upstream::upstream() { listen(); }
upstream::~upstream() { refuse(); }

void upstream::listen() {
  ending_ = false;
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port_);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&at), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0) {
    throw std::runtime_error("the upstream cannot listen");
  }
  port_ = ntohs(at.sin_port);
  thread_ = std::thread([this, listener = listener_] { accept_all(listener); });
}

void upstream::refuse() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

void upstream::accept_all(int listener) {
  std::list<std::thread> connections;
  while (!ending_) {
    if (!readable(listener, 5)) continue;
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) connections.emplace_back([this, fd] { serve(fd); });
  }
  ::close(listener);
  for (std::thread& one : connections) one.join();
}

void upstream::serve(int fd) {
  std::string got;
  while (!ending_) {
    if (!readable(fd, 5)) continue;
    char buffer[4096];
    const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    got.append(buffer, static_cast<std::size_t>(count));
    const std::size_t end = got.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    const std::string head = got.substr(0, end);
    const std::size_t body = length_of(head);
    if (got.size() < end + 4 + body) continue;
    const std::string text = got.substr(end + 4, body);
    got.erase(0, end + 4 + body);
    const std::string path = head.substr(0, head.find(" HTTP/"));
    {
      const std::lock_guard held(mutex_);
      last_ = head;
      if (!text.empty()) bodies_.push_back(text);
    }
    ++requests_;
    if (!answer(fd, path.substr(path.rfind('/') + 1))) break;
  }
  ::close(fd);
}

// False: the connection is to be closed.
bool upstream::answer(int fd, const std::string& symbol) {
  const std::string good = R"({"symbol":")" + symbol + R"(","price":12345})";
  const auto wait = [this, fd] {
    while (!ending_ && !readable(fd, 5)) {
    }
    return false;
  };
  switch (mood_) {
    case mood::good: return say(fd, with_length("200 OK", good));
    case mood::closing: say(fd, with_length("200 OK", good)); return false;
    case mood::slow: return wait();
    case mood::dripping:
      for (const char c : with_length("200 OK", good)) {
        if (ending_ || readable(fd, 20) || !say(fd, {&c, 1})) return false;
      }
      return true;
    case mood::resetting: {
      const linger now{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      return false;
    }
    case mood::garbage: say(fd, "\x16\x03\x01 not HTTP at all\r\n\r\n"); return false;
    case mood::no_json: return say(fd, with_length("200 OK", "<html>hello</html>"));
    case mood::other: return say(fd, with_length("200 OK", R"({"symbol":"OTHER","price":1})"));
    case mood::half: say(fd, with_length("200 OK", good).substr(0, 90)); return false;
    case mood::huge:
      say(fd, "HTTP/1.1 200 OK\r\n\r\n");
      while (!ending_ && say(fd, std::string(10'000, 'x'))) {
      }
      return false;
    case mood::busy: return say(fd, with_length("503 Service Unavailable", "{}", "Retry-After: 1\r\n"));
    case mood::broken: return say(fd, with_length("500 Internal Server Error", "{}"));
    case mood::unknown: return say(fd, with_length("404 Not Found", "{}"));
  }
  return false;
}

}  // namespace accounts_test
