// SPDX-License-Identifier: Apache-2.0
// A client.

#include "support/client.hpp"

#include <belay/core/timeout.hpp>
#include <belay/io/tcp.hpp>

#include <array>

namespace proof {

namespace {

std::string with_head(std::string_view method, std::string_view path, std::string_view fields) {
  return std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: bank\r\n" + std::string(fields);
}

std::size_t length_in(const std::string& head) {
  const std::size_t at = head.find("\r\nContent-Length: ");
  return at == std::string::npos ? 0 : std::stoul(head.substr(at + 18));
}

bool is_stream(std::string_view head) {
  return head.find("\r\nContent-Type: text/event-stream") != std::string_view::npos;
}

// 0 at the end of the connection, and when nothing comes for so long.
belay::task<std::size_t> read_some(belay::io::tcp_stream& from, std::array<char, 4096>& into,
                                   belay::duration patience) {
  const auto read = [](belay::io::tcp_stream& stream,
                       std::array<char, 4096>& buffer) -> belay::task<std::size_t> {
    co_return co_await stream.read_some(buffer);
  };
  co_return (co_await belay::move_on_after(patience, read(from, into))).value_or(0);
}

belay::task<std::optional<answer>> converse(belay::io::endpoint at, std::string request) {
  belay::io::tcp_stream stream = co_await belay::io::connect(at);
  co_await stream.write(request);
  std::string got;
  std::array<char, 4096> into;
  while (true) {
    const std::size_t head = got.find("\r\n\r\n");
    const bool streams = head != std::string::npos && is_stream(got.substr(0, head + 2));
    const bool whole = head != std::string::npos &&
                       (streams ? got.find("\n\n", got.find("data: ", head)) != std::string::npos
                                : got.size() >= head + 4 + length_in(got.substr(0, head)));
    const std::size_t count =
        whole ? 0
              : co_await read_some(stream, into, streams ? std::chrono::seconds(3) : belay::duration::max());
    if (whole || (streams && count == 0)) {
      co_return answer{std::stoi(got.substr(9, 3)), got.substr(0, head + 2), got.substr(head + 4)};
    }
    if (count == 0) co_return std::nullopt;
    got.append(into.data(), count);
  }
}

}  // namespace

std::string get(std::string_view path, std::string_view fields) {
  return with_head("GET", path, fields) + "\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view fields) {
  return with_head("POST", path, fields) +
         "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

std::string transfer(int from, int to, std::string_view fields) {
  return post("/transfers",
              R"({"from":)" + std::to_string(from) + R"(,"to":)" + std::to_string(to) + R"(,"amount":30})",
              fields);
}

belay::task<std::optional<answer>> ask(belay::io::endpoint at, std::string request) {
  try {
    co_return co_await converse(std::move(at), std::move(request));
  } catch (const belay::io::network_error&) {
    co_return std::nullopt;
  }
}

}  // namespace proof
