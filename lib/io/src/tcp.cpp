// SPDX-License-Identifier: Apache-2.0
// TCP on Asio: the system's network.

#include <belay/core/sleep.hpp>
#include <belay/io/network.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <tuple>
#include <utility>

#include "system_socket.hpp"
#include <belay/io/inherited.hpp>

namespace belay::io {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {

endpoint to_endpoint(const tcp::endpoint& from) { return {from.address().to_string(), from.port()}; }

[[noreturn]] void fail(std::string_view what, const endpoint& with, const boost::system::error_code& reason) {
  throw_network_error(what, with, std::error_code(reason));
}

// What the socket takes or gives at once is moved by the system call alone: through Asio it would go round its queue as well, and the
// task would give up its turn. Now and then it does, so that a fast peer cannot keep the others waiting.
class direct_attempt : public operation {
 public:
  direct_attempt(tcp::socket& on, unsigned& in_a_row) noexcept : socket_(&on), in_a_row_(&in_a_row) {}

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiting) {
    if (!begin_at(waiting.promise())) return true;
    count_ = move(socket_->native_handle());
    error_ = count_ < 0 ? errno : 0;
    if (++*in_a_row_ % most_in_a_row == 0) {
      complete();
      return true;
    }
    task()->state = belay::detail::node_state::running;
    return false;
  }
  /// Errors that mean "not now" count as nothing moved.
  [[nodiscard]] std::pair<boost::system::error_code, std::size_t> await_resume() const noexcept {
    if (count_ >= 0) return {{}, static_cast<std::size_t>(count_)};
    if (error_ == EAGAIN || error_ == EWOULDBLOCK || error_ == EINTR) return {asio::error::would_block, 0};
    return {boost::system::error_code(error_, boost::system::system_category()), 0};
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"I/O", ""}; }

 protected:
  ~direct_attempt() = default;
  [[nodiscard]] virtual ssize_t move(int socket) noexcept = 0;

 private:
  static constexpr unsigned most_in_a_row = 32;
  void start() final {}  // all is done in await_suspend
  bool abort() noexcept final { return false; }

  tcp::socket* socket_;
  unsigned* in_a_row_;
  ssize_t count_ = 0;
  int error_ = 0;
};

class direct_send final : public direct_attempt {
 public:
  direct_send(tcp::socket& on, unsigned& in_a_row, std::string_view data) noexcept
      : direct_attempt(on, in_a_row), data_(data) {}

 private:
  ssize_t move(int socket) noexcept override {
    return ::send(socket, data_.data(), data_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  std::string_view data_;
};

class direct_receive final : public direct_attempt {
 public:
  direct_receive(tcp::socket& on, unsigned& in_a_row, std::span<char> into) noexcept
      : direct_attempt(on, in_a_row), into_(into) {}

 private:
  ssize_t move(int socket) noexcept override {
    return ::recv(socket, into_.data(), into_.size(), MSG_DONTWAIT);
  }
  std::span<char> into_;
};

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
    boost::system::error_code reason = asio::error::would_block;
    std::size_t count = 0;
    // Where the last read filled its buffer, more is likely to be there. Otherwise the attempt would mostly be in vain.
    if (expects_more_ && socket_.is_open()) {
      std::tie(reason, count) = co_await direct_receive(socket_, in_a_row_, into);
      if (!reason && count == 0 && !into.empty()) reason = asio::error::eof;
    }
    if (reason == asio::error::would_block) {
      // Asio tries at once, which would be in vain: what the peer says next comes a little later. Others may go first.
      co_await yield();
      std::tie(reason, count) =
          co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), use_result);
    }
    expects_more_ = !reason && count == into.size();
    if (!reason) co_return count;
    if (reason == asio::error::connection_reset) was_reset_ = true;
    nothing_more_ = reason == asio::error::eof || was_reset_;
    if (nothing_more_) co_return no_more();
    fail("read from", peer_, reason);
  }

  task<> write(std::string_view data) override {
    boost::system::error_code reason;
    if (socket_.is_open() && !data.empty()) {
      std::size_t sent = 0;
      std::tie(reason, sent) = co_await direct_send(socket_, in_a_row_, data);
      data.remove_prefix(sent);
      if (!reason && data.empty()) co_return;
    }
    if (!reason || reason == asio::error::would_block) {
      std::size_t sent = 0;
      std::tie(reason, sent) =
          co_await asio::async_write(socket_, asio::buffer(data.data(), data.size()), use_result);
    }
    if (reason == asio::error::connection_reset) was_reset_ = true;
    if (reason) fail("write to", peer_, reason);
  }

  std::size_t try_write(std::string_view data) noexcept override {
    if (!socket_.is_open() || data.empty()) return 0;
    const ssize_t sent =
        ::send(socket_.native_handle(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == ECONNRESET) was_reset_ = nothing_more_ = true;
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
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
  bool expects_more_ = false;
  unsigned in_a_row_ = 0;  // attempts that did not give up the turn
};

tcp_stream opened(tcp::socket socket, endpoint peer) {
  return tcp_stream(std::make_unique<asio_stream>(std::move(socket), std::move(peer)));
}

class asio_listener final : public listener_transport {
 public:
  asio_listener(tcp::acceptor acceptor, endpoint local, detail::socket_file file = {})
      : file_(std::move(file)), acceptor_(std::move(acceptor)), local_(std::move(local)) {}

  task<tcp_stream> accept(std::source_location) override {
    auto [reason, socket] = co_await acceptor_.async_accept(use_result);
    if (reason) fail("accept on", local_, reason);
    if (local_.is_unix()) co_return opened(std::move(socket), local_);
    boost::system::error_code gone;
    const tcp::endpoint peer =
        socket.remote_endpoint(gone);  // the peer may have left already; reading will show it
    co_return opened(std::move(socket), to_endpoint(peer));
  }

  void close() noexcept override {
    file_.remove();
    boost::system::error_code already_closed;
    acceptor_.close(already_closed);
  }

  const endpoint& local() const noexcept override { return local_; }

 private:
  detail::socket_file file_;
  tcp::acceptor acceptor_;
  endpoint local_;
};

// Asio asks of a socket's protocol only what it is told here, and nothing that follows differs between TCP and Unix.
tcp::acceptor adopted(detail::owned_descriptor listening) {
  tcp::acceptor made(context());
  made.assign(tcp::v4(), listening.get());
  static_cast<void>(listening.release());
  return made;
}

class asio_network final : public network {
 public:
  std::unique_ptr<listener_transport> bind(const endpoint& at, const listen_options& options,
                                           std::source_location) override {
    if (at.is_unix()) {
      auto [listening, file] = detail::listen_unix(at, options);
      return std::make_unique<asio_listener>(adopted(std::move(listening)), endpoint{at.address, 0},
                                             std::move(file));
    }
    boost::system::error_code reason;
    const auto address = asio::ip::make_address(at.address, reason);
    if (reason) fail("listen on", at, reason);
    const tcp::endpoint where(address, at.port);
    tcp::acceptor acceptor(context());
    acceptor.open(where.protocol(), reason);
    if (!reason) acceptor.set_option(tcp::acceptor::reuse_address(true), reason);
    using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
    if (!reason && options.reuse_port) acceptor.set_option(reuse_port(true), reason);
    if (!reason) acceptor.bind(where, reason);
    if (!reason) acceptor.listen(options.backlog, reason);
    if (reason) fail("listen on", at, reason);
    const endpoint local = to_endpoint(acceptor.local_endpoint());
    return std::make_unique<asio_listener>(std::move(acceptor), local);
  }

  task<tcp_stream> connect(endpoint to, std::source_location) override {
    tcp::socket socket(context());
    if (to.is_unix()) {
      detail::owned_descriptor connected = co_await detail::connect_unix(to);
      socket.assign(tcp::v4(), connected.get());
      static_cast<void>(connected.release());
      co_return opened(std::move(socket), std::move(to));
    }
    boost::system::error_code bad;
    const auto address = asio::ip::make_address(to.address, bad);
    if (bad) fail("connect to", to, bad);
    auto [reason] = co_await socket.async_connect(tcp::endpoint(address, to.port), use_result);
    if (reason) fail("connect to", to, reason);
    co_return opened(std::move(socket), std::move(to));
  }

  BELAY_CORO_WRAPPER task<std::vector<std::string>> look_up(std::string host,
                                                            std::source_location where) override {
    return look_up_by_system(std::move(host), where);
  }
};

}  // namespace

tcp_listener adopt_listener(int descriptor) {
  endpoint local = detail::local_of(descriptor);
  tcp::acceptor made(context());
  boost::system::error_code bad;
  made.assign(tcp::v4(), descriptor, bad);
  if (bad) {
    throw error(error_kind::invalid, "inherited_socket",
                "inherited descriptor " + std::to_string(descriptor) + ": it cannot be watched (" +
                    bad.message() + "); is it adopted already?");
  }
  const int flags = ::fcntl(descriptor, F_GETFD);
  if (flags >= 0) ::fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
  return tcp_listener(std::make_unique<asio_listener>(std::move(made), std::move(local)));
}

network& system_network() noexcept {
  static asio_network of_the_system;
  return of_the_system;
}

}  // namespace belay::io
