// SPDX-License-Identifier: Apache-2.0
// A client.

#include "support/client.hpp"

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

belay::task<std::optional<answer>> converse(belay::io::endpoint at, std::string request) {
  belay::io::tcp_stream stream = co_await belay::io::connect(at);
  co_await stream.write(request);
  std::string got;
  std::array<char, 4096> into;
  while (true) {
    const std::size_t head = got.find("\r\n\r\n");
    if (head != std::string::npos && got.size() >= head + 4 + length_in(got.substr(0, head))) {
      co_return answer{std::stoi(got.substr(9, 3)), got.substr(0, head + 2), got.substr(head + 4)};
    }
    const std::size_t count = co_await stream.read_some(into);
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
