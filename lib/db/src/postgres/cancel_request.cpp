// SPDX-License-Identifier: Apache-2.0
// The packet of 16 bytes, and the wait for the end of its connection.

#include "cancel_request.hpp"

#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

namespace belay::db::postgres::detail {

namespace asio = boost::asio;
using boost::system::error_code;

void cancel_request::send(int connected, std::int32_t process, std::int32_t key,
                          std::function<void()> settled) {
  settled_ = std::move(settled);
  constexpr std::uint32_t code = 80877102;
  const auto put = [this](std::size_t at, std::uint32_t number) {
    for (std::size_t i = 0; i < 4; ++i) packet_[at + i] = static_cast<unsigned char>(number >> (24 - 8 * i));
  };
  put(0, 16);
  put(4, code);
  put(8, static_cast<std::uint32_t>(process));
  put(12, static_cast<std::uint32_t>(key));

  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(connected, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->over(); });
    return;
  }
  const asio::generic::stream_protocol::endpoint to(asio::generic::stream_protocol::endpoint(&peer, size, 0));
  socket_.async_connect(to, [self = shared_from_this()](const error_code& problem) {
    if (problem) return self->over();
    self->write();
  });
}

void cancel_request::write() {
  asio::async_write(socket_, asio::buffer(packet_),
                    [self = shared_from_this()](const error_code& problem, std::size_t) {
                      if (problem) return self->over();
                      self->read();
                    });
}

// The server answers nothing.
void cancel_request::read() {
  socket_.async_read_some(asio::buffer(ignored_),
                          [self = shared_from_this()](const error_code& problem, std::size_t) {
                            if (problem) return self->over();
                            self->read();
                          });
}

void cancel_request::over() {
  error_code already_closed;
  socket_.close(already_closed);
  if (const std::function<void()> tell = std::exchange(settled_, {})) tell();
}

void cancel_request::drop() noexcept {
  settled_ = {};
  error_code already_closed;
  socket_.close(already_closed);
}

}  // namespace belay::db::postgres::detail
