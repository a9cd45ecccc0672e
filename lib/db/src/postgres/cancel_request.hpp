// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks a server to stop what one of its connections is doing: a connection of its own, with one packet.

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>

namespace belay::db::postgres::detail {

class cancel_request : public std::enable_shared_from_this<cancel_request> {
 public:
  explicit cancel_request(boost::asio::io_context& on) : socket_(on) {}

  // To the server at the other end of `connected`. `settled` is called when the server has closed, by then it has passed the request on, or
  // when it cannot be reached; not after `drop`, and not inside of this call. (PostgreSQL's protocol, 55.2.8.)
  void send(int connected, std::int32_t process, std::int32_t key, std::function<void()> settled);
  void drop() noexcept;

 private:
  void write();
  void read();
  void over();

  boost::asio::generic::stream_protocol::socket socket_;
  std::array<unsigned char, 16> packet_{};
  std::array<char, 16> ignored_{};
  std::function<void()> settled_;
};

}  // namespace belay::db::postgres::detail
