// SPDX-License-Identifier: Apache-2.0
// TCP on Asio.

#include <belay/io/tcp.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace belay::io {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

struct tcp_stream::state {
  tcp::socket socket;
  endpoint peer;
};

struct tcp_listener::state {
  tcp::acceptor acceptor;
  endpoint local;
};

namespace {

endpoint to_endpoint(const tcp::endpoint& from) { return {from.address().to_string(), from.port()}; }

std::string message_of(std::string_view what, const endpoint& with, const boost::system::error_code& reason) {
  return std::string(what) + " " + with.to_string() + ": " + reason.message();
}

bool means_gone(const boost::system::error_code& reason) {
  return reason == asio::error::connection_reset || reason == asio::error::broken_pipe ||
         reason == asio::error::connection_aborted || reason == asio::error::not_connected ||
         reason == asio::error::timed_out || reason == asio::error::network_reset;
}

[[noreturn]] void throw_network(std::string_view what, const endpoint& with,
                                const boost::system::error_code& reason) {
  if (means_gone(reason)) throw disconnected_error(message_of(what, with, reason), std::error_code(reason));
  throw network_error(message_of(what, with, reason), std::error_code(reason));
}

std::unique_ptr<tcp_stream::state> opened(tcp::socket socket, endpoint peer) {
  boost::system::error_code ignored_by_design;  // Nagle's delay is a matter of speed, not of correctness
  socket.set_option(tcp::no_delay(true), ignored_by_design);
  return std::make_unique<tcp_stream::state>(tcp_stream::state{std::move(socket), std::move(peer)});
}

}  // namespace

tcp_stream::tcp_stream(std::unique_ptr<state> opened) noexcept : state_(std::move(opened)) {}
tcp_stream::tcp_stream(tcp_stream&&) noexcept = default;
tcp_stream& tcp_stream::operator=(tcp_stream&&) noexcept = default;
tcp_stream::~tcp_stream() = default;

task<std::size_t> tcp_stream::read_some(std::span<char> into) {
  state& s = *state_;
  auto [reason, count] =
      co_await s.socket.async_read_some(asio::buffer(into.data(), into.size()), use_result);
  if (reason == asio::error::eof) co_return 0;
  if (reason) throw_network("read from", s.peer, reason);
  co_return count;
}

task<> tcp_stream::write(std::string_view data) {
  state& s = *state_;
  auto [reason, count] =
      co_await asio::async_write(s.socket, asio::buffer(data.data(), data.size()), use_result);
  if (reason) throw_network("write to", s.peer, reason);
}

void tcp_stream::end_writing() noexcept {
  boost::system::error_code already_gone;
  state_->socket.shutdown(tcp::socket::shutdown_send, already_gone);
}

void tcp_stream::close() noexcept {
  boost::system::error_code already_closed;
  state_->socket.close(already_closed);
}

bool tcp_stream::is_open() const noexcept { return state_ && state_->socket.is_open(); }
const endpoint& tcp_stream::peer() const noexcept { return state_->peer; }

tcp_listener::tcp_listener(std::unique_ptr<state> bound) noexcept : state_(std::move(bound)) {}
tcp_listener::tcp_listener(tcp_listener&&) noexcept = default;
tcp_listener& tcp_listener::operator=(tcp_listener&&) noexcept = default;
tcp_listener::~tcp_listener() = default;

tcp_listener tcp_listener::bind(const endpoint& at, int backlog) {
  boost::system::error_code reason;
  const auto address = asio::ip::make_address(at.address, reason);
  if (reason) throw network_error(message_of("listen on", at, reason), std::error_code(reason));
  const tcp::endpoint where(address, at.port);
  tcp::acceptor acceptor(context());
  acceptor.open(where.protocol(), reason);
  if (!reason) acceptor.set_option(tcp::acceptor::reuse_address(true), reason);
  if (!reason) acceptor.bind(where, reason);
  if (!reason) acceptor.listen(backlog, reason);
  if (reason) throw network_error(message_of("listen on", at, reason), std::error_code(reason));
  const endpoint local = to_endpoint(acceptor.local_endpoint());
  return tcp_listener(std::make_unique<state>(state{std::move(acceptor), local}));
}

task<tcp_stream> tcp_listener::accept() {
  state& s = *state_;
  auto [reason, socket] = co_await s.acceptor.async_accept(use_result);
  if (reason) throw_network("accept on", s.local, reason);
  boost::system::error_code gone;
  const tcp::endpoint peer =
      socket.remote_endpoint(gone);  // the peer may have left already; reading will show it
  co_return tcp_stream(opened(std::move(socket), to_endpoint(peer)));
}

void tcp_listener::close() noexcept {
  boost::system::error_code already_closed;
  state_->acceptor.close(already_closed);
}

const endpoint& tcp_listener::local() const noexcept { return state_->local; }

task<tcp_stream> connect(endpoint to) {
  boost::system::error_code bad;
  const auto address = asio::ip::make_address(to.address, bad);
  if (bad) throw_network("connect to", to, bad);
  tcp::socket socket(context());
  auto [reason] = co_await socket.async_connect(tcp::endpoint(address, to.port), use_result);
  if (reason) throw_network("connect to", to, reason);
  co_return tcp_stream(opened(std::move(socket), std::move(to)));
}

}  // namespace belay::io
