// SPDX-License-Identifier: Apache-2.0
// Sockets and the parsing of answers.
#include "client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>

namespace accounts_test {
namespace {

using clock = std::chrono::steady_clock;

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

int poll_until(int fd, short events, clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - clock::now()).count();
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

// RFC 9112: every line of the head is checked, so that a sloppy server does not pass.
response parse_head(std::string_view head) {
  response answer;
  const auto line_end = head.find("\r\n");
  const std::string_view line = head.substr(0, line_end);
  if (line.size() < 13 || !line.starts_with("HTTP/1.1 ") ||
      !std::ranges::all_of(line.substr(9, 3), is_digit) || line[12] != ' ') {
    throw protocol_violation("status line: " + std::string(line));
  }
  answer.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  answer.reason = line.substr(13);
  head.remove_prefix(line_end + 2);
  while (!head.empty()) {
    const auto end = head.find("\r\n");
    const std::string_view row = head.substr(0, end);
    head.remove_prefix(end + 2);
    const auto colon = row.find(':');
    if (colon == std::string_view::npos || !is_token(row.substr(0, colon))) {
      throw protocol_violation("field line: " + std::string(row));
    }
    std::string_view value = row.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
    if (!std::ranges::all_of(value,
                             [](char c) { return c == '\t' || static_cast<unsigned char>(c) >= 0x20; })) {
      throw protocol_violation("control character in field: " + std::string(row));
    }
    answer.headers.emplace_back(row.substr(0, colon), value);
  }
  return answer;
}

std::size_t content_length(const response& answer) {
  if (answer.header("Transfer-Encoding"))
    throw protocol_violation("Transfer-Encoding in place of Content-Length");
  const auto text = answer.header("Content-Length");
  if (!text || text->empty() || text->size() > 9 || !std::ranges::all_of(*text, is_digit)) {
    throw protocol_violation("Content-Length: " + text.value_or("(absent)"));
  }
  return std::stoul(*text);
}

}  // namespace

std::optional<std::string> response::header(std::string_view name) const {
  std::optional<std::string> found;
  for (const auto& [key, value] : headers) {
    if (!same_name(key, name)) continue;
    if (found) throw protocol_violation("twice in one answer: " + key);
    found = value;
  }
  return found;
}

boost::json::value response::json() const {
  boost::json::error_code ec;
  boost::json::value value = boost::json::parse(body, ec);
  if (ec) throw protocol_violation("body is not JSON (" + ec.message() + "): " + body);
  return value;
}

std::string response::trace_id() const {
  const std::string value = header("traceparent").value_or("(absent)");
  // W3C trace context: version 00, 16 byte trace id, 8 byte parent id, flags; ids are not all zero.
  const bool well_formed = value.size() == 55 && value.starts_with("00-") && value[35] == '-' &&
                           value[52] == '-' && is_hex(value.substr(3, 32)) && is_hex(value.substr(36, 16)) &&
                           is_hex(value.substr(53)) && value.substr(3, 32) != std::string(32, '0') &&
                           value.substr(36, 16) != std::string(16, '0');
  if (!well_formed) throw protocol_violation("traceparent: " + value);
  return value.substr(3, 32);
}

bool response::closes() const { return same_name(header("Connection").value_or(""), "close"); }

client::client(std::uint16_t port, observer seen) : seen_(std::move(seen)) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw connection_lost(std::string("socket: ") + std::strerror(errno));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const std::string reason = std::strerror(errno);
    close();
    throw connection_lost("connect to port " + std::to_string(port) + ": " + reason);
  }
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

client::client(client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)), seen_(std::move(other.seen_)) {}

client& client::operator=(client&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(buffer_, other.buffer_);
  std::swap(seen_, other.seen_);
  return *this;
}

client::~client() { close(); }

bool client::try_send(std::string_view bytes) {
  const auto until = clock::now() + std::chrono::seconds(10);
  while (!bytes.empty()) {
    if (poll_until(fd_, POLLOUT, until) <= 0) throw too_slow("the peer does not read");
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    }
  }
  return true;
}

void client::send(std::string_view bytes) {
  if (!try_send(bytes)) throw connection_lost("the peer closed while the request was sent");
}

client::fill_result client::fill(clock::time_point until) {
  if (poll_until(fd_, POLLIN, until) <= 0) return fill_result::nothing;
  char chunk[16384];
  const auto got = ::recv(fd_, chunk, sizeof chunk, MSG_DONTWAIT);
  if (got > 0) {
    buffer_.append(chunk, static_cast<std::size_t>(got));
    return fill_result::bytes;
  }
  return got < 0 && (errno == EAGAIN || errno == EINTR) ? fill_result::bytes : fill_result::end;
}

std::optional<response> client::try_read(read_options options) {
  const auto until = clock::now() + options.limit;
  const auto more = [&](std::string_view what) {
    switch (fill(until)) {
      case fill_result::bytes: return true;
      case fill_result::end:
        if (buffer_.empty()) return false;
        throw protocol_violation("the connection ended within " + std::string(what) + ": " + buffer_);
      case fill_result::nothing: break;
    }
    throw too_slow("no answer within " + std::to_string(options.limit.count()) + " ms, so far: " + buffer_);
  };

  std::size_t head_end = 0;
  while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!more("the head")) return std::nullopt;
  }
  response answer = parse_head(std::string_view(buffer_).substr(0, head_end + 2));
  buffer_.erase(0, head_end + 4);
  if (answer.status < 200) return answer;

  const std::size_t length = answer.status == 204 || answer.status == 304 ? 0 : content_length(answer);
  if (!options.head_only) {
    while (buffer_.size() < length) {
      if (!more("the body")) throw protocol_violation("the connection ended before the body");
    }
    answer.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
  }
  static_cast<void>(answer.trace_id());  // every answer carries it
  if (seen_) seen_(answer);
  return answer;
}

response client::read(read_options options) {
  if (auto answer = try_read(options)) return *std::move(answer);
  throw connection_lost("the connection ended without an answer");
}

response client::request(std::string_view method, std::string_view target, std::string_view body,
                         const fields& extra, read_options options) {
  options.head_only = method == "HEAD";
  send(make_request(method, target, body, extra));
  response answer = read(options);
  if (!buffer_.empty()) throw protocol_violation("bytes behind the answer: " + buffer_);
  return answer;
}

response client::get(std::string_view target, const fields& extra) {
  return request("GET", target, {}, extra);
}

response client::post(std::string_view target, std::string_view body, const fields& extra,
                      read_options options) {
  send(make_post(target, body, extra));
  response answer = read(options);
  if (!buffer_.empty()) throw protocol_violation("bytes behind the answer: " + buffer_);
  return answer;
}

bool client::ends(milliseconds limit) {
  const auto until = clock::now() + limit;
  for (;;) {
    if (!buffer_.empty()) return false;
    const auto got = fill(until);
    if (got != fill_result::bytes) return got == fill_result::end;
  }
}

bool client::has_bytes(milliseconds limit) {
  if (buffer_.empty()) static_cast<void>(fill(clock::now() + limit));
  return !buffer_.empty();
}

void client::half_close() { ::shutdown(fd_, SHUT_WR); }

void client::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void client::abort() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

std::string make_request(std::string_view method, std::string_view target, std::string_view body,
                         const fields& extra) {
  std::string text;
  text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n");
  for (const auto& [name, value] : extra) text.append(name).append(": ").append(value).append("\r\n");
  if (!body.empty() || method == "POST")
    text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  return text.append("\r\n").append(body);
}

std::string make_post(std::string_view target, std::string_view json, const fields& extra) {
  fields all{{"Content-Type", "application/json"}};
  all.insert(all.end(), extra.begin(), extra.end());
  return make_request("POST", target, json, all);
}

}  // namespace accounts_test
