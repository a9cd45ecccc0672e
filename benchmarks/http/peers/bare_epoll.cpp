// SPDX-License-Identifier: Apache-2.0
// The yardstick: GET /hello over epoll with nothing between the kernel and the answer. No timeouts, no limits but one on the head, no
// routing but a comparison.
//   belay_http_bare_epoll PORT     exit: killed by a signal; 1 cannot listen, 2 usage

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <strings.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view hello = R"({"message":"hello, world"})";
constexpr std::size_t head_limit = 16 * 1024;

// What came in and is not a whole request, what is to go out and found no room.
struct connection {
  std::string in{};
  std::string out{};
  bool closing = false;
  bool waits_for_room = false;
};

// RFC 9110 date, made anew once a second.
std::string_view date() {
  static std::array<char, 32> text{};
  static std::time_t made_for = 0;
  static std::size_t length = 0;
  const std::time_t now = std::time(nullptr);
  if (now != made_for) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    made_for = now;
  }
  return {text.data(), length};
}

void answer(std::string& out, std::string_view status, std::string_view body, bool keep) {
  std::array<char, 20> length{};
  const char* end = std::to_chars(length.data(), length.data() + length.size(), body.size()).ptr;
  out.append("HTTP/1.1 ")
      .append(status)
      .append("\r\nContent-Type: application/json\r\nDate: ")
      .append(date());
  if (!keep) out.append("\r\nConnection: close");
  out.append("\r\nContent-Length: ")
      .append(length.data(), static_cast<std::size_t>(end - length.data()))
      .append("\r\n\r\n")
      .append(body);
}

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

struct head {
  std::string_view method{};
  std::string_view target{};
  std::size_t length = 0;  // of the body
  bool keep = true;
  bool good = false;
};

// `text` up to and with the last line's CR LF.
head parse(std::string_view text) {
  head out;
  const std::size_t first_line = text.find("\r\n");
  std::string_view line = text.substr(0, first_line);
  const std::size_t a = line.find(' ');
  const std::size_t b = line.rfind(' ');
  if (a == std::string_view::npos || b == a) return out;
  const std::string_view protocol = line.substr(b + 1);
  if (protocol != "HTTP/1.1" && protocol != "HTTP/1.0") return out;
  out.method = line.substr(0, a);
  out.target = line.substr(a + 1, b - a - 1);
  out.keep = protocol == "HTTP/1.1";
  for (std::size_t at = first_line + 2; at < text.size();) {
    const std::size_t end = text.find("\r\n", at);
    line = text.substr(at, end - at);
    at = end + 2;
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos) return out;
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    if (same_name(name, "Content-Length")) {
      const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), out.length);
      if (error != std::errc() || stop != value.data() + value.size()) return out;
    } else if (same_name(name, "Transfer-Encoding")) {
      return out;
    } else if (same_name(name, "Connection")) {
      out.keep = same_name(value, "keep-alive") || (out.keep && !same_name(value, "close"));
    }
  }
  out.good = true;
  return out;
}

// Answers the whole requests at the front of `bytes`; gives how many bytes they were.
std::size_t serve(connection& c, std::string_view bytes) {
  std::size_t done = 0;
  while (!c.closing) {
    const std::string_view rest = bytes.substr(done);
    const std::size_t end = rest.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (rest.size() > head_limit) {
        answer(c.out, "431 Request Header Fields Too Large", "{}", false);
        c.closing = true;
      }
      break;
    }
    const head asked = parse(rest.substr(0, end + 2));
    if (!asked.good || asked.length > head_limit) {
      answer(c.out, "400 Bad Request", "{}", false);
      c.closing = true;
      break;
    }
    if (rest.size() < end + 4 + asked.length) break;
    done += end + 4 + asked.length;
    c.closing = !asked.keep;
    if (asked.target != "/hello") {
      answer(c.out, "404 Not Found", "{}", asked.keep);
    } else if (asked.method != "GET") {
      answer(c.out, "405 Method Not Allowed", "{}", asked.keep);
    } else {
      answer(c.out, "200 OK", hello, asked.keep);
    }
  }
  return done;
}

class server {
 public:
  explicit server(std::uint16_t port)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)), epoll_(::epoll_create1(0)) {
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(listener_, 4096) != 0) {
      std::perror("bare_epoll: cannot listen");
      std::exit(1);
    }
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events{};
    while (true) {
      const int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& e = events[static_cast<std::size_t>(i)];
        if (e.data.fd == listener_) {
          accept_all();
        } else if ((e.events & EPOLLOUT) != 0) {
          flush(e.data.fd);
        } else {
          read(e.data.fd);
        }
      }
    }
  }

 private:
  void watch(int how, int fd, std::uint32_t events) {
    epoll_event e{};
    e.events = events;
    e.data.fd = fd;
    ::epoll_ctl(epoll_, how, fd, &e);
  }

  void accept_all() {
    while (true) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (static_cast<std::size_t>(fd) >= connections_.size())
        connections_.resize(static_cast<std::size_t>(fd) * 2 + 1);
      connections_[static_cast<std::size_t>(fd)] = std::make_unique<connection>();
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void drop(int fd) {
    ::close(fd);
    connections_[static_cast<std::size_t>(fd)].reset();
  }

  void read(int fd) {
    connection& c = *connections_[static_cast<std::size_t>(fd)];
    const ssize_t got = ::recv(fd, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) drop(fd);
      return;
    }
    const std::string_view fresh(buffer_.data(), static_cast<std::size_t>(got));
    if (c.in.empty()) {
      c.in.append(fresh.substr(serve(c, fresh)));
    } else {
      c.in.append(fresh);
      c.in.erase(0, serve(c, c.in));
    }
    if (!c.out.empty()) flush(fd);
  }

  void flush(int fd) {
    connection& c = *connections_[static_cast<std::size_t>(fd)];
    const ssize_t sent = ::send(fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    c.out.erase(0, sent < 0 ? 0 : static_cast<std::size_t>(sent));
    if (!c.out.empty()) {
      c.waits_for_room = true;
      return watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    }
    if (c.closing) return drop(fd);
    if (c.waits_for_room) watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    c.waits_for_room = false;
  }

  int listener_;
  int epoll_;
  std::vector<std::unique_ptr<connection>> connections_{};
  std::array<char, 16 * 1024> buffer_{};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: belay_http_bare_epoll PORT\n", stderr);
    return 2;
  }
  server(static_cast<std::uint16_t>(std::atoi(argv[1]))).run();
}
