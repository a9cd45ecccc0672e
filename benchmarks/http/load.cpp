// SPDX-License-Identifier: Apache-2.0
// Load at a fixed rate: each request has a time at which it is due, and its latency counts from then, however late it was sent. So a server
// that stalls pays for all who would have come meanwhile (no coordinated omission).
//   belay_http_load PORT PATH RATE SECONDS CONNECTIONS     one line of JSON on stdout
//   exit: 0, 1 an answer was not 200 or the connection was lost, 2 usage

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strings.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;
using std::chrono::nanoseconds;

struct connection {
  int fd = -1;
  clock_type::time_point due{};
  std::string in{};
};

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    fail(std::string("connect: ") + std::strerror(errno));
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// The length of the answer at the front of `in`; 0 when it is not whole yet. It must be a 200 with a Content-Length.
std::size_t whole_answer(std::string_view in) {
  const std::size_t end = in.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  if (!in.starts_with("HTTP/1.1 200 "))
    fail("an answer is not 200: " + std::string(in.substr(0, in.find('\r'))));
  constexpr std::string_view name = "content-length:";
  for (std::size_t at = in.find("\r\n"); at < end; at = in.find("\r\n", at + 2)) {
    std::string_view line = in.substr(at + 2, end - at - 2);
    if (line.size() <= name.size() || ::strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
    line.remove_prefix(name.size());
    while (line.starts_with(' ')) line.remove_prefix(1);
    std::size_t length = 0;
    std::from_chars(line.data(), line.data() + line.size(), length);
    return in.size() >= end + 4 + length ? end + 4 + length : 0;
  }
  fail("an answer has no Content-Length");
}

class load {
 public:
  load(std::uint16_t port, const std::string& path, double rate, double seconds, std::size_t width)
      : request_("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) + "\r\n\r\n"),
        total_(static_cast<std::size_t>(rate * seconds)),
        apart_(1e9 / rate),
        connections_(width) {
    if (total_ == 0) fail("nothing to send");
    latencies_.reserve(total_);
    for (std::size_t i = 0; i != width; ++i) {
      connections_[i].fd = connect_to(port);
      free_.push_back(i);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = i;
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i].fd, &e);
    }
  }

  void run() {
    begin_ = clock_type::now();
    std::array<epoll_event, 256> events{};
    while (latencies_.size() != total_) {
      send_what_is_due();
      const timespec limit = until_next();
      const int count = ::epoll_pwait2(epoll_, events.data(), events.size(), &limit, nullptr);
      for (int i = 0; i < count; ++i) receive(events[static_cast<std::size_t>(i)].data.u64);
    }
    took_ = clock_type::now() - begin_;
  }

  void report() {
    std::sort(latencies_.begin(), latencies_.end());
    const auto at = [this](double share) {
      return static_cast<double>(latencies_[std::min(total_ - 1, static_cast<std::size_t>(
                                                                     share * static_cast<double>(total_)))]
                                     .count()) /
             1000;
    };
    std::printf(
        "{\"requests\":%zu,\"seconds\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
        total_, std::chrono::duration<double>(took_).count(), at(0.5), at(0.99), at(0.999), at(1));
  }

 private:
  [[nodiscard]] clock_type::time_point due(std::size_t index) const {
    return begin_ + nanoseconds(static_cast<std::int64_t>(apart_ * static_cast<double>(index)));
  }

  void send_what_is_due() {
    const auto now = clock_type::now();
    while (sent_ != total_ && !free_.empty() && due(sent_) <= now) {
      connection& c = connections_[free_.back()];
      free_.pop_back();
      c.due = due(sent_++);
      if (::send(c.fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(request_.size()))
        fail("cannot send");
    }
  }

  [[nodiscard]] timespec until_next() const {
    if (sent_ == total_ || free_.empty()) return {1, 0};
    const std::int64_t left = std::max<std::int64_t>(0, (due(sent_) - clock_type::now()).count());
    return {left / 1'000'000'000, left % 1'000'000'000};
  }

  void receive(std::size_t index) {
    connection& c = connections_[index];
    std::array<char, 64 * 1024> bytes{};
    const ssize_t got = ::recv(c.fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) fail("the server closed a connection");
    c.in.append(bytes.data(), static_cast<std::size_t>(got));
    const std::size_t length = whole_answer(c.in);
    if (length == 0) return;
    if (length != c.in.size()) fail("more than the answer came");
    latencies_.push_back(clock_type::now() - c.due);
    c.in.clear();
    free_.push_back(index);
  }

  std::string request_;
  std::size_t total_;
  double apart_;  // nanoseconds
  std::vector<connection> connections_;
  std::vector<std::size_t> free_{};
  std::vector<nanoseconds> latencies_{};
  std::size_t sent_ = 0;
  clock_type::time_point begin_{};
  clock_type::duration took_{};
  int epoll_ = ::epoll_create1(0);
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fputs("usage: belay_http_load PORT PATH RATE SECONDS CONNECTIONS\n", stderr);
    return 2;
  }
  try {
    load work(static_cast<std::uint16_t>(std::atoi(argv[1])), argv[2], std::atof(argv[3]), std::atof(argv[4]),
              static_cast<std::size_t>(std::atoi(argv[5])));
    work.run();
    work.report();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "belay_http_load: %s\n", e.what());
    return 1;
  }
}
