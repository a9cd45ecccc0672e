// SPDX-License-Identifier: Apache-2.0
// TCP on Asio: the system's network.

#include <belay/core/sleep.hpp>
#include <belay/io/network.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace belay::io {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

endpoint to_endpoint(const tcp::endpoint& from) { return {from.address().to_string(), from.port()}; }

[[noreturn]] void fail(std::string_view what, const endpoint& with, const boost::system::error_code& reason) {
  throw_network_error(what, with, std::error_code(reason));
}

class asio_stream final : public stream_transport {
 public:
  asio_stream(tcp::socket socket, endpoint peer) : socket_(std::move(socket)), peer_(std::move(peer)) {
    boost::system::error_code ignored_by_design;  // Nagle's delay is a matter of speed, not of correctness
    socket_.set_option(tcp::no_delay(true), ignored_by_design);
  }

  task<std::size_t> read_some(std::span<char> into) override {
    if (nothing_more_ && socket_.is_open()) {
      // Asio, having seen the end, would wait for something new to happen to the socket.
      co_await yield();
      co_return no_more();
    }
    auto [reason, count] =
        co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), use_result);
    if (!reason) co_return count;
    if (reason == asio::error::connection_reset) was_reset_ = true;
    nothing_more_ = reason == asio::error::eof || was_reset_;
    if (nothing_more_) co_return no_more();
    fail("read from", peer_, reason);
  }

  task<> write(std::string_view data) override {
    auto [reason, count] =
        co_await asio::async_write(socket_, asio::buffer(data.data(), data.size()), use_result);
    if (reason == asio::error::connection_reset) was_reset_ = true;
    if (reason) fail("write to", peer_, reason);
  }

  void end_writing() noexcept override {
    boost::system::error_code already_gone;
    socket_.shutdown(tcp::socket::shutdown_send, already_gone);
  }

  void close() noexcept override {
    boost::system::error_code already_closed;
    socket_.close(already_closed);
  }

  bool is_open() const noexcept override { return socket_.is_open(); }
  const endpoint& peer() const noexcept override { return peer_; }

 private:
  // The system tells of a reset once, then of an orderly end: what is cut off would look complete.
  std::size_t no_more() const {
    if (was_reset_) fail("read from", peer_, asio::error::connection_reset);
    return 0;
  }

  tcp::socket socket_;
  endpoint peer_;
  bool nothing_more_ = false;  // the end was read, or the reset
  bool was_reset_ = false;
};

tcp_stream opened(tcp::socket socket, endpoint peer) {
  return tcp_stream(std::make_unique<asio_stream>(std::move(socket), std::move(peer)));
}

class asio_listener final : public listener_transport {
 public:
  asio_listener(tcp::acceptor acceptor, endpoint local)
      : acceptor_(std::move(acceptor)), local_(std::move(local)) {}

  task<tcp_stream> accept(std::source_location) override {
    auto [reason, socket] = co_await acceptor_.async_accept(use_result);
    if (reason) fail("accept on", local_, reason);
    boost::system::error_code gone;
    const tcp::endpoint peer =
        socket.remote_endpoint(gone);  // the peer may have left already; reading will show it
    co_return opened(std::move(socket), to_endpoint(peer));
  }

  void close() noexcept override {
    boost::system::error_code already_closed;
    acceptor_.close(already_closed);
  }

  const endpoint& local() const noexcept override { return local_; }

 private:
  tcp::acceptor acceptor_;
  endpoint local_;
};

class asio_network final : public network {
 public:
  std::unique_ptr<listener_transport> bind(const endpoint& at, int backlog, std::source_location) override {
    boost::system::error_code reason;
    const auto address = asio::ip::make_address(at.address, reason);
    if (reason) fail("listen on", at, reason);
    const tcp::endpoint where(address, at.port);
    tcp::acceptor acceptor(context());
    acceptor.open(where.protocol(), reason);
    if (!reason) acceptor.set_option(tcp::acceptor::reuse_address(true), reason);
    if (!reason) acceptor.bind(where, reason);
    if (!reason) acceptor.listen(backlog, reason);
    if (reason) fail("listen on", at, reason);
    const endpoint local = to_endpoint(acceptor.local_endpoint());
    return std::make_unique<asio_listener>(std::move(acceptor), local);
  }

  task<tcp_stream> connect(endpoint to, std::source_location) override {
    boost::system::error_code bad;
    const auto address = asio::ip::make_address(to.address, bad);
    if (bad) fail("connect to", to, bad);
    tcp::socket socket(context());
    auto [reason] = co_await socket.async_connect(tcp::endpoint(address, to.port), use_result);
    if (reason) fail("connect to", to, reason);
    co_return opened(std::move(socket), std::move(to));
  }
};

}  // namespace

network& system_network() noexcept {
  static asio_network of_the_system;
  return of_the_system;
}

}  // namespace belay::io
